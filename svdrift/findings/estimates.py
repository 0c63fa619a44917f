"""Estimates with intervals: the numbers behind findings, taken from rows of tables."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from svdrift.evaluation.comparisons import half_width_over_seeds
from svdrift.evaluation.contrasts import Place
from svdrift.findings.finding import Estimate

Z = float(stats.norm.isf(0.025))


def at(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """Rows of the splits with a role and a shift."""
    role, shift = place
    return table[(table["role"] == role) & (table["shift"] == shift)]


# --------------------------------------------------------------------------------------
# Of rows that have intervals


def measured(
    rows: pd.DataFrame,
    column: Literal["difference", "value", "recovered"],
    scale: float = 100.0,
    fit: str = "paired difference",
    p: str = "p",
    detail: str = "",
) -> Estimate | None:
    """From rows of each seed and, where there are several, one of all seeds without a `seed`.

    Args:
        rows: of one quantity; None is returned if there are none.
        column: of the quantity; its interval is `low` and `high`, or `recovered_low` and so on.
        scale: a factor.
        fit: the method of the interval, in words.
        p: column with the p of the statement's bound.
        detail: further words.

    Raises:
        ValueError: two rows of a seed.
    """
    if rows.empty:
        return None
    prefix = "recovered_" if column == "recovered" else ""
    single = rows[rows["seed"].notna()].sort_values("seed")
    whole = rows[rows["seed"].isna()] if rows["seed"].isna().any() else single
    if len(whole) != 1:
        raise ValueError(f"{len(whole)} rows over all seeds where one is needed")
    row = whole.iloc[0]
    low, high = sorted(float(row[f"{prefix}{end}"]) * scale for end in ("low", "high"))
    return Estimate(
        estimate=float(row[column]) * scale,
        low=low,
        high=high,
        each=tuple(float(value) * scale for value in single[column]),
        n=int(row["n"]),
        counted="problems",
        test=over(len(single), f"{fit} on the same problems, clustered by group"),
        detail=detail,
        groups=int(row["groups"]),
        exact_p=float(row[p]),
    )


def without(rows: pd.DataFrame, seeds: Collection[int]) -> Estimate | None:
    """The difference in points over the other seeds; None if no seed is left.

    Args:
        rows: of `measured`, with a column `difference`.
        seeds: those to leave out.
    """
    left = rows[rows["seed"].notna() & ~rows["seed"].isin(seeds)].sort_values("seed")
    if left.empty:
        return None
    one_seed = len(left) == 1  # then its own interval stays
    quantiles = Z if one_seed else stats.t.isf(0.025, left["groups"] - 1)
    return over_seeds(
        left.set_index("seed")["difference"] * 100.0,
        ((left["high"] - left["low"]) / 2 / quantiles * 100.0).to_numpy(),
        n=int(left["n"].sum()),
        counted="problems",
        within="paired difference on the same problems, clustered by group",
    )


# --------------------------------------------------------------------------------------
# Over seeds


def over(seeds: int, within: str) -> str:
    """How an interval was found, in words."""
    return f"{within}; " + (f"Student's t over {seeds} seeds" if seeds > 1 else "one seed")


def over_seeds(
    values: pd.Series[float],
    errors: np.ndarray,
    *,
    n: int,
    counted: str,
    within: str,
    detail: str = "",
) -> Estimate:
    """Mean of seeds' values, with an interval from their errors and, if several, their spread."""
    found = np.asarray(values, dtype=float)
    half = (
        half_width_over_seeds(found, np.asarray(errors, dtype=float))
        if len(found) > 1
        else Z * float(errors[0])
    )
    average = float(found.mean())
    return Estimate(
        estimate=average,
        low=average - half,
        high=average + half,
        each=tuple(found.tolist()),
        n=n,
        counted=counted,
        test=over(len(found), within),
        detail=detail,
        freedom=float(len(found) - 1) if len(found) > 1 else math.inf,
    )


def of_seeds(values: pd.Series[float], within: str, detail: str = "") -> Estimate | None:
    """Mean of seeds' values that have no error of their own.

    Without an interval where all are alike; None for fewer than two seeds.
    """
    if len(values) < 2:
        return None
    found = over_seeds(
        values,
        np.zeros(len(values)),
        n=len(values),
        counted="seeds",
        within=within,
        detail=detail,
    )
    if values.nunique() > 1:
        return found
    alike = "alike in every seed: no width is known"
    detail = f"{detail}; {alike}" if detail else alike
    return replace(found, low=math.nan, high=math.nan, detail=detail)
