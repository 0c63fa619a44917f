"""Paired comparisons against regression and hand-worked cases; coverage by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from svdrift.evaluation.comparisons import (
    contrast,
    fieller_interval,
    gains_and_losses,
    half_width,
    half_width_over_seeds,
    p_over_seeds,
    p_value,
    paired_difference,
    paired_difference_over_seeds,
    paired_difference_table,
    ratio_covariance,
    ratio_error,
    recovered_share,
    share_over_clusters,
    share_p,
)
from tests.evaluation.episode_tables import tries


def pair(
    rng: np.random.Generator, clusters: int = 60, size: float = 6
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two checkpoints on the same clustered problems."""
    m = rng.poisson(size - 1, clusters) + 1
    groups = np.repeat(np.arange(clusters), m)
    ease = np.repeat(rng.beta(0.7, 1.3, clusters), m)  # mean 0.35
    luck = np.repeat(rng.beta(1, 9, clusters), m)  # mean 0.1
    b = rng.random(len(m.repeat(m))) < ease
    a = np.where(b, rng.random(len(b)) > 0.1, rng.random(len(b)) < luck)
    return tries(a, groups, "sft-32.ppo-60"), tries(b, groups, "sft-32")


def test_paired_difference_against_oracles() -> None:
    a, b = pair(np.random.default_rng(1))
    result = paired_difference(a, b.sample(frac=1, random_state=0))  # order must not matter
    x, y = a["solved"].to_numpy(), b["solved"].to_numpy()
    assert (result.only_a, result.only_b) == ((x & ~y).sum(), (~x & y).sum())
    assert (result.value_a, result.value_b) == pytest.approx((x.mean(), y.mean()))
    assert result.difference == pytest.approx(x.mean() - y.mean())
    groups = a["group"].to_numpy()
    assert (result.n, result.groups) == (len(a), len(set(groups)))
    error = np.sqrt(robust_covariance(x.astype(float) - y, groups).item())
    freedom = result.groups - 1
    expected = result.difference + stats.t.ppf([0.025, 0.975], freedom) * error
    assert (result.low, result.high) == pytest.approx(tuple(expected))
    assert result.p == pytest.approx(2 * stats.t.cdf(-abs(result.difference) / error, freedom))
    assert result == paired_difference(a, b)


