"""Paired comparisons of two checkpoints on the same problems.

As in `svdrift.evaluation.accuracy` the group is the unit of sampling (the *cluster*), and the
tests check the coverage of each interval by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from svdrift.evaluation.accuracy import Floats, by_subset, error_where_all_agree, problems_of

Solved = Literal["solved_first_try", "solved_within_tries"]

NONE = 1e-12  # of shares: what rounding makes of 0


def ratio_covariance(sums: Floats, sizes: Floats) -> Floats:
    """Covariance of the ratios sums.sum(axis=0) / sizes.sum(), over clusters; linearised.

    That of a ratio of totals in survey sampling (Cochran 1977, ch. 6), which is the cluster-robust
    covariance CR1 of a regression on a constant (Liang and Zeger 1986) with the factor
    clusters / (clusters - 1).

    Args:
        sums: totals of each cluster, shape (clusters, ratios); at least two clusters.
        sizes: observations of each cluster, shape (clusters,).

    Returns:
        Shape (ratios, ratios).
    """
    clusters, total = len(sizes), sizes.sum()
    residuals = sums - np.outer(sizes, sums.sum(axis=0) / total)
    covariance: Floats = residuals.T @ residuals * (clusters / (clusters - 1)) / total**2
    return covariance


def ratio_error(sums: Floats, sizes: Floats) -> float:
    """Standard error of the ratio sums.sum() / sizes.sum() (`ratio_covariance`); shape (clusters,).

    Without seeds or draws, and what a bootstrap of clusters tends to.
    """
    return math.sqrt(ratio_covariance(sums[:, None], sizes).item())


def half_width(error: float, freedom: float) -> float:
    """Half-width of a 95 % interval: Student's t with so many degrees of freedom, or infinite."""
    return float(stats.t.isf(0.025, freedom)) * error


def p_value(difference: float, error: float, freedom: float) -> float:
    """Two-sided p, by Student's t, that a difference is 0.

    It is below 0.05 where, and only where, difference +- `half_width` excludes 0. It is 1 where
    the difference is exactly 0, also without an error.
    """
    if difference == 0:
        return 1.0
    return float(2 * stats.t.sf(abs(difference) / error, freedom)) if error else 0.0


def half_width_over_seeds(differences: Floats, errors: Floats) -> float:
    """Half-width of the 95 % interval of the mean over seeds; both of shape (seeds,), seeds >= 2.

    Student's t over the seeds' differences, and never narrower than what their standard errors
    over problems alone would give, which a few seeds that agree by luck would otherwise undercut.
    """
    return max(half_width(*pair) for pair in _errors_over_seeds(differences, errors))


def p_over_seeds(differences: Floats, errors: Floats) -> float:
    """Two-sided p that the mean over seeds is 0: the larger one, as in `half_width_over_seeds`."""
    mean = float(np.mean(differences))
    return max(p_value(mean, *pair) for pair in _errors_over_seeds(differences, errors))


def _errors_over_seeds(differences: Floats, errors: Floats) -> list[tuple[float, float]]:
    """Standard errors of the mean, between and within seeds, with their degrees of freedom."""
    seeds = len(differences)
    between = float(np.std(differences, ddof=1) / np.sqrt(seeds))
    within = float(np.sqrt(np.square(errors).sum())) / seeds
    return [(between, seeds - 1), (within, math.inf)]


@dataclass(frozen=True)
class PairedDifference:
    """Solved share of checkpoint a minus that of b, on the same problems.

    `n` counts problems, `groups` their groups. `low` and `high` are 95 %, `p` (two-sided) is that
    the difference is 0. `only_a` and `only_b` count the problems that one checkpoint alone solved.
    """

    n: int
    groups: int
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p: float
    only_a: int
    only_b: int


@dataclass(frozen=True)
class SeedsDifference:
    """Mean over seeds of the paired difference a minus b; `low` and `high` are 95 %.

    `n` and `groups` are sums over seeds, `p` (two-sided) is that the mean difference is 0.
    """

    seeds: int
    n: int
    groups: int
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p: float


