"""How well one quantity tells another in a seed that was left out, over several seeds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from svdrift.evaluation.accuracy import Floats
from svdrift.evaluation.comparisons import half_width, p_value, ratio_error
from svdrift.findings.estimates import over
from svdrift.findings.finding import Estimate

LEAST = 2  # seeds


def explained(before: pd.Series[float], after: pd.Series[float], counted: str) -> Estimate | None:
    """Out-of-sample R² of the line from `before` to `after`; one seed is left out at a time.

    With f the least-squares line of the other seeds, and m the mean of their `after`,
        R² = 1 - sum of (after - f(before))² / sum of (after - m)²
    over all seeds (Campbell and Thompson 2008): 1 for a perfect prediction, 0 for one
    that is no better than the other seeds' mean, and below 0 for a worse one. The interval is that
    of a ratio of sums over seeds (`ratio_error`), Student's t. The lines share most of their
    seeds, so it is approximate.

    Args:
        before, after: values by seed and start; a start counts where both have it.
        counted: what a pair of values is, in the plural.

    Returns:
        None for fewer than two seeds, or where `after` is constant.
    """
    found = _left_out([before], after)
    if found is None:
        return None
    (error,), spread, seeds, n = found
    within = f"R² in {seeds} seeds, each left out once"
    return _ratio(spread - error, spread, n, counted, within, most=1.0)


def explained_more(
    before: pd.Series[float], other: pd.Series[float], after: pd.Series[float], counted: str
) -> Estimate | None:
    """Out-of-sample R² of `before` minus that of `other`, on the same starts; see `explained`."""
    found = _left_out([before, other], after)
    if found is None:
        return None
    (error, others), spread, _, n = found
    return _ratio(others - error, spread, n, counted, "difference of R², paired by start")


def _left_out(
    predictors: list[pd.Series[float]], after: pd.Series[float]
) -> tuple[list[Floats], Floats, int, int] | None:
    """Of each predictor the squared errors by left-out seed; those of the mean; seeds; pairs."""
    names = [str(place) for place in range(len(predictors))]
    columns = [one.rename(name) for one, name in zip(predictors, names, strict=True)]
    both = pd.concat([*columns, after.rename("after")], axis=1, join="inner").dropna()
    seeds = both.index.get_level_values(0)
    errors: list[list[float]] = [[] for _ in predictors]
    spread = []
    for seed in seeds.unique():
        own, rest = both[seeds == seed], both[seeds != seed]
        if rest.empty:
            return None
        spread.append(float(((own["after"] - rest["after"].mean()) ** 2).sum()))
        for name, found in zip(names, errors, strict=True):
            line = _line(rest[name], rest["after"], own[name])
            found.append(float(((own["after"] - line) ** 2).sum()))
    if len(spread) < LEAST or sum(spread) == 0:
        return None
    return [np.array(one) for one in errors], np.array(spread), len(spread), len(both)


def _line(x: pd.Series[float], y: pd.Series[float], at: pd.Series[float]) -> pd.Series[float]:
    """The least-squares line of y on x, at other values; the mean of y where x is constant."""
    centred = x - x.mean()
    square = float((centred**2).sum())
    slope = float((centred * y).sum()) / square if square > 0 else 0.0
    return y.mean() + slope * (at - x.mean())


def _ratio(
    sums: Floats, sizes: Floats, n: int, counted: str, within: str, most: float = math.inf
) -> Estimate:
    """The ratio of two sums over seeds; p is of the bound 0, the interval reaches to `most`."""
    value, freedom = float(sums.sum() / sizes.sum()), len(sizes) - 1
    error = ratio_error(sums, sizes)
    half = half_width(error, freedom)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = sums / sizes
    return Estimate(
        estimate=value,
        low=value - half,
        high=min(value + half, most),
        each=tuple(np.where(sizes > 0, each, np.nan).tolist()),
        n=n,
        counted=counted,
        test=over(len(sizes), within),
        exact_p=p_value(value, error, freedom),
    )
