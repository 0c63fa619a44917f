"""Statistics against statsmodels and hand-worked cases; coverage of intervals by simulation."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from svdrift.evaluation.statistics import (
    accuracy_table,
    cluster_bootstrap_error,
    clustered_interval,
    effective_size,
    half_width_over_seeds,
    paired_difference,
    paired_difference_over_seeds,
    paired_difference_table,
    wilson_interval,
)


def tries(
    solved: object,
    multisets: object,
    checkpoint: str = "sft-32",
    split: str = "ood_test",
    **columns: object,
) -> pd.DataFrame:
    """An episode table of one try a hand."""
    outcome = np.asarray(solved, dtype=bool)
    table = {
        "checkpoint": checkpoint,
        "split": split,
        "hand_id": [f"{split}-{i}" for i in range(len(outcome))],
        "multiset": np.asarray(multisets).astype(str),
        "exposure": "neither",
        "pretrained": True,
        "try_number": 1,
        "reply": "",
        "solved": outcome,
        "reward": np.where(outcome, 5.0, -1.0),
        "fault": np.where(outcome, "none", "wrong_value"),
        "translated": True,
    }
    return pd.DataFrame(table | columns)


# ---------------------------------------------------------------------- intervals of a share


@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_statsmodels(n: int, part: float, confidence: float) -> None:
    successes = round(part * n)
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    low, high = wilson_interval(successes, n, confidence)
    assert (low, high) == pytest.approx(expected, abs=1e-12)
    assert 0 <= low <= successes / n <= high <= 1


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(successes, n)


def size_of(y: object, m: object) -> float:
    y, m = np.asarray(y, float), np.asarray(m, float)
    return float(effective_size(y.sum(), m.sum(), len(m), y @ y, y @ m, m @ m))


def test_effective_size_without_and_with_full_clustering() -> None:
    few = (stats.norm.isf(0.025) / stats.t.isf(0.025, 199)) ** 2
    singles = np.arange(200) % 2
    assert size_of(singles, np.ones(200)) == pytest.approx(200 * few, rel=0.01)
    # Ten identical hands per multiset are worth one.
    assert size_of(10 * singles, np.full(200, 10)) == pytest.approx(200 * few, rel=0.01)
    # Nothing solved: the worst case, one observation a multiset.
    assert size_of(np.zeros(200), np.full(200, 10)) == pytest.approx(200 * few)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
@pytest.mark.parametrize(("clusters", "size"), [(60, 8), (100, 10), (700, 1.4)])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_clustered_interval_covers(
    clusters: int, size: float, share: float, correlation: float
) -> None:
    rng = np.random.default_rng(0)
    m = rng.poisson(size - 1, (1000, clusters)) + 1
    strength = 1 / correlation - 1 if correlation else 1e6
    y = rng.binomial(m, rng.beta(share * strength, (1 - share) * strength, m.shape))
    solved, n = y.sum(axis=1), m.sum(axis=1)
    moments = ((y * y).sum(axis=1), (y * m).sum(axis=1), (m * m).sum(axis=1))
    worth = effective_size(solved, n, clusters, *moments)
    low, high = wilson_interval(solved / n * worth, worth)
    assert 0.925 <= np.mean((low <= share) & (share <= high)) <= 0.975
    expected = pytest.approx((low[0], high[0]))
    assert clustered_interval(y[0], m[0]) == expected


def test_plain_wilson_does_not_cover_clustered_hands() -> None:
    rng = np.random.default_rng(0)
    y = rng.binomial(10, rng.beta(0.5, 0.5, (400, 100))).sum(axis=1)
    low, high = wilson_interval(y, 1000)
    assert np.mean((low <= 0.5) & (high >= 0.5)) < 0.75


# ---------------------------------------------------------------------- accuracy table


@pytest.fixture
def episodes() -> pd.DataFrame:
    """Four hands of three multisets, up to two tries, two checkpoints alike but for the last."""
    columns = ["hand_id", "multiset", "exposure", "pretrained", "try_number", "solved", "fault"]
    rows = [
        ("h1", "1 2 3 4", "practised", True, 1, True, "none"),
        ("h2", "1 2 3 4", "practised", True, 1, False, "wrong_value"),
        ("h2", "1 2 3 4", "practised", True, 2, True, "none"),
        ("h3", "2 2 6 6", "neither", True, 1, False, "illegal"),
        ("h3", "2 2 6 6", "neither", True, 2, False, "wrong_value"),
        ("h4", "3 3 8 8", "neither", False, 1, False, "wrong_value"),
        ("h4", "3 3 8 8", "neither", False, 2, False, "wrong_value"),
    ]
    table = pd.DataFrame(rows, columns=columns).assign(
        split="ood_test", reply="", reward=0.0, checkpoint="sft-8"
    )
    table["translated"] = table["fault"] != "illegal"
    return pd.concat([table, table.assign(checkpoint="sft-16", solved=False, fault="illegal")])


def test_accuracy_table_counts_hands_not_tries(episodes: pd.DataFrame) -> None:
    table = accuracy_table(episodes, faults=("illegal", "unparsed"))
    key = table.set_index(["checkpoint", "subset", "measure"])
    assert key.index.is_unique

    def value(measure: str, subset: str = "all", checkpoint: str = "sft-8") -> float:
        return float(key["value"].to_dict()[checkpoint, subset, measure])

    assert value("solved_first_try") == 0.25
    assert value("solved_within_tries") == 0.5
    assert value("translated") == 0.75
    assert value("fault:wrong_value") == 0.5
    assert value("fault:illegal") == 0.25
    assert value("fault:unparsed") == 0.0
    assert value("solved_first_try", "practised") == 0.5
    assert value("solved_first_try", "heldout") == 0.0
    assert value("fault:illegal", checkpoint="sft-16") == 1.0
    assert "fault:none" not in set(table["measure"])
    whole = table[(table["checkpoint"] == "sft-8") & (table["subset"] == "all")]
    assert whole[["n", "clusters"]].drop_duplicates().to_numpy().tolist() == [[4, 3]]
    assert set(table["subset"]) == {"all", "seen", "heldout", "practised", "neither"}
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_accuracy_table_omits_subsets_that_are_the_whole_split() -> None:
    table = accuracy_table(tries([True, False, True], [1, 2, 3]))
    assert set(table["subset"]) == {"all"}


def test_accuracy_table_intervals() -> None:
    rng = np.random.default_rng(0)
    multisets = rng.integers(0, 40, 300)
    solved = rng.random(40)[multisets] > 0.4
    row = accuracy_table(tries(solved, multisets)).set_index("measure").loc["solved_first_try"]
    sizes = np.bincount(multisets)
    expected = clustered_interval(np.bincount(multisets, solved)[sizes > 0], sizes[sizes > 0])
    assert (row["low"], row["high"]) == pytest.approx(expected)
    plain = wilson_interval(solved.sum(), 300)
    assert (row["wilson_low"], row["wilson_high"]) == pytest.approx(plain)
    assert row["high"] - row["low"] > 2 * (row["wilson_high"] - row["wilson_low"])


def test_accuracy_table_refuses_broken_tables(episodes: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="more than once"):
        accuracy_table(pd.concat([episodes, episodes]))
    with pytest.raises(ValueError, match="first try"):
        accuracy_table(episodes[(episodes["hand_id"] != "h3") | (episodes["try_number"] == 2)])


# ---------------------------------------------------------------------- paired comparisons


def pair(
    rng: np.random.Generator, clusters: int = 60, size: float = 6
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two checkpoints on the same clustered hands."""
    m = rng.poisson(size - 1, clusters) + 1
    multisets = np.repeat(np.arange(clusters), m)
    ease = np.repeat(rng.beta(0.7, 1.3, clusters), m)  # mean 0.35
    luck = np.repeat(rng.beta(1, 9, clusters), m)  # mean 0.1
    b = rng.random(len(m.repeat(m))) < ease
    a = np.where(b, rng.random(len(b)) > 0.1, rng.random(len(b)) < luck)
    return tries(a, multisets, "ppo-from-32"), tries(b, multisets, "sft-32")


