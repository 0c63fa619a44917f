"""Batches whose sequences differ in length, in parts that pad little."""

from __future__ import annotations

from collections.abc import Sequence

SLACK = 9  # tokens


def of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """Places of `lengths` in parts, short ones first, that differ by `SLACK` at most.

    A part is padded to its own longest sequence. Fewer parts would pad more, and more parts would
    be too small to compute fast.
    """
    parts: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if parts and lengths[place] - lengths[parts[-1][0]] <= SLACK:
            parts[-1].append(place)
        else:
            parts.append([place])
    return parts
