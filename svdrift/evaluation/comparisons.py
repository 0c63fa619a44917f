"""Paired comparisons of two checkpoints on the same problems.

As in `svdrift.evaluation.accuracy` the group is the unit of sampling (the *cluster*), and the
tests check the coverage of each interval by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from svdrift.evaluation.accuracy import Floats, by_subset, problems_of

Solved = Literal["solved_first_try", "solved_within_tries"]


def cluster_bootstrap_error(
    sums: Floats, sizes: Floats, resamples: int, rng: np.random.Generator
) -> float:
    """Standard error of the ratio sum(sums) / sum(sizes), by resampling clusters.

    `sums` and `sizes`: shape (clusters,), the total and the number of observations of each
    cluster; at least two clusters.
    """
    clusters = len(sums)
    weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    draws = (weights @ sums) / (weights @ sizes)
    # A bootstrap's spread is short by (clusters - 1) / clusters.
    return float(draws.std(ddof=1) * np.sqrt(clusters / (clusters - 1)))


def half_width_over_seeds(differences: Floats, errors: Floats) -> float:
    """Half-width of the 95 % interval of the mean over seeds; both of shape (seeds,), seeds >= 2.

    Student's t over the seeds' differences, and never narrower than what their standard errors
    over problems alone would give, which a few seeds that agree by luck would otherwise undercut.
    """
    seeds = len(differences)
    between = float(np.std(differences, ddof=1) / np.sqrt(seeds))
    within = float(np.sqrt(np.square(errors).sum())) / seeds
    return max(_t(seeds - 1) * between, float(stats.norm.isf(0.025)) * within)


@dataclass(frozen=True)
class PairedDifference:
    """Solved share of checkpoint a minus that of b, on the same problems.

    `low` and `high` are 95 %. `only_a` and `only_b` count the problems that one checkpoint alone
    solved. `p_mcnemar` is exact but takes problems as independent; `p_clustered` flips the signs of
    whole groups' differences, and is the one to quote where groups repeat.
    """

    n: int
    groups: int
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    only_a: int
    only_b: int
    p_mcnemar: float
    p_clustered: float


@dataclass(frozen=True)
class SeedsDifference:
    """Mean over seeds of the paired difference a minus b; `low` and `high` are 95 %."""

    seeds: int
    n: int
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float


def paired_difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    measure: Solved = "solved_first_try",
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two checkpoints on the same problems; `a` and `b` are episode tables of one each.

    The interval is the difference plus or minus t (clusters - 1 degrees of freedom) bootstrap
    standard errors, resampling groups with all their problems. Resampling problems within groups
    as well would count the spread between problems twice (simulated coverage up to 0.985), and
    plain percentiles are a little short (0.90 to 0.95); this covers 0.93 to 0.96.

    The effect of a method is `paired_difference(method, control)` of the two runs' ends from one
    start. Raises `ValueError` where the problems of `a` and `b` differ or there is but one group.
    """
    pairs = _pairs(a, b, measure)
    gain = pairs["a"] - pairs["b"]
    sums, sizes = _by_group(gain, pairs["group"])
    rng = np.random.default_rng(seed)
    half = _t(len(sums) - 1) * cluster_bootstrap_error(sums, sizes, resamples, rng)
    difference = float(gain.mean())
    only_a, only_b = int((gain == 1).sum()), int((gain == -1).sum())
    mcnemar = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    flips = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", vectorized=True,
        n_resamples=resamples, rng=rng,
    )  # fmt: skip
    return PairedDifference(
        n=len(pairs),
        groups=len(sums),
        value_a=float(pairs["a"].mean()),
        value_b=float(pairs["b"].mean()),
        difference=difference,
        low=max(difference - half, -1.0),
        high=min(difference + half, 1.0),
        only_a=only_a,
        only_b=only_b,
        p_mcnemar=float(mcnemar),
        p_clustered=float(flips.pvalue),
    )


