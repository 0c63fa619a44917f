"""Rank correlations of few points: exact under their null."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdrift.findings import ranks
from svdrift.findings.finding import Finding, Statement

STARTS = ["sft-4", "sft-16", "sft-64", "sft-256"]
ABOVE_0 = Statement("strength", "s", "rank correlation", "above", 0.0, "", "", "")


def series(rows):
    """Values by seed and start, one row a seed."""
    index = pd.MultiIndex.from_product([range(len(rows)), STARTS[: len(rows[0])]])
    return pd.Series(np.ravel(rows).astype(float), index=index)


def found(before, after):
    estimate = ranks.rank_correlation(series(before), series(after), "runs")
    return Finding(**vars(ABOVE_0), **vars(estimate))


def test_the_null_of_one_seed_is_every_order():
    values, chances = ranks.null_of_one([1, 2, 3, 4], [5, 6, 7, 8])
    every = [stats.spearmanr([1, 2, 3, 4], order).statistic for order in permutations(range(4))]
    for value, chance in zip(values, chances, strict=True):
        assert chance == pytest.approx(np.isclose(every, value).mean())
    assert chances.sum() == pytest.approx(1)


def test_the_null_of_a_mean_is_what_drawing_gives():
    rng = np.random.default_rng(0)
    one = ranks.null_of_one([1, 2, 3, 4], [1, 2, 3, 4])
    tied = ranks.null_of_one([1, 1, 2, 3], [1, 2, 3, 3])
    values, chances = ranks.null_of_mean([one, tied, one])
    drawn = sum(rng.choice(v, 200_000, p=c) for v, c in (one, tied, one)) / 3
    for level in (-0.5, 0.0, 0.3, 0.7):
        assert chances[values <= level].sum() == pytest.approx((drawn <= level).mean(), abs=0.005)


def test_five_seeds_of_four_starts_with_the_known_p():
    """A mean of +0.52 from +0.2, 1, 0.8, 0.4, 0.2: exact p 0.0506, so undecided."""
    after = [next(
        list(order) for order in permutations(range(4))
        if np.isclose(stats.spearmanr(range(4), order).statistic, value)
    ) for value in (0.2, 1.0, 0.8, 0.4, 0.2)]  # fmt: skip
    one = found([range(4)] * 5, after)
    assert one.estimate == pytest.approx(0.52)
    assert one.p == pytest.approx(0.0506, abs=0.0005)
    assert one.verdict == "undecided"
    assert one.low <= 0 < one.high


@pytest.mark.parametrize(("seeds", "starts"), [(1, 4), (5, 3), (5, 4)])
def test_unrelated_starts_are_seldom_called_related(seeds, starts):
    rng = np.random.default_rng(seeds * 10 + starts)
    wrong = 0
    for _ in range(100):
        one = found(*rng.normal(size=(2, seeds, starts)).tolist())
        assert (one.p < 0.05) == (one.verdict != "undecided")
        wrong += one.verdict == "holds"
    assert wrong / 100 <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 100)


@pytest.mark.parametrize("seeds", [1, 3])
def test_with_ties_the_interval_and_the_exact_test_agree(seeds):
    """As where several starts solve nothing: 0.8333 of four starts once was [0.0000000003, 1]."""
    rng = np.random.default_rng(seeds)
    some = found([[1, 1, 2, 3]] * seeds, [[1, 2, 2, 3]] * seeds)
    assert some.estimate == pytest.approx(5 / 6)
    ones = [some]
    for _ in range(40):
        one = found(*rng.integers(0, 4, size=(2, seeds, 4)).tolist())
        ones += [one] * (not np.isnan(one.estimate))
    for one in ones:
        assert (one.p < 0.05) == (one.verdict != "undecided"), one.each


def test_a_tail_of_exactly_2_5_percent_is_undecided():
    values, chances = np.array([-1.0, -0.5, 0.5, 1.0]), np.array([0.025, 0.475, 0.475, 0.025])
    assert ranks.two_sided(1.0, values, chances) == pytest.approx(0.05)
    assert ranks.not_unlikely(values, chances) >= 1.0


def test_related_starts_are_found():
    one = found([[1, 2, 3, 4]] * 5, [[5, 6, 7, 8]] * 5)
    assert one.verdict == "holds"
    assert one.p < 0.001
    assert "+1.00 to +1.00 without any one start" in one.detail


def test_partial_correlation():
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(3, 50))
    x, y, z = (stats.rankdata(side) for side in (a + c, b + c, c))
    z = np.column_stack([np.ones(50), z])
    left = [side - z @ np.linalg.lstsq(z, side, rcond=None)[0] for side in (x, y)]
    assert ranks.partial(x, y, z[:, 1]) == pytest.approx(np.corrcoef(*left)[0, 1])
    assert np.isnan(ranks.partial([1, 2, 3], [1, 3, 2], [1, 2, 3]))


def test_too_few_starts_or_a_constant_side_give_nothing():
    assert ranks.rank_correlation(series([[1, 2]]), series([[1, 2]]), "runs") is None
    one = found([[1, 1, 1]], [[1, 2, 3]])
    assert np.isnan(one.estimate)
    assert one.verdict == "undecided"
    assert np.isnan(one.p)
