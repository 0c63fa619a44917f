"""Accuracies with intervals, and paired comparisons of two checkpoints on the same hands.

Hands that deal the same multiset of values are nearly the same problem, so they are not
independent observations: a model that knows one solution solves them all. Every interval here
therefore treats the multiset as the unit of sampling (the *cluster*). The tests check the coverage
of each by simulation; a plain Wilson interval covers as little as half the time under strong
clustering, which is why the tables' `low` and `high` are not that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Solved = Literal["solved_first_try", "solved_within_tries"]

HAND = ["checkpoint", "split", "hand_id"]
FIXED_MEASURES = ["solved_first_try", "solved_within_tries", "translated"]


def wilson_interval(
    successes: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Wilson score interval of a share (Wilson 1927); elementwise, any shape.

    `n` need not be whole: an effective sample size will do. Raises `ValueError` unless
    0 <= successes <= n and n > 0.
    """
    k, size = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if not (np.all(size > 0) and np.all(k >= 0) and np.all(k <= size)):
        raise ValueError("wilson_interval needs 0 <= successes <= n and n > 0")
    share = k / size
    z2 = stats.norm.isf((1 - confidence) / 2) ** 2
    centre = (share + z2 / (2 * size)) / (1 + z2 / size)
    half = np.sqrt(z2 * (share * (1 - share) / size + z2 / (4 * size**2))) / (1 + z2 / size)
    # Rounding must not exclude the share itself at 0 and 1.
    return np.clip(centre - half, 0.0, share), np.clip(centre + half, share, 1.0)


def effective_size(
    successes: ArrayLike,
    n: ArrayLike,
    clusters: ArrayLike,
    sum_yy: ArrayLike,
    sum_ym: ArrayLike,
    sum_mm: ArrayLike,
    confidence: float = 0.95,
) -> Floats:
    """Number of independent observations worth as much as `n` clustered ones; elementwise.

    With y successes among the m observations of a cluster, `sum_yy`, `sum_ym`, `sum_mm` are the
    sums over clusters of y², y·m, m². The size is n / deff, deff >= 1 the design effect of the
    ratio estimator (Kish 1965), times (z/t)² for the few clusters that deff is estimated from
    (Korn and Graubard 1998). Where every observation agrees deff cannot be estimated, and the
    worst case is taken: each cluster is one observation.
    """
    k, size, groups = (np.asarray(x, dtype=float) for x in (successes, n, clusters))
    yy, ym, mm = (np.asarray(x, dtype=float) for x in (sum_yy, sum_ym, sum_mm))
    share = k / size
    freedom = np.maximum(groups - 1, 1)
    residual = yy - 2 * share * ym + share**2 * mm
    binomial = size * share * (1 - share)
    mixed = (binomial > 0) & (groups > 1)
    deff = groups / freedom * residual / np.where(mixed, binomial, 1.0)
    independent = np.where(mixed, size / np.maximum(deff, 1.0), size**2 / mm)
    tail = (1 - confidence) / 2
    result: Floats = independent * (stats.norm.isf(tail) / stats.t.isf(tail, freedom)) ** 2
    return result