def test_paired_difference_against_oracles() -> None:
    a, b = pair(np.random.default_rng(1))
    result = paired_difference(a, b.sample(frac=1, random_state=0))  # order must not matter
    x, y = a["solved"].to_numpy(), b["solved"].to_numpy()
    table = [[(x & y).sum(), (x & ~y).sum()], [(~x & y).sum(), (~x & ~y).sum()]]
    assert result.p_mcnemar == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert (result.only_a, result.only_b) == (table[0][1], table[1][0])
    assert result.difference == pytest.approx(x.mean() - y.mean())
    assert result.n == len(a)
    # The cluster-robust standard error of a mean, worked by hand.
    residual = (x.astype(float) - y) - result.difference
    sums = np.bincount(a["multiset"].astype(int), residual)
    error = np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(a)
    expected = result.difference + stats.t.ppf([0.025, 0.975], len(sums) - 1) * error
    assert (result.low, result.high) == pytest.approx(tuple(expected), abs=0.1 * error)
    assert result == paired_difference(a, b)


def test_paired_difference_measures_the_wanted_tries() -> None:
    a = tries([False, False, True], [1, 2, 3], "a")
    second = a.assign(try_number=2, solved=[True, False, True]).iloc[:2]
    both = pd.concat([a, second])
    b = tries([False, False, True], [1, 2, 3], "b")
    assert paired_difference(both, b).difference == 0
    within = paired_difference(both, b, "solved_within_tries")
    assert within.difference == pytest.approx(1 / 3)


