"""Reading your own problems, JSON lines or Parquet. Light: settings read them on every start."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from svdrift.errors import PROBLEMS, UserError, listed, shown

NEEDED = ("prompt", "answer")
KNOWN = (*NEEDED, "reply", "group", "subsets")
"""Columns that the task reads; a scorer of your own may read others."""

Row = dict[str, Any]


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a table, with `prompt`, `answer` and what else is there as text.

    Raises:
        UserError: naming the file, the first wrong rows and what is allowed.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{path}: no such file")
    stamp = file.stat()
    return list(_read(str(file), stamp.st_mtime_ns, stamp.st_size))


@cache
def _read(path: str, changed: int, size: int) -> tuple[Row, ...]:
    """As `read_rows`; read again when the file has changed."""
    given = list(_parquet(path) if path.endswith(".parquet") else _json_lines(path))
    if not given:
        raise UserError(f"{path}: holds no problems")
    faults = [
        f"row {number}: {fault}"
        for number, row in enumerate(given, 1)
        if (fault := _fault(row)) is not None
    ]
    if faults:
        raise UserError(f"{path}: {listed(faults, PROBLEMS, '; ')}")
    rows = tuple({name: _text(name, value) for name, value in row.items()} for row in given)
    twice = _twice(rows)
    if twice:
        raise UserError(f"{path}: has prompts twice: {listed(map(shown, twice), PROBLEMS, '; ')}")
    return rows


def _json_lines(path: str) -> Iterator[Row]:
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}: line {number}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}: line {number}: not an object with {', '.join(NEEDED)}")
            yield row


def _parquet(path: str) -> Iterator[Row]:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except Exception as error:
        raise UserError(f"{path}: not a Parquet file ({error})") from None
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        yield {
            str(name): getattr(value, "item", lambda v=value: v)() for name, value in row.items()
        }


def _fault(row: Row) -> str | None:
    for name in NEEDED:
        if name not in row:
            return f"has no {name} (it has {', '.join(map(str, row)) or 'nothing'})"
        if isinstance(row[name], bool) or not isinstance(row[name], str | int | float):
            return f"{name} is {shown(row[name])} (allowed: text or a number)"
        if not str(row[name]).strip():
            return f"{name} is empty"
    for name in KNOWN[len(NEEDED) :]:
        if row.get(name) is not None and not isinstance(row[name], str):
            return f"{name} is {shown(row[name])} (allowed: text)"
    return None


def _text(name: str, value: Any) -> Any:
    return str(value) if name in NEEDED else value


def _twice(rows: tuple[Row, ...]) -> list[str]:
    counts = Counter(row["prompt"] for row in rows)
    return [prompt for prompt, count in counts.items() if count > 1]