def paired_difference(
    a: pd.DataFrame, b: pd.DataFrame, measure: Solved = "solved_first_try"
) -> PairedDifference:
    """Compare two checkpoints on the same problems; `a` and `b` are episode tables of one each.

    Interval and p are Student's t (groups - 1 degrees of freedom) with the standard error over
    groups (`ratio_error`); simulated coverage is 0.93 to 0.96. Where all groups agree, as where
    both checkpoints solved the same problems, it is `error_where_all_agree`.

    The effect of a method is `paired_difference(method, control)` of the two runs' ends from one
    start. Raises `ValueError` where the problems of `a` and `b` differ or there is but one group.
    """
    groups, solved = _outcomes((a, b), measure)
    gain = solved[:, 0] - solved[:, 1]
    found = mean_over_seeds([_sum_of_one(solved, PAIR, groups)])
    value_a, value_b = solved.mean(axis=0).tolist()
    return PairedDifference(
        n=found.n,
        groups=found.groups,
        value_a=value_a,
        value_b=value_b,
        difference=found.value,
        low=max(found.low, -1.0),
        high=min(found.high, 1.0),
        p=found.p,
        only_a=int((gain == 1).sum()),
        only_b=int((gain == -1).sum()),
    )


def paired_difference_over_seeds(
    a: pd.DataFrame, b: pd.DataFrame, measure: Solved = "solved_first_try"
) -> SeedsDifference:
    """Mean paired difference over training seeds; episode tables with a column `seed` besides.

    The interval (`half_width_over_seeds`) speaks of new seeds and new problems. A hierarchical
    bootstrap over seeds, groups and problems covers only 0.80 with three seeds that differ, because
    three seeds resampled never spread as wide as their population.

    Raises `ValueError` as `paired_difference` does, and where there are fewer than two seeds or
    the seeds differ between `a` and `b`.
    """
    seeds = sorted(a["seed"].unique())
    if seeds != sorted(b["seed"].unique()):
        raise ValueError("the two episode tables hold different seeds")
    if len(seeds) < 2:
        raise ValueError("an interval over seeds needs at least two of them")
    parts = [_outcomes((a[a["seed"] == s], b[b["seed"] == s]), measure) for s in seeds]
    found = mean_over_seeds([_sum_of_one(own, PAIR, groups) for groups, own in parts])
    value_a, value_b = np.mean([own.mean(axis=0) for _, own in parts], axis=0).tolist()
    return SeedsDifference(
        seeds=found.seeds,
        n=found.n,
        groups=found.groups,
        value_a=value_a,
        value_b=value_b,
        difference=found.value,
        low=max(found.low, -1.0),
        high=min(found.high, 1.0),
        p=found.p,
    )


PAIR = (1.0, -1.0)  # weights of a paired difference


class WeightedSum(NamedTuple):
    """A weighted sum of checkpoints' solved shares of one seed, with its standard error.

    `freedom` is that of the error: degrees of Student's t. `at_least` is the error to take where
    nothing varies, within a seed or between them (`error_where_all_agree`).
    """

    value: float
    error: float
    n: int
    groups: int
    freedom: int
    at_least: float = 0.0


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of checkpoints' solved shares, mean over seeds; `low` and `high` are 95 %.

    `n` (problems) and `groups` are sums over seeds, `p` (two-sided) is that the mean is 0.
    """

    seeds: int
    n: int
    groups: int
    value: float
    low: float
    high: float
    p: float


def contrast(
    seeds: Sequence[Sequence[tuple[float, pd.DataFrame]]], measure: Solved = "solved_first_try"
) -> Contrast:
    """Sum of weight x solved share, from (weight, episodes of one checkpoint) terms of each seed.

    Terms of one seed are paired on the same problems: `[(1, a), (-1, b)]` is a paired difference,
    `[(1, a), (-1, b), (-1, c), (1, d)]` a difference of two of them. One seed's interval is that of
    `paired_difference`, several seeds' is `half_width_over_seeds`.

    Raises:
        ValueError: the problems of one seed differ, or have but one group.
    """
    return mean_over_seeds([weighted_sum(terms, measure) for terms in seeds])


def weighted_sum(
    terms: Sequence[tuple[float, pd.DataFrame]], measure: Solved = "solved_first_try"
) -> WeightedSum:
    """Of the terms of one seed, as in `contrast`; one term of weight 1 is the share itself."""
    weights, tables = zip(*terms, strict=True)
    groups, solved = _outcomes(tables, measure)
    return _sum_of_one(solved, weights, groups)


def mean_over_seeds(seeds: Sequence[WeightedSum]) -> Contrast:
    """The mean of one or several seeds' sums, with its interval."""
    values = np.array([one.value for one in seeds])
    errors = np.array([one.error for one in seeds])
    if errors.max() <= NONE and np.ptp(values) <= NONE:
        errors = np.array([one.at_least for one in seeds])
    value = float(values.mean())
    if len(seeds) == 1:
        half = half_width(errors.item(), seeds[0].freedom)
        p = p_value(value, errors.item(), seeds[0].freedom)
    else:
        half, p = half_width_over_seeds(values, errors), p_over_seeds(values, errors)
    return Contrast(
        seeds=len(seeds),
        n=sum(one.n for one in seeds),
        groups=sum(one.groups for one in seeds),
        value=value,
        low=value - half,
        high=value + half,
        p=p,
    )


