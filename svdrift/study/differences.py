"""In which settings one study differs from another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

NAMES = frozenset({"study"})  # which name a study and change nothing in it


class Difference(NamedTuple):
    """A key (`stages.sft.learning_rate`) and its value in both studies; None where it has none."""

    key: str
    ours: Any
    theirs: Any


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[Difference]:
    """The keys at which two configurations differ, in our order, then those that we lack.

    Args:
        ours, theirs: settings as plain values, such as `study.model_dump(mode="json")`.
    """
    one, other = dict(_leaves(ours)), dict(_leaves(theirs))
    return [
        Difference(key, one.get(key), other.get(key))
        for key in dict.fromkeys([*one, *other])
        if key not in NAMES and one.get(key) != other.get(key)
    ]


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values; lists and empty mappings are values."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