def robust_covariance(outcomes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Of the constants of regressions on a constant, clustered: (X'X)^-1 meat (X'X)^-1 g/(g-1)."""
    outcomes = outcomes.reshape(len(groups), -1)
    x = np.ones((len(groups), 1))
    bread = np.linalg.inv(x.T @ x)
    constants, *_ = np.linalg.lstsq(x, outcomes, rcond=None)
    residuals = outcomes - x @ constants
    names = np.unique(groups)
    scores = np.concatenate([x[groups == g].T @ residuals[groups == g] for g in names])
    return len(names) / (len(names) - 1) * bread * (scores.T @ scores) * bread


def test_covariance_of_ratios_is_that_of_clustered_regressions() -> None:
    rng = np.random.default_rng(12)
    groups = rng.integers(30, size=200)
    outcomes = rng.normal(1, 1, (200, 2)) + rng.normal(0, 1, (30, 2))[groups]
    sums = np.stack([np.bincount(groups, one) for one in outcomes.T], axis=1)
    sizes = np.bincount(groups).astype(float)
    expected = robust_covariance(outcomes, groups)
    np.testing.assert_allclose(ratio_covariance(sums, sizes), expected)
    assert ratio_error(sums[:, 0], sizes) == pytest.approx(np.sqrt(expected[0, 0]))
    # Independent problems: the standard error of a mean.
    one = ratio_error(outcomes[:, 0], np.ones(200))
    assert one == pytest.approx(stats.sem(outcomes[:, 0]))


@pytest.mark.parametrize("freedom", [2.0, 30.0, np.inf])
def test_p_is_below_five_percent_where_the_interval_excludes_zero(freedom: float) -> None:
    end = half_width(0.3, freedom)
    assert p_value(1.001 * end, 0.3, freedom) < 0.05 < p_value(0.999 * end, 0.3, freedom)
    assert p_value(end, 0.3, freedom) == p_value(-end, 0.3, freedom) == pytest.approx(0.05)
    assert (p_value(0.0, 0.0, freedom), p_value(0.1, 0.0, freedom)) == (1.0, 0.0)


def test_p_over_seeds_is_below_five_percent_where_the_interval_excludes_zero() -> None:
    rng = np.random.default_rng(13)
    decided = set()
    for spread in (0.1, 1.0, 5.0) * 20:
        seeds = int(rng.integers(2, 6))
        errors = np.full(seeds, 1.0)
        differences = 1.5 + rng.normal(0, spread, seeds)
        p = p_over_seeds(differences, errors)
        excluded = abs(differences.mean()) > half_width_over_seeds(differences, errors)
        assert (p < 0.05) == excluded
        assert p >= stats.ttest_1samp(differences, 0).pvalue - 1e-12
        decided.add(excluded)
    assert decided == {True, False}


def test_paired_difference_measures_the_wanted_tries() -> None:
    a = tries([False, False, True], [1, 2, 3], "a")
    second = a.assign(try_number=2, solved=[True, False, True]).iloc[:2]
    both = pd.concat([a, second])
    b = tries([False, False, True], [1, 2, 3], "b")
    assert paired_difference(both, b).difference == 0
    within = paired_difference(both, b, "solved_within_tries")
    assert within.difference == pytest.approx(1 / 3)


def test_paired_difference_refuses_other_problems() -> None:
    a, b = pair(np.random.default_rng(1))
    with pytest.raises(ValueError, match="same problems"):
        paired_difference(a, b.iloc[1:])
    with pytest.raises(ValueError, match="exactly one checkpoint"):
        paired_difference(pd.concat([a, b]), b)
    with pytest.raises(ValueError, match="two groups"):
        paired_difference(a.assign(group="x"), b.assign(group="x"))


@pytest.mark.parametrize(("clusters", "size"), [(40, 5), (100, 10), (300, 1.4)])
def test_paired_interval_covers(clusters: int, size: float) -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(400):
        m = rng.poisson(size - 1, clusters) + 1.0
        before = rng.binomial(m.astype(int), rng.beta(0.7, 1.3, clusters))
        lost = rng.binomial(before, 0.1)
        won = rng.binomial(m.astype(int) - before, rng.beta(1, 9, clusters))
        gain = (won - lost).astype(float)
        t = stats.t.isf(0.025, clusters - 1)
        half = t * ratio_error(gain, np.asarray(m, float))
        covered.append(abs(gain.sum() / m.sum() - (0.65 * 0.1 - 0.35 * 0.1)) <= half)
    assert 0.915 <= np.mean(covered) <= 0.98


def tango(difference: float, pairs: float, quantile: float) -> list[float]:
    """Ends of the score interval of a paired difference without pairs of the other kind, by search.

    Its likelihood is maximised at each candidate d over the share of pairs that a alone solved.
    """
    kinds = np.array([difference == 1, difference == -1, difference == 0]) * pairs

    def distance(d: float) -> float:
        only_a = np.linspace(max(d, 0), (1 + d) / 2, 200_001)  # that of b alone is d less
        shares = np.stack([only_a, only_a - d, np.maximum(1 - 2 * only_a + d, 0)])
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = np.where(kinds[:, None] > 0, kinds[:, None] * np.log(shares), 0).sum(0)
        best = only_a[likelihood.argmax()]
        return abs(difference - d) - quantile * np.sqrt((2 * best - d - d**2) / pairs)

    ends = []
    for side in (-1, 1):
        inside, outside = (difference, side) if difference != side else (side, side)
        if inside == outside:
            ends.append(float(side))
            continue
        ends.append(optimize.brentq(distance, inside + 1e-6 * side, outside - 1e-6 * side))
    return ends


@pytest.mark.parametrize("difference", [-1, 0, 1])
@pytest.mark.parametrize("groups", [5, 40, 300])
def test_where_all_groups_agree_the_interval_is_the_score_interval(
    difference: int, groups: int
) -> None:
    """Of as many pairs as there are groups, each of which could have been otherwise."""
    solved = np.full(3 * groups, True)
    a, b = (
        tries(solved if difference == sign else ~solved, np.arange(3 * groups) // 3, name)
        for sign, name in ((1, "a"), (-1, "b"))
    )
    found = paired_difference(a, b)
    expected = tango(difference, groups, stats.t.isf(0.025, groups - 1))
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=2e-4)
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    assert found.p == 1 if difference == 0 else found.p > 0
    # Wider than what can be ruled out with 95 % by all groups being alike, and not much wider.
    rule_of_three = 1 - 0.05 ** (1 / groups)
    if difference == 0 and groups > 5:
        assert rule_of_three < found.high < 1.5 * rule_of_three


def test_groups_of_many_problems_count_more_where_all_agree() -> None:
    even, uneven = np.repeat(np.arange(20), 10), np.repeat(np.arange(20), [105] + [5] * 19)
    widths = []
    for groups in (even, uneven):
        a, b = (tries(np.zeros(200, dtype=bool), groups, name) for name in "ab")
        widths.append(paired_difference(a, b).high)
    assert 0 < widths[0] < widths[1] < 1


def test_seeds_that_all_agree_have_an_interval_and_one_that_differs_keeps_its_own() -> None:
    a, b = (tries(np.zeros(90, dtype=bool), np.arange(90) // 3, name) for name in "ab")
    one = paired_difference(a, b)
    same = [pd.concat([table.assign(seed=seed) for seed in range(4)]) for table in (a, b)]
    over = paired_difference_over_seeds(*same)
    assert (over.difference, over.p) == (0, 1)
    z, t = stats.norm.isf(0.025), stats.t.isf(0.025, 29)
    assert over.high == -over.low == pytest.approx(one.high * z / t / 2)
    # Where a seed differs, all is as it was: what the seeds' own errors and their spread say.
    other = a.assign(solved=np.arange(90) < 9)
    mixed = paired_difference_over_seeds(
        pd.concat([other.assign(seed=0), *(a.assign(seed=seed) for seed in (1, 2, 3))]), same[1]
    )
    error = ratio_error(np.where(np.arange(30) < 3, 3.0, 0.0), np.full(30, 3.0))
    half = half_width_over_seeds(np.array([0.1, 0, 0, 0]), np.array([error, 0, 0, 0]))
    assert mixed.high - mixed.difference == pytest.approx(half)


def test_a_contrast_of_four_can_lie_twice_as_far() -> None:
    a, b = (tries(np.zeros(60, dtype=bool), np.arange(60) // 3, name) for name in "ab")
    pair = contrast([[(1.0, a), (-1.0, b)]])
    four = contrast([[(1.0, a), (-1.0, b), (-1.0, a), (1.0, b)]])
    assert four.high == pytest.approx(2 * pair.high)


def test_p_keeps_its_level_where_problems_are_clustered() -> None:
    rng = np.random.default_rng(3)
    clustered, naive = [], []
    for _ in range(40):
        # Whole groups of ten problems differ, in either direction alike.
        sign = rng.choice([-1, 0, 1], 40)
        groups = np.repeat(np.arange(40), 10)
        a = tries(np.repeat(sign > 0, 10), groups, "a")
        b = tries(np.repeat(sign < 0, 10), groups, "b")
        clustered.append(paired_difference(a, b).p < 0.05)
        alone = np.arange(len(a))
        naive.append(paired_difference(a.assign(group=alone), b.assign(group=alone)).p < 0.05)
    assert np.mean(clustered) <= 0.125
    assert np.mean(naive) > 0.3


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_interval_over_seeds_covers(seeds: int, spread: float) -> None:
    """True effect 0; seeds differ by `spread` times the standard error over problems."""
    rng = np.random.default_rng(5)
    draws = rng.normal(0, np.hypot(1.0, spread), (800, seeds))
    covered = [abs(d.mean()) <= half_width_over_seeds(d, np.ones(seeds)) for d in draws]
    assert np.mean(covered) >= 0.93


def test_difference_over_seeds_is_never_narrower_than_its_problems() -> None:
    a, b = pair(np.random.default_rng(6))
    copy_a, copy_b = (pd.concat([t.assign(seed=s) for s in range(3)]) for t in (a, b))
    over = paired_difference_over_seeds(copy_a, copy_b)  # the seeds agree exactly
    one = paired_difference(a, b)
    assert over.difference == pytest.approx(one.difference)
    assert over.high - over.low == pytest.approx((one.high - one.low) / 3**0.5, rel=0.1)
    assert (over.seeds, over.n, over.groups) == (3, 3 * one.n, 3 * one.groups)
    assert (over.value_a, over.value_b) == pytest.approx((one.value_a, one.value_b))
    assert over.p < one.p


def test_difference_over_seeds_refuses_missing_seeds() -> None:
    a, b = (pd.concat([t.assign(seed=s) for s in range(2)]) for t in pair(np.random.default_rng(7)))
    with pytest.raises(ValueError, match="different seeds"):
        paired_difference_over_seeds(a, b[b["seed"] == 0])
    with pytest.raises(ValueError, match="at least two"):
        paired_difference_over_seeds(a[a["seed"] == 0], b[b["seed"] == 0])


def test_paired_difference_table_has_each_split_and_subset() -> None:
    subsets = ["seen,practised", "seen,neither"] * 20
    a, b = (
        pd.concat(
            [
                tries(np.arange(40) % 3 > shift, np.arange(40) // 2, name, subsets=subsets),
                tries(np.arange(40) % 3 > 1, np.arange(40) // 2, name, "id_test"),
            ]
        )
        for name, shift in (("a", 0), ("b", 1))
    )
    table = paired_difference_table(a, b).set_index(["split", "subset"])
    places = table.reset_index()[["split", "role", "shift"]].drop_duplicates()
    assert places.to_numpy().tolist() == [["id_test", "test", "id"], ["ood_test", "test", "ood"]]
    assert set(table.index) == {
        ("id_test", "all"),
        ("ood_test", "all"),
        ("ood_test", "practised"),
        ("ood_test", "neither"),
    }
    assert table.loc[("ood_test", "practised"), "n"] == 20
    assert table.loc[("id_test", "all"), "difference"] == 0


# ---------------------------------------------------------------------- shares of a loss


def triple(
    rng: np.random.Generator, loss: float, share: float, clusters: int = 80
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A variant that has regained `share` of the problems that its target has lost, per group."""
    m = rng.poisson(6, clusters) + 1
    groups = np.repeat(np.arange(clusters), m)
    anchor = rng.random(len(groups)) < np.repeat(rng.beta(1, 1, clusters), m)
    lost = rng.random(len(anchor)) < np.repeat(rng.beta(loss, 1 - loss, clusters), m)
    back = rng.random(len(anchor)) < np.repeat(rng.beta(2 * share, 2 - 2 * share, clusters), m)
    target = anchor & ~lost
    return (
        tries(target | (anchor & lost & back), groups, "variant"),
        tries(target, groups, "sft-256"),
        tries(anchor, groups, "sft-8"),
    )


def test_recovered_share_of_the_ends() -> None:
    _, target, anchor = triple(np.random.default_rng(8), 0.4, 0.5)
    whole = recovered_share([(anchor, target, anchor)])
    none = recovered_share([(target, target, anchor)])
    over_seeds = recovered_share([(anchor, target, anchor)] * 3)
    for found, share in ((whole, 1), (none, 0), (over_seeds, 1)):
        assert found.recovered == pytest.approx(share, abs=1e-12)
        assert found.low < share - 0.02  # 80 groups say no more
        assert found.high > share + 0.02
    assert over_seeds.high - over_seeds.low < whole.high - whole.low


def test_recovered_share_needs_a_clear_loss() -> None:
    rng = np.random.default_rng(9)
    variant, target, anchor = triple(rng, 0.4, 0.5)
    unclear = recovered_share([(variant, anchor, anchor)])
    gained = recovered_share([(variant, anchor, target)])  # the target is the better one
    for share in (unclear, gained):
        assert np.isnan([share.recovered, share.low, share.high]).all()
    # It is clear when, and only when, the interval of the loss lies above 0.
    outcomes = set()
    for loss in (0.003, 0.01, 0.05, 0.1):
        variant, target, anchor = triple(rng, loss, 0.5)
        clear = paired_difference(anchor, target).low > 0
        assert clear == (not np.isnan(recovered_share([(variant, target, anchor)]).recovered))
        outcomes.add(clear)
    assert outcomes == {True, False}


def test_fieller_interval_is_the_inverted_test() -> None:
    mean, covariance = np.array([0.1, 0.3]), np.array([[4e-3, 1e-3], [1e-3, 6e-3]])
    for share in fieller_interval(mean, covariance, 1.96):
        contrast = np.array([1, -share])
        error = np.sqrt(contrast @ covariance @ contrast)
        assert abs(contrast @ mean) == pytest.approx(1.96 * error)


@pytest.mark.parametrize("like", [None, 1, 2])  # the target, the anchor
@pytest.mark.parametrize("seeds", [1, 3])
def test_p_of_a_share_agrees_with_its_interval(seeds: int, like: int | None) -> None:
    rng = np.random.default_rng(14)
    unlike = [0.35, 0.5, 0.65][:seeds] if seeds > 1 else [0.5]
    triples = [triple(rng, 0.4, share) for share in unlike]
    if like is not None:  # on every problem
        triples = [(own[like], own[1], own[2]) for own in triples]
    clusters = gains_and_losses(triples)
    share = share_over_clusters(clusters)
    assert share.low < share.recovered < share.high
    for end, inwards in ((share.low, 1), (share.high, -1)):
        assert share_p(clusters, end) == pytest.approx(0.05)
        assert share_p(clusters, end - 0.01 * inwards) < 0.05
        assert share_p(clusters, end + 0.01 * inwards) > 0.05
    assert share_p(clusters, share.recovered) == pytest.approx(1)


def test_p_of_a_share_is_that_of_a_contrast() -> None:
    variant, target, anchor = triple(np.random.default_rng(15), 0.4, 0.5)
    terms = [(1.0, variant), (0.3 - 1.0, target), (-0.3, anchor)]
    clusters = gains_and_losses([(variant, target, anchor)])
    assert share_p(clusters, 0.3) == pytest.approx(contrast([terms]).p)
    nothing_lost = gains_and_losses([(variant, anchor, anchor)])
    assert np.isnan(share_p(nothing_lost, 0.3))


@pytest.mark.parametrize(
    ("loss", "share", "seeds"), [(0.5, 0.3, 1), (0.15, 0.7, 1), (0.1, 0.2, 1), (0.3, 0.5, 3)]
)
def test_recovered_interval_covers(loss: float, share: float, seeds: int) -> None:
    """Multisets differ in how many of their problems are lost, and in how many come back."""
    rng = np.random.default_rng(10)

    def clusters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        m = rng.poisson(5, 80) + 1
        lost = rng.binomial(m, rng.beta(loss, 1 - loss, 80))
        back = rng.binomial(lost, rng.beta(2 * share, 2 - 2 * share, 80))
        return back.astype(float), lost.astype(float), m.astype(float)

    found = [share_over_clusters([clusters() for _ in range(seeds)]) for _ in range(400)]
    clear = [one for one in found if not np.isnan(one.low)]
    assert len(clear) > 350
    covered = np.mean([one.low <= share <= one.high for one in clear])
    assert 0.92 <= covered <= 0.99


def hierarchical_bootstrap(gains: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means of resampled seeds, groups within them, and problems within those: shape (draws,)."""
    seeds, clusters, problems = gains.shape
    of = rng.integers(seeds, size=(draws, seeds, 1, 1))
    row = rng.integers(clusters, size=(draws, seeds, clusters, 1))
    return gains[of, row, rng.integers(problems, size=(draws, seeds, clusters, problems))].mean(
        (1, 2, 3)
    )


@pytest.mark.parametrize(("seeds", "covers_at_most"), [(3, 0.85), (5, 0.9)])
def test_a_hierarchical_bootstrap_over_few_seeds_is_too_narrow(
    seeds: int, covers_at_most: float
) -> None:
    """Why intervals over seeds are Student's t. True effect 0; seeds differ more than problems."""
    rng = np.random.default_rng(11)
    clusters, problems, ours, bootstrap = 30, 3, [], []
    for _ in range(300):
        gains = rng.normal(0, 1, (seeds, clusters, problems)) + rng.normal(0, 0.5, (seeds, 1, 1))
        low, high = np.quantile(hierarchical_bootstrap(gains, 200, rng), [0.025, 0.975])
        bootstrap.append(low <= 0 <= high)
        sizes = np.full(clusters, float(problems))
        errors = [ratio_error(sums, sizes) for sums in gains.sum(axis=2)]
        values = gains.mean(axis=(1, 2))
        ours.append(abs(values.mean()) <= half_width_over_seeds(values, np.array(errors)))
    assert np.mean(ours) >= 0.93
    assert np.mean(bootstrap) <= covers_at_most
