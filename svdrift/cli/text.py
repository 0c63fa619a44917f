"""Plain text for a terminal, and the times that it shows."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


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


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as plain values, with null for what is empty (JSON has no NaN)."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows


def duration(seconds: Sequence[float]) -> str:
    """A sum of seconds as `42 s`, `3 min`, `1 h 05 min`; `-` if none are known."""
    if not seconds:
        return "-"
    total = sum(seconds)
    if total < 100:
        return f"{total:.0f} s"
    hours, minutes = divmod(round(total / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def last_time(benchmark: Path) -> list[float]:
    """Seconds that a job took when it last ran, by Snakemake's benchmark; empty if it never did."""
    if not benchmark.is_file():
        return []
    with benchmark.open(encoding="utf-8", newline="") as file:
        return [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