def paired_difference_table(
    a: pd.DataFrame, b: pd.DataFrame, measure: Solved = "solved_first_try"
) -> pd.DataFrame:
    """`paired_difference` for each split and each subset that has at least two groups.

    Columns: `split`, `role`, `shift`, `subset` and the fields of `PairedDifference`.
    """
    rows = []
    places = pd.concat([a, b])[["split", "role", "shift"]].drop_duplicates().sort_values("split")
    for split, role, shift in places.itertuples(index=False):
        parts_a, parts_b = (by_subset(t[t["split"] == split]) for t in (a, b))
        for subset, part in parts_a.items():
            whole = subset != "all" and len(part) == len(parts_a["all"])
            if whole or part["group"].nunique() < 2:
                continue
            other = parts_b.get(subset, b.iloc[:0])
            result = paired_difference(part, other, measure)
            rows.append(
                {"split": split, "role": role, "shift": shift, "subset": subset} | asdict(result)
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class RecoveredShare:
    """Share of what a target lost against an anchor that a variant of the target has again.

    (variant - target) / (anchor - target): 0 at the target, 1 at the anchor. `low` and `high` are
    95 %. All are NaN where the loss itself, anchor - target, is not clearly above 0, that is,
    where its own 95 % interval (as in `paired_difference`) holds 0 or lies below.
    """

    recovered: float
    low: float
    high: float


Triple = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]  # episodes of variant, target, anchor
Clusters = tuple[Floats, Floats, Floats]  # gain, loss and number of problems of each group


def recovered_share(
    seeds: Sequence[Triple], measure: Solved = "solved_first_try"
) -> RecoveredShare:
    """Share of a loss that is recovered, from the episodes of (variant, target, anchor) per seed.

    Raises:
        ValueError: the problems of one seed differ, or have but one group.
    """
    return share_over_clusters(gains_and_losses(seeds, measure))


def gains_and_losses(
    seeds: Sequence[Triple], measure: Solved = "solved_first_try"
) -> list[Clusters]:
    """What the variant gained on its target, and what this lost against the anchor, by group.

    Raises:
        ValueError: the problems of one seed differ, or have but one group.
    """
    clusters = []
    for triple in seeds:
        groups, solved = _outcomes(triple, measure)
        gain, sizes = _by_group(solved[:, 0] - solved[:, 1], groups)
        loss, _ = _by_group(solved[:, 2] - solved[:, 1], groups)
        clusters.append((gain, loss, sizes))
    return clusters


def share_over_clusters(seeds: Sequence[Clusters]) -> RecoveredShare:
    """Ratio of summed gains to summed losses, from the clusters of each seed.

    A share r is in the interval where 0 is in the interval of gain - r * loss, as that of a paired
    difference (one seed) or of one over seeds: Fieller's (1954) interval, with covariances over
    clusters. Simulated coverage is 0.93 to 0.99. A variant that does on every group what a mixture
    of target and anchor does, such as the target itself, has an error of `error_where_all_agree`.
    """
    means = [np.array([gains.sum(), losses.sum()]) / sizes.sum() for gains, losses, sizes in seeds]
    covariances = [
        ratio_covariance(np.stack([gains, losses], axis=1), sizes) for gains, losses, sizes in seeds
    ]
    for covariance, error in zip(covariances, _errors_where_all_agree(seeds), strict=True):
        covariance[0, 0] += error**2
    mean, within = np.mean(means, axis=0), np.sum(covariances, axis=0) / len(seeds) ** 2
    if len(seeds) == 1:
        intervals = [fieller_interval(mean, within, half_width(1.0, len(seeds[0][2]) - 1))]
    else:  # the wider one, as in `half_width_over_seeds`
        between = np.cov(np.transpose(means)) / len(seeds)
        intervals = [
            fieller_interval(mean, within, half_width(1.0, math.inf)),
            fieller_interval(mean, between, half_width(1.0, len(seeds) - 1)),
        ]
    low, high = np.min(intervals, axis=0)[0], np.max(intervals, axis=0)[1]
    recovered = math.nan if math.isnan(low) else float(mean[0] / mean[1])
    return RecoveredShare(recovered, float(low), float(high))


