"""Joining the tables of single checkpoints and seeds into tidy tables of a study."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from svdrift.checkpoints import BASE, labels
from svdrift.errors import UserError
from svdrift.scripting import read_json, read_table

# .../seed-0/evaluation/sft-64/accuracy.parquet, or of a whole seed .../seed-0/selection/anchor.json
_PLACE = re.compile(
    r"/seed-(?P<seed>\d+)/(?P<stage>[^/]+)/(?:(?P<inner>.+)/)?[^/]+\.(?:parquet|json)$"
)
TRAINING = "training"
COMPARISONS = {"drift", "recovery", "updates"}  # of several checkpoints, which their tables name


def join_tables(paths: Iterable[Path]) -> pd.DataFrame:
    """All tables under one another, with columns for what their paths say.

    Adds `seed`; for the table of one checkpoint `svdrift.checkpoints.labels`; for that of a
    training run `run`, `stage`, `start`. Tables of `COMPARISONS` name their checkpoints themselves.

    Raises:
        UserError: a path does not lie where a study has its tables.
    """
    return pd.concat([_labelled(path) for path in paths], ignore_index=True)


def _labelled(path: Path) -> pd.DataFrame:
    place = _PLACE.search(f"/{path.as_posix()}")
    if place is None:
        raise UserError(f"{path}: not a table below a folder seed-{{number}}")
    added: dict[str, object] = {"seed": int(place["seed"])}
    inner = place["inner"]
    if inner is not None and place["stage"] == TRAINING:
        before, _, stage = inner.rpartition(".")
        start = before or ("" if stage == BASE else BASE)
        added |= {"run": inner, "stage": stage, "start": start}
    elif inner is not None and place["stage"] not in COMPARISONS:
        added |= labels(inner)
    table = _read(path)
    return pd.DataFrame(
        {
            **{name: pd.Series(value, index=table.index) for name, value in added.items()},
            **{name: table[name] for name in table.columns if name not in added},
        }
    )


def _read(path: Path) -> pd.DataFrame:
    """A parquet table, or a JSON object as a table of one row."""
    if path.suffix == ".json":
        return pd.DataFrame([read_json(path)])
    return read_table(path)