def paired_difference_over_seeds(
    a: pd.DataFrame,
    b: pd.DataFrame,
    measure: Solved = "solved_first_try",
    resamples: int = 2000,
    seed: int = 0,
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
    parts = [(a[a["seed"] == s], b[b["seed"] == s]) for s in seeds]
    over = contrast([[(1.0, one), (-1.0, two)] for one, two in parts], measure, resamples, seed)
    pairs = [_pairs(one, two, measure) for one, two in parts]
    return SeedsDifference(
        seeds=over.seeds,
        n=over.n,
        value_a=float(np.mean([p["a"].mean() for p in pairs])),
        value_b=float(np.mean([p["b"].mean() for p in pairs])),
        difference=over.value,
        low=max(over.low, -1.0),
        high=min(over.high, 1.0),
    )


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of checkpoints' solved shares, mean over seeds; `low` and `high` are 95 %."""

    seeds: int
    n: int
    value: float
    low: float
    high: float


def contrast(
    seeds: Sequence[Sequence[tuple[float, pd.DataFrame]]],
    measure: Solved = "solved_first_try",
    resamples: int = 2000,
    seed: int = 0,
) -> Contrast:
    """Sum of weight x solved share, from (weight, episodes of one checkpoint) terms of each seed.

    Terms of one seed are paired on the same problems: `[(1, a), (-1, b)]` is a paired difference,
    `[(1, a), (-1, b), (-1, c), (1, d)]` a difference of two of them. One seed's interval is that of
    `paired_difference`, several seeds' is `half_width_over_seeds`.

    Raises:
        ValueError: the problems of one seed differ, or have but one group.
    """
    rng = np.random.default_rng(seed)
    values, errors, problems, clusters = [], [], 0, 0
    for terms in seeds:
        weights, tables = zip(*terms, strict=True)
        groups, solved = _outcomes(tables, measure)
        sums, sizes = _by_group(pd.Series(solved @ np.array(weights)), groups)
        values.append(float(sums.sum() / sizes.sum()))
        errors.append(cluster_bootstrap_error(sums, sizes, resamples, rng))
        problems, clusters = problems + len(groups), len(sums)
    several = len(values) > 1
    half = (
        half_width_over_seeds(np.array(values), np.array(errors))
        if several
        else _t(clusters - 1) * errors[0]
    )
    value = float(np.mean(values))
    return Contrast(len(values), problems, value, value - half, value + half)


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


def recovered_share(
    seeds: Sequence[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]],
    measure: Solved = "solved_first_try",
    resamples: int = 2000,
    seed: int = 0,
) -> RecoveredShare:
    """Share of a loss that is recovered, from the episodes of (variant, target, anchor) per seed.

    Raises:
        ValueError: the problems of one seed differ, or have but one group.
    """
    clusters = []
    for variant, target, anchor in seeds:
        groups, solved = _outcomes((variant, target, anchor), measure)
        gain, sizes = _by_group(pd.Series(solved[:, 0] - solved[:, 1]), groups)
        loss, _ = _by_group(pd.Series(solved[:, 2] - solved[:, 1]), groups)
        clusters.append((gain, loss, sizes))
    return share_over_clusters(clusters, resamples, np.random.default_rng(seed))


def share_over_clusters(
    seeds: Sequence[tuple[Floats, Floats, Floats]], resamples: int, rng: np.random.Generator
) -> RecoveredShare:
    """Ratio of summed gains to summed losses, from (gains, losses, sizes) of each seed's clusters.

    A share r is in the interval where 0 is in the interval of gain - r * loss, as that of a paired
    difference (one seed) or of one over seeds: Fieller's (1954) interval, with covariances from
    resampled clusters. Simulated coverage is 0.93 to 0.99.
    """
    means, covariances, freedom = [], [], 0
    for gains, losses, sizes in seeds:
        sums, count = np.stack([gains, losses], axis=1), len(sizes)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
        draws = (weights @ sums) / (weights @ sizes)[:, None]
        means.append(sums.sum(axis=0) / sizes.sum())
        covariances.append(np.cov(draws.T) * count / (count - 1))
        freedom = count - 1
    mean, within = np.mean(means, axis=0), np.sum(covariances, axis=0) / len(seeds) ** 2
    if len(seeds) == 1:
        intervals = [fieller_interval(mean, within, _t(freedom))]
    else:  # the wider one, as in `half_width_over_seeds`
        between = np.cov(np.transpose(means)) / len(seeds)
        intervals = [
            fieller_interval(mean, within, float(stats.norm.isf(0.025))),
            fieller_interval(mean, between, _t(len(seeds) - 1)),
        ]
    low, high = np.min(intervals, axis=0)[0], np.max(intervals, axis=0)[1]
    recovered = math.nan if math.isnan(low) else float(mean[0] / mean[1])
    return RecoveredShare(recovered, float(low), float(high))


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
    problems = [problems_of(table).set_index(key).sort_index() for table in tables]
    if not all(other.index.equals(problems[0].index) for other in problems):
        raise ValueError("the checkpoints were not evaluated on the same problems")
    groups = problems[0]["group"].reset_index(drop=True)
    if groups.nunique() < 2:
        raise ValueError("a paired comparison needs problems of at least two groups")
    return groups, np.stack([one[measure].to_numpy(dtype=float) for one in problems], axis=1)


def _pairs(a: pd.DataFrame, b: pd.DataFrame, measure: Solved) -> pd.DataFrame:
    """Both checkpoints' outcome (0 or 1) on each problem: columns group, a, b."""
    groups, solved = _outcomes((a, b), measure)
    one, two = solved.astype(int).T
    return pd.DataFrame({"group": groups, "a": one, "b": two})


def _by_group(gain: pd.Series, groups: pd.Series) -> tuple[Floats, Floats]:
    """Sum of the problems' gains, and number of problems, of each group."""
    grouped = gain.groupby(groups)
    return np.asarray(grouped.sum(), dtype=float), np.asarray(grouped.size(), dtype=float)


def _t(freedom: int) -> float:
    return float(stats.t.isf(0.025, freedom))
