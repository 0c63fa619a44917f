"""Plain text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(lines: Sequence[tuple[str, ...]]) -> str:
    """Columns of text; all but the first and the last are flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, len(line) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
