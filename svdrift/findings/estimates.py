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
Parts = dict[str, pd.DataFrame]


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
# Of drift


def ends_of_spectrum(rows: pd.DataFrame) -> Parts:
    """`mean_angle` of the smallest share of ranks that was measured at the `top` and `bottom`."""
    angles = rows[rows["measure"] == "mean_angle"]
    ends = {}
    for region in ("top", "bottom"):
        part = angles[angles["region"] == region]
        size = (part["stop"] - part["start"]).round(9)
        least = size.groupby([part["module"], part["layer"]]).transform("min")
        ends[region] = part[size == least]
    return ends


def windows_of_spectrum(rows: pd.DataFrame) -> Parts:
    """`window_angle` at the `head`, in the middle half (`bulk`) and at the `tail`.

    Empty if there are too few windows for a middle between the ends.
    """
    windows = rows[rows["measure"] == "window_angle"]
    if windows["start"].nunique() < 3:
        return {}
    middle = (windows["start"] + windows["stop"]) / 2
    return {
        "head": windows[windows["start"] == 0],
        "bulk": windows[(middle > 0.25) & (middle < 0.75)],
        "tail": windows[windows["stop"] == 1],
    }


def mean(
    rows: pd.DataFrame, column: Literal["observed", "minus_isotropic"], scale: float, sign: str
) -> Estimate:
    """Mean of a column of drift over matrices and sides, unweighted; `sign` is its unit's."""
    value = _by_seed(rows, column) * scale
    if column == "observed":
        errors, within = np.zeros(len(value)), "exact within a seed"
    else:
        half = (rows[f"{column}_high"] - rows[f"{column}_low"]) / 2
        squares = half.pow(2).groupby(rows["seed"]).sum()
        errors = (np.sqrt(squares) / rows.groupby("seed").size()).to_numpy() * scale / Z
        within = "over draws of the noise within a seed"
    observed, noise = (_by_seed(rows, name).mean() * scale for name in ("observed", "isotropic"))
    return _over_seeds(
        value,
        errors,
        n=_matrices(rows),
        counted="matrices",
        within=within,
        detail=f"{observed:.3g}{sign}, noise {noise:.3g}{sign}",
    )


def gap(rows: pd.DataFrame, middle: pd.DataFrame) -> Estimate:
    """Mean observed angle of some windows minus that of those in the middle."""
    one, two = (_by_seed(part, "observed") for part in (rows, middle))
    return _over_seeds(
        one - two,
        np.zeros(len(one)),
        n=_matrices(rows),
        counted="matrices",
        within="exact within a seed",
        detail=f"{one.mean():.1f}° against {two.mean():.1f}° in the middle",
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
    return _over_seeds(
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


def _by_seed(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    """Mean over matrices and sides of each seed."""
    return rows.groupby("seed")[column].mean()


def _over_seeds(
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


def _matrices(rows: pd.DataFrame) -> int:
    """Number of matrices, over all seeds."""
    return len(rows[["seed", "layer", "module"]].drop_duplicates())
