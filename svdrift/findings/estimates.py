"""Estimates with intervals: the numbers behind findings, taken from rows of tables."""

from __future__ import annotations

import math
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
) -> Estimate | None:
    """From rows of each seed and, where there are several, one of all seeds without a `seed`.

    Args:
        rows: of one quantity; None is returned if there are none.
        column: of the quantity; its interval is `low` and `high`, or `recovered_low` and so on.
        scale: a factor.
        fit: the method of the interval, in words.

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
        test=_over(len(single), f"{fit} on the same problems, clustered by group"),
    )


# --------------------------------------------------------------------------------------
# Of ranks


def rank_correlation(
    before: pd.Series[float], after: pd.Series[float], counted: str
) -> Estimate | None:
    """Spearman's rank correlation over the starts of each seed; None for fewer than three starts.

    Its interval is that of a mean over seeds, and never narrower than the standard error that the
    correlation of k ranks has where nothing is related, 1 / sqrt(k - 1) (Kendall, Rank Correlation
    Methods): few starts often agree by chance, and seeds that agree have no spread.

    Args:
        before, after: values by seed and start; a start counts where both have it.
        counted: what a pair of values is, in the plural.
    """
    both = pd.concat([before.rename("before"), after.rename("after")], axis=1).dropna()
    starts = both.groupby("seed").size()
    if starts.empty or starts.min() < 3:
        return None
    return over_seeds(
        both.groupby("seed")[["before", "after"]].apply(_spearman),
        (starts - 1).to_numpy() ** -0.5,
        bounds=(-1.0, 1.0),
        n=len(both),
        counted=counted,
        within="Spearman over the starts of each seed",
    )


def _spearman(part: pd.DataFrame) -> float:
    """Of two columns; NaN if one of them is constant."""
    if part.nunique().min() < 2:
        return math.nan
    return float(stats.spearmanr(part["before"], part["after"]).statistic)


# --------------------------------------------------------------------------------------
# Over seeds


def _over(seeds: int, within: str) -> str:
    return f"{within}; " + (f"Student's t over {seeds} seeds" if seeds > 1 else "one seed")


def over_seeds(
    values: pd.Series[float],
    errors: np.ndarray,
    *,
    n: int,
    counted: str,
    within: str,
    detail: str = "",
    bounds: tuple[float, float] = (-math.inf, math.inf),
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
        low=max(average - half, bounds[0]) if not math.isnan(half) else math.nan,
        high=min(average + half, bounds[1]) if not math.isnan(half) else math.nan,
        each=tuple(found.tolist()),
        n=n,
        counted=counted,
        test=_over(len(found), within),
        detail=detail,
    )