def clustered_interval(
    successes: ArrayLike, sizes: ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson interval of the pooled share at the effective sample size of clustered observations.

    `successes` and `sizes`: shape (clusters,), the successes and observations of each cluster.
    Coverage in simulations is 0.92 to 0.96 for shares of 0.1 to 0.9 and intra-cluster
    correlations up to 0.8, and about 0.9 for shares of 0.02 with strong correlation.
    """
    y, m = np.asarray(successes, dtype=float), np.asarray(sizes, dtype=float)
    n = effective_size(
        y.sum(), m.sum(), len(m), (y * y).sum(), (y * m).sum(), (m * m).sum(), confidence
    )
    low, high = wilson_interval(y.sum() / m.sum() * n, n, confidence)
    return float(low), float(high)


def hands_of(episodes: pd.DataFrame) -> pd.DataFrame:
    """One row a hand from the episode table's one row a try.

    Columns: `checkpoint`, `split`, `hand_id`, `multiset`, `exposure`, `pretrained`, `fault` and
    `translated` of the first try, `solved_first_try`, `solved_within_tries`. Raises `ValueError`
    if a try is recorded twice or a hand has no first try.
    """
    if episodes.duplicated([*HAND, "try_number"]).any():
        raise ValueError("the episode table holds one try of a hand more than once")
    first = episodes[episodes["try_number"] == 1]
    within = episodes.groupby(HAND)["solved"].any().rename("solved_within_tries").reset_index()
    if len(first) != len(within):
        raise ValueError("the episode table has hands without a first try")
    columns = [*HAND, "multiset", "exposure", "pretrained", "fault", "translated", "solved"]
    hands = first[columns].rename(columns={"solved": "solved_first_try"})
    return hands.merge(within, on=HAND, validate="one_to_one")


def by_subset(hands: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Named parts of a table of hands or tries: `all`, `seen`, `heldout`, and each exposure.

    `seen` and `heldout` say whether the multiset was in the base model's pretraining. Empty
    parts are left out.
    """
    pretrained = hands["pretrained"].astype(bool)
    parts = {"all": hands, "seen": hands[pretrained], "heldout": hands[~pretrained]}
    for exposure in sorted(hands["exposure"].unique()):
        parts[str(exposure)] = hands[hands["exposure"] == exposure]
    return {name: part for name, part in parts.items() if len(part)}


def accuracy_table(episodes: pd.DataFrame, faults: Sequence[str] = ()) -> pd.DataFrame:
    """Shares of hands by checkpoint, split, subset and measure, with 95 % intervals.

    Measures: `solved_first_try`, `solved_within_tries`, `translated` (first try) and
    `fault:<kind>` (first try) for every kind in `faults` or in the table (`none` aside).
    Subsets: see `by_subset`; one that is the whole split is left out.

    Columns: `checkpoint`, `split`, `subset`, `measure`, `n` (hands), `clusters` (distinct
    multisets), `value` (share of hands, 0 to 1), `low` and `high` (95 %, clustered by multiset as
    in `clustered_interval`), `wilson_low` and `wilson_high` (95 %, as if hands were independent).
    """
    hands = hands_of(episodes)
    kinds = list(dict.fromkeys([*faults, *sorted(hands["fault"].unique())]))
    shares = hands.assign(
        **{f"fault:{kind}": hands["fault"] == kind for kind in kinds if kind != "none"}
    )
    measures = [*FIXED_MEASURES, *(c for c in shares.columns if c.startswith("fault:"))]
    whole = hands.groupby(["checkpoint", "split"]).size()

    tables = []
    for subset, part in by_subset(shares).items():
        table = _shares(part, measures)
        if subset != "all":
            split_size = whole.loc[pd.MultiIndex.from_frame(table[["checkpoint", "split"]])]
            table = table[table["n"].to_numpy() < split_size.to_numpy()]
        tables.append(table.assign(subset=subset))
    columns = ["checkpoint", "split", "subset", "measure", "n", "clusters"]
    columns += ["value", "low", "high", "wilson_low", "wilson_high"]
    return pd.concat(tables, ignore_index=True)[columns]


def _shares(hands: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Share and intervals of each Boolean column of `hands`, by checkpoint and split."""
    keys = ["checkpoint", "split"]
    grouped = hands.astype(dict.fromkeys(measures, float)).groupby([*keys, "multiset"])
    clusters = grouped[list(measures)].sum().assign(m=grouped.size().astype(float)).reset_index()
    long = clusters.melt([*keys, "multiset", "m"], measures, "measure", "y")
    long = long.assign(yy=long["y"] ** 2, ym=long["y"] * long["m"], mm=long["m"] ** 2, clusters=1)
    sums = ["y", "m", "yy", "ym", "mm", "clusters"]
    table = long.groupby([*keys, "measure"], sort=False)[sums].sum().reset_index()

    y, m = table["y"].to_numpy(), table["m"].to_numpy()
    size = effective_size(y, m, table["clusters"], table["yy"], table["ym"], table["mm"])
    low, high = wilson_interval(y / m * size, size)
    wilson_low, wilson_high = wilson_interval(y, m)
    return table.assign(
        n=m.astype(int), value=y / m, low=low, high=high, wilson_low=wilson_low,
        wilson_high=wilson_high,
    )  # fmt: skip


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
    over hands alone would give, which a few seeds that agree by luck would otherwise undercut.
    """
    seeds = len(differences)
    between = float(np.std(differences, ddof=1) / np.sqrt(seeds))
    within = float(np.sqrt(np.square(errors).sum())) / seeds
    return max(_t(seeds - 1) * between, float(stats.norm.isf(0.025)) * within)


@dataclass(frozen=True)
class PairedDifference:
    """Solved share of checkpoint a minus that of b, on the same hands.

    `low` and `high` are 95 %. `only_a` and `only_b` count the hands that one checkpoint alone
    solved. `p_mcnemar` is exact but takes hands as independent; `p_clustered` flips the signs of
    whole multisets' differences, and is the one to quote where multisets repeat.
    """

    n: int
    clusters: int
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
    """Compare two checkpoints on the same hands; `a` and `b` are episode tables of one each.

    The interval is the difference plus or minus t (clusters - 1 degrees of freedom) bootstrap
    standard errors, resampling multisets with all their hands. Resampling hands within multisets
    as well would count the spread between hands twice (simulated coverage up to 0.985), and plain
    percentiles are a little short (0.90 to 0.95); this covers 0.93 to 0.96.

    The effect of a method is `paired_difference(method, control)` of the two runs' ends from one
    start. Raises `ValueError` where the hands of `a` and `b` differ or there is but one multiset.
    """
    pairs = _pairs(a, b, measure)
    gain = pairs["a"] - pairs["b"]
    sums, sizes = _by_multiset(pairs)
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
        clusters=len(sums),
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

    The interval (`half_width_over_seeds`) speaks of new seeds and new hands. A hierarchical
    bootstrap over seeds, multisets and hands covers only 0.80 with three seeds that differ, because
    three seeds resampled never spread as wide as their population.

    Raises `ValueError` as `paired_difference` does, and where there are fewer than two seeds or
    the seeds differ between `a` and `b`.
    """
    seeds = sorted(a["seed"].unique())
    if seeds != sorted(b["seed"].unique()):
        raise ValueError("the two episode tables hold different seeds")
    if len(seeds) < 2:
        raise ValueError("an interval over seeds needs at least two of them")
    rng = np.random.default_rng(seed)
    pairs = [_pairs(a[a["seed"] == s], b[b["seed"] == s], measure) for s in seeds]
    values_a = np.array([float(p["a"].mean()) for p in pairs])
    values_b = np.array([float(p["b"].mean()) for p in pairs])
    differences = values_a - values_b
    errors = [cluster_bootstrap_error(*_by_multiset(p), resamples, rng) for p in pairs]
    half = half_width_over_seeds(differences, np.array(errors))
    difference = float(differences.mean())
    return SeedsDifference(
        seeds=len(seeds),
        n=sum(len(p) for p in pairs),
        value_a=float(values_a.mean()),
        value_b=float(values_b.mean()),
        difference=difference,
        low=max(difference - half, -1.0),
        high=min(difference + half, 1.0),
    )


def paired_difference_table(
    a: pd.DataFrame, b: pd.DataFrame, measure: Solved = "solved_first_try"
) -> pd.DataFrame:
    """`paired_difference` for each split and each subset that has at least two multisets.

    Columns: `split`, `subset` and the fields of `PairedDifference`.
    """
    rows = []
    for split in sorted(set(a["split"]) | set(b["split"])):
        parts_a, parts_b = (by_subset(t[t["split"] == split]) for t in (a, b))
        for subset, part in parts_a.items():
            whole = subset != "all" and len(part) == len(parts_a["all"])
            if whole or part["multiset"].nunique() < 2:
                continue
            other = parts_b.get(subset, b.iloc[:0])
            result = paired_difference(part, other, measure)
            rows.append({"split": split, "subset": subset, **asdict(result)})
    return pd.DataFrame(rows)


def _pairs(a: pd.DataFrame, b: pd.DataFrame, measure: Solved) -> pd.DataFrame:
    """Both checkpoints' outcome (0 or 1) on each hand: columns multiset, a, b."""
    for name, table in (("a", a), ("b", b)):
        if table["checkpoint"].nunique() != 1:
            raise ValueError(f"{name} must hold the episodes of exactly one checkpoint")
    key = ["split", "hand_id"]
    left, right = (hands_of(t).set_index(key).sort_index() for t in (a, b))
    if not left.index.equals(right.index):
        raise ValueError("the two checkpoints were not evaluated on the same hands")
    if left["multiset"].nunique() < 2:
        raise ValueError("a paired comparison needs hands of at least two multisets")
    return pd.DataFrame(
        {
            "multiset": left["multiset"],
            "a": left[measure].astype(int),
            "b": right[measure].astype(int),
        }
    ).reset_index(drop=True)


def _by_multiset(pairs: pd.DataFrame) -> tuple[Floats, Floats]:
    """Sum of a minus b, and number of hands, of each multiset."""
    gain = (pairs["a"] - pairs["b"]).groupby(pairs["multiset"])
    return np.asarray(gain.sum(), dtype=float), np.asarray(gain.size(), dtype=float)


def _t(freedom: int) -> float:
    return float(stats.t.isf(0.025, freedom))