def share_p(seeds: Sequence[Clusters], bound: float) -> float:
    """Two-sided p that the share of a loss equals `bound`, from the clusters of each seed.

    It is that of gain - bound * loss = 0, the test that `share_over_clusters` inverts, so below
    0.05 where, and only where, the interval excludes the bound. NaN where nothing was clearly lost.
    """
    if math.isnan(share_over_clusters(seeds).recovered):
        return math.nan
    weights = (1.0, bound - 1.0, -bound)
    sums = [sum_over_clusters(gains - bound * losses, m, weights) for gains, losses, m in seeds]
    more = _errors_where_all_agree(seeds)
    return mean_over_seeds(
        [
            one._replace(error=math.hypot(one.error, error)) if error else one
            for one, error in zip(sums, more, strict=True)
        ]
    ).p


def _errors_where_all_agree(seeds: Sequence[Clusters]) -> list[float]:
    """What each seed's gains lack of error where all groups regained the same share, else 0."""
    totals = np.array([[gains.sum(), losses.sum()] for gains, losses, _ in seeds])
    gained, lost = (totals / [[m.sum()] for *_, m in seeds]).mean(axis=0)
    share = gained / lost if lost > 0 else math.nan
    left = [(gains - share * losses) / sizes for gains, losses, sizes in seeds]
    if not all(np.all(np.abs(one) <= NONE) for one in left):
        return [0.0] * len(seeds)
    reach = max(1.0, abs(share), abs(1 - share))
    return [error_where_all_agree(sizes, reach) for *_, sizes in seeds]


def fieller_interval(mean: Floats, covariance: Floats, quantile: float) -> tuple[float, float]:
    """Shares r for which |x - r y| <= quantile * its standard error (Fieller 1954).

    `mean`: (x, y); `covariance`: theirs, shape (2, 2). NaN unless y - quantile * error(y) > 0:
    then the shares are no bounded interval, or y is not above 0.
    """
    (x, y), q2 = mean, quantile**2
    square = y**2 - q2 * covariance[1, 1]
    if y <= 0 or square <= 0:
        return math.nan, math.nan
    middle = x * y - q2 * covariance[0, 1]
    constant = x**2 - q2 * covariance[0, 0]
    half = math.sqrt(max(middle**2 - square * constant, 0.0))
    return (middle - half) / square, (middle + half) / square


def _outcomes(tables: Sequence[pd.DataFrame], measure: Solved) -> tuple[pd.Series, Floats]:
    """The group of each problem, and each checkpoint's outcome on it: shape (problems, tables)."""
    for table in tables:
        if table["checkpoint"].nunique() != 1:
            raise ValueError("each table must hold the episodes of exactly one checkpoint")
    key = ["split", "problem"]
    problems = [problems_of(table).sort_values(key, ignore_index=True) for table in tables]
    if not all(other[key].equals(problems[0][key]) for other in problems):
        raise ValueError("the checkpoints were not evaluated on the same problems")
    groups = problems[0]["group"]
    if groups.nunique() < 2:
        raise ValueError("a comparison needs problems of at least two groups")
    return groups, np.stack([one[measure].to_numpy(dtype=float) for one in problems], axis=1)


def _sum_of_one(solved: Floats, weights: Sequence[float], groups: pd.Series) -> WeightedSum:
    """From the outcomes of one seed, shape (problems, tables), and the weight of each table."""
    return sum_over_clusters(*_by_group(solved @ np.array(weights), groups), weights)


def sum_over_clusters(sums: Floats, sizes: Floats, weights: Sequence[float]) -> WeightedSum:
    """From the weighted total and the number of problems of each group, both of shape (groups,)."""
    value, n, groups = float(sums.sum() / sizes.sum()), int(sizes.sum()), len(sizes)
    highest, lowest = (sum(w for w in weights if sign * w > 0) for sign in (1, -1))
    least = error_where_all_agree(sizes, max(highest - value, value - lowest))
    return WeightedSum(value, ratio_error(sums, sizes), n, groups, groups - 1, least)


def _by_group(outcomes: Floats, groups: pd.Series) -> tuple[Floats, Floats]:
    """Sum of the problems' outcomes, and number of problems, of each group."""
    codes, _ = pd.factorize(groups)
    return np.bincount(codes, outcomes).astype(float), np.bincount(codes).astype(float)