def test_paired_difference_refuses_other_hands() -> None:
    a, b = pair(np.random.default_rng(1))
    with pytest.raises(ValueError, match="same hands"):
        paired_difference(a, b.iloc[1:])
    with pytest.raises(ValueError, match="exactly one checkpoint"):
        paired_difference(pd.concat([a, b]), b)
    with pytest.raises(ValueError, match="two multisets"):
        paired_difference(a.assign(multiset="x"), b.assign(multiset="x"))


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
        half = t * cluster_bootstrap_error(gain, np.asarray(m, float), 200, rng)
        covered.append(abs(gain.sum() / m.sum() - (0.65 * 0.1 - 0.35 * 0.1)) <= half)
    assert 0.915 <= np.mean(covered) <= 0.98


def test_clustered_p_value_keeps_its_level_where_mcnemar_does_not() -> None:
    rng = np.random.default_rng(3)
    clustered, naive = [], []
    for _ in range(40):
        # Whole multisets of ten hands differ, in either direction alike.
        sign = rng.choice([-1, 0, 1], 40)
        multisets = np.repeat(np.arange(40), 10)
        a = tries(np.repeat(sign > 0, 10), multisets, "a")
        b = tries(np.repeat(sign < 0, 10), multisets, "b")
        result = paired_difference(a, b, resamples=300)
        clustered.append(result.p_clustered < 0.05)
        naive.append(result.p_mcnemar < 0.05)
    assert np.mean(clustered) <= 0.125
    assert np.mean(naive) > 0.3


def test_paired_difference_is_fast() -> None:
    a, b = pair(np.random.default_rng(4), clusters=800, size=1.4)
    paired_difference(a, b)
    start = time.process_time()
    paired_difference(a, b, resamples=2000)
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_interval_over_seeds_covers(seeds: int, spread: float) -> None:
    """True effect 0; seeds differ by `spread` times the standard error over hands."""
    rng = np.random.default_rng(5)
    draws = rng.normal(0, np.hypot(1.0, spread), (800, seeds))
    covered = [abs(d.mean()) <= half_width_over_seeds(d, np.ones(seeds)) for d in draws]
    assert np.mean(covered) >= 0.93


def test_difference_over_seeds_is_never_narrower_than_its_hands() -> None:
    a, b = pair(np.random.default_rng(6))
    copy_a, copy_b = (pd.concat([t.assign(seed=s) for s in range(3)]) for t in (a, b))
    over = paired_difference_over_seeds(copy_a, copy_b)  # the seeds agree exactly
    one = paired_difference(a, b)
    assert over.difference == pytest.approx(one.difference)
    assert over.high - over.low == pytest.approx((one.high - one.low) / 3**0.5, rel=0.1)
    assert (over.seeds, over.n) == (3, 3 * one.n)


def test_difference_over_seeds_refuses_missing_seeds() -> None:
    a, b = (pd.concat([t.assign(seed=s) for s in range(2)]) for t in pair(np.random.default_rng(7)))
    with pytest.raises(ValueError, match="different seeds"):
        paired_difference_over_seeds(a, b[b["seed"] == 0])
    with pytest.raises(ValueError, match="at least two"):
        paired_difference_over_seeds(a[a["seed"] == 0], b[b["seed"] == 0])


def test_paired_difference_table_has_each_split_and_subset() -> None:
    exposure = ["practised", "neither"] * 20
    a, b = (
        pd.concat(
            [
                tries(np.arange(40) % 3 > shift, np.arange(40) // 2, name, exposure=exposure),
                tries(np.arange(40) % 3 > 1, np.arange(40) // 2, name, "id_test"),
            ]
        )
        for name, shift in (("a", 0), ("b", 1))
    )
    table = paired_difference_table(a, b).set_index(["split", "subset"])
    assert set(table.index) == {
        ("id_test", "all"),
        ("ood_test", "all"),
        ("ood_test", "practised"),
        ("ood_test", "neither"),
    }
    assert table.loc[("ood_test", "practised"), "n"] == 20
    assert table.loc[("id_test", "all"), "difference"] == 0
