"""Rank correlation of few points over several seeds, with the exact distribution of its null."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from svdrift.checkpoints import Checkpoint
from svdrift.evaluation.comparisons import half_width_over_seeds
from svdrift.findings.estimates import of_seeds, over
from svdrift.findings.finding import Estimate

Point = Literal["start", "data set"]
FloatArray = npt.NDArray[np.float64]
ENUMERATED = 7  # points of a seed whose permutations are enumerated; of more, a sample is drawn
SAMPLE = 20_000
DIGITS = 9  # correlations that agree in so many are equal
TAIL = 0.025


def spearman(one: Sequence[float], two: Sequence[float]) -> float:
    """Spearman's correlation; NaN if one side is constant."""
    if min(len(set(one)), len(set(two))) < 2:
        return math.nan
    return float(stats.spearmanr(one, two).statistic)


def null_of_one(one: Sequence[float], two: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Distribution of Spearman's correlation when every order of `two` is as likely as any other.

    Ties count as they are. Neither side may be constant.

    Returns:
        Rising values and their probabilities.
    """
    ranks = [stats.rankdata(side) for side in (one, two)]
    a, b = ((rank - rank.mean()) / np.linalg.norm(rank - rank.mean()) for rank in ranks)
    if len(a) <= ENUMERATED:
        orders = np.array(list(permutations(range(len(a)))))
    else:
        rng = np.random.default_rng(0)
        orders = rng.permuted(np.tile(np.arange(len(a)), (SAMPLE, 1)), axis=1)
    values, counts = np.unique(np.round(b[orders] @ a, DIGITS), return_counts=True)
    return values, counts / counts.sum()


def null_of_mean(nulls: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Distribution of the mean of independent correlations: rising values and probabilities."""
    values, chances = nulls[0]
    for more, theirs in nulls[1:]:
        sums = np.round(values[:, None] + more[None, :], DIGITS).ravel()
        values, place = np.unique(sums, return_inverse=True)
        both = (chances[:, None] * theirs[None, :]).ravel()
        chances = np.bincount(place, weights=both).astype(float)
    return values / len(nulls), chances


def two_sided(observed: float, values: FloatArray, chances: FloatArray) -> float:
    """Twice the smaller tail, the observed value included."""
    near = 10.0**-DIGITS
    above = chances[values >= observed - near].sum()
    below = chances[values <= observed + near].sum()
    return float(min(1.0, 2 * min(above, below)))


def not_unlikely(values: FloatArray, chances: FloatArray) -> float:
    """The largest size of a value that the null alone reaches with 2.5 % or more in a tail.

    An interval of this half-width excludes 0 only where the exact test does. With ties values are
    not exact in decimals: it is wider by what tells them apart, and still holds 0 for that value.
    """
    near = 10.0**-DIGITS
    above = values[np.cumsum(chances[::-1])[::-1] >= TAIL - near].max()
    below = values[np.cumsum(chances) >= TAIL - near].min()
    return float(max(above, -below)) + near


def partial(one: Sequence[float], two: Sequence[float], given: Sequence[float]) -> float:
    """Partial rank correlation of two sides given a third; NaN where that leaves nothing."""
    ab, ac, bc = spearman(one, two), spearman(one, given), spearman(two, given)
    left = (1 - ac**2) * (1 - bc**2)
    return (ab - ac * bc) / math.sqrt(left) if left > 1e-12 else math.nan


def rank_correlation(
    before: pd.Series[float], after: pd.Series[float], counted: str, point: Point = "start"
) -> Estimate | None:
    """Spearman's correlation over the starts of each seed, and its mean over seeds.

    Its p is exact: under the null every order of `after` within a seed is as likely as any other,
    independently of other seeds. Its interval is that of Student's t over seeds, and never narrower
    than `not_unlikely`, so that it excludes 0 only where the exact test does. As `detail`: the
    partial correlation given the step that a start comes from (from four starts on), and what is
    left without any one start. None for fewer than three starts, or where a side is constant.

    Args:
        before, after: values by seed and start (an id); a start counts where both have it.
        counted: what a pair of values is, in the plural.
        point: what stands in place of the starts; only starts have a step.
    """
    both = pd.concat([before.rename("before"), after.rename("after")], axis=1).dropna()
    seeds = [
        Starts(
            [str(start) for _, start in part.index],
            part["before"].to_list(),
            part["after"].to_list(),
        )
        for _, part in both.groupby(level=0)
    ]
    if not seeds or min(len(seed.ids) for seed in seeds) < 3:
        return None
    found = [spearman(seed.before, seed.after) for seed in seeds]
    mean, test = float(np.mean(found)), over(len(seeds), f"Spearman over the {point}s of each seed")
    if math.isnan(mean):
        return Estimate(mean, math.nan, math.nan, tuple(found), len(both), counted, test)
    null = null_of_mean([null_of_one(seed.before, seed.after) for seed in seeds])
    p, half = two_sided(mean, *null), not_unlikely(*null)
    if len(seeds) > 1:
        between = half_width_over_seeds(np.array(found), np.zeros(len(found)))
        half = max(half, between)
        if between > 0:
            quantile = stats.t.isf(TAIL, len(found) - 1)
            p = max(p, float(2 * stats.t.sf(abs(mean) / between * quantile, len(found) - 1)))
    exact = all(len(seed.ids) <= ENUMERATED for seed in seeds)
    return Estimate(
        mean,
        max(mean - half, -1.0),
        min(mean + half, 1.0),
        tuple(found),
        len(both),
        counted,
        f"{test}; exact by permutations" + ("" if exact else f" ({SAMPLE:,} of them, drawn)"),
        detail=_detail(seeds, point),
        exact_p=p,
    )


def rank_correlation_more(
    before: pd.Series[float],
    other: pd.Series[float],
    after: pd.Series[float],
    point: Point = "start",
) -> Estimate | None:
    """Spearman's correlation of `before` minus that of `other`; see `rank_correlation`.

    Over the starts of each seed, and as a mean over seeds, without those where a side is constant.
    """

    def by_seed(one: pd.Series[float]) -> pd.Series[float]:
        both = pd.concat([one.rename("before"), after.rename("after")], axis=1).dropna()
        return both.groupby(level=0).apply(
            lambda rows: spearman(rows["before"].to_list(), rows["after"].to_list())
        )

    return of_seeds(
        (by_seed(before) - by_seed(other)).dropna(),
        f"difference of Spearman's correlations over the {point}s of each seed",
    )


class Starts(NamedTuple):
    """The starts of one seed: ids, and both sides of each."""

    ids: list[str]
    before: list[float]
    after: list[float]

    def without(self, start: str) -> Starts:
        """All but one of them."""
        kept = [row for row in zip(*self, strict=True) if row[0] != start]
        return Starts(*(list(column) for column in zip(*kept, strict=True)))


def _detail(seeds: Sequence[Starts], point: Point) -> str:
    if min(len(seed.ids) for seed in seeds) < 4:
        return ""
    words = []
    given = [
        partial(seed.before, seed.after, [Checkpoint.parse(start).step for start in seed.ids])
        for seed in seeds
        if point == "start"
    ]
    if not all(map(math.isnan, given)):
        words.append(f"{np.nanmean(given):+.2f} given the step of the start")
    left = [
        np.mean([spearman(kept.before, kept.after) for kept in (s.without(start) for s in seeds)])
        for start in dict.fromkeys(start for seed in seeds for start in seed.ids)
    ]
    words.append(f"{np.nanmin(left):+.2f} to {np.nanmax(left):+.2f} without any one {point}")
    return "; ".join(words)
