"""The statements of several studies side by side: do they keep their sign?"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from svdrift.findings.page import ALONE, estimate, judged

SIGNS = {1: "yes", 0: "no", -1: "–"}
OWN = ["estimate", "low", "high", "verdict", "verdict_holm"]
"""Columns of findings that each study has for itself."""


def labels(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """A short name of each point of a sweep, such as `hidden_size 48` or `learning_rate 0.001`.

    Of a setting that is a mapping, the first key that tells all points apart names them; else the
    whole value does.
    """
    names: list[list[str]] = [[] for _ in points]
    for key in points[0]:
        told = key.rpartition(".")[2]
        values: list[Any] = [point[key] for point in points]
        if all(isinstance(value, Mapping) for value in values):
            for inner in values[0]:
                of_key = [json.dumps(value.get(inner)) for value in values]
                if len(set(of_key)) == len(points):
                    told, values = inner, [value[inner] for value in values]
                    break
        for name, value in zip(names, values, strict=True):
            shown = value if isinstance(value, str) else json.dumps(value)
            name.append(f"{told} {shown}")
    return [", ".join(name) for name in names]


def side_by_side(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a statement, in the order of the first study that has it.

    Args:
        tables: findings (`read_findings`) of each study by its label.

    Returns:
        `claim`, `statement`; for each study its columns OWN, each followed by ` {label}`; and
        `same_sign`: whether all estimates lie on one side of the statement's bound (1), or not (0),
        or fewer than two studies have one (-1).
    """
    rows: dict[tuple[str, str], dict[Hashable, Any]] = {}
    for label, table in tables.items():
        for row in table.to_dict("records"):
            place = rows.setdefault(
                (row["claim"], row["statement"]), {"unit": row["unit"], "bound": row["bound"]}
            )
            place |= {f"{column} {label}": row[column] for column in OWN}
    found = []
    for (claim, statement), row in rows.items():
        sides = [
            np.sign(row[f"estimate {label}"] - row["bound"])
            for label in tables
            if not np.isnan(row.get(f"estimate {label}", np.nan))
        ]
        same = -1 if len(sides) < 2 else int(len(set(sides)) == 1)
        found.append({"claim": claim, "statement": statement, **row, "same_sign": same})
    return pd.DataFrame(found)


def lines(table: pd.DataFrame, names: Sequence[str], whose: str) -> list[str]:
    """Markdown: how many statements keep their sign, and statement by statement a column for each.

    Args:
        table: of `side_by_side`.
        names: labels of the studies.
        whose: what has the labels, in the singular.
    """
    measured = table[table["same_sign"] >= 0]
    kept = int((measured["same_sign"] == 1).sum())
    found = [
        f"{kept} of {len(measured)} statements that two or more measured keep their sign: all "
        f"estimates lie on one side of the statement's bound. Verdicts are each {whose}'s own, and "
        f"{ALONE.strip()} marks one that Holm's correction for its statements leaves undecided.",
        "",
        f"| claim | statement | {' | '.join(names)} | one sign |",
        "| --- | --- |" + " --- |" * (len(names) + 1),
    ]
    for row in table.to_dict("records"):
        cells = [row["claim"], row["statement"]]
        for name in names:
            if pd.isna(row.get(f"verdict {name}", np.nan)):
                cells.append("not measured")
                continue
            own = row | {column: row[f"{column} {name}"] for column in OWN}
            cells.append(f"{estimate(own)}<br>{judged(own)}")
        found.append(f"| {' | '.join(map(str, cells))} | {SIGNS[row['same_sign']]} |")
    return found
