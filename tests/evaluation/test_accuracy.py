"""Accuracies against statsmodels and hand-worked cases; coverage by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from svdrift.evaluation.accuracy import (
    accuracy_table,
    clustered_interval,
    effective_size,
    wilson_interval,
)
from tests.evaluation.episode_tables import tries


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
    # Ten identical problems per group are worth one.
    assert size_of(10 * singles, np.full(200, 10)) == pytest.approx(200 * few, rel=0.01)
    # Nothing solved: the worst case, one observation a group.
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


def test_plain_wilson_does_not_cover_clustered_problems() -> None:
    rng = np.random.default_rng(0)
    y = rng.binomial(10, rng.beta(0.5, 0.5, (400, 100))).sum(axis=1)
    low, high = wilson_interval(y, 1000)
    assert np.mean((low <= 0.5) & (high >= 0.5)) < 0.75


# ---------------------------------------------------------------------- accuracy table


@pytest.fixture
def episodes() -> pd.DataFrame:
    """Four problems of three groups, up to two tries, two checkpoints alike but for the last."""
    columns = ["problem", "group", "subsets", "try_number", "solved", "fault"]
    rows = [
        ("h1", "1 2 3 4", "seen,practised", 1, True, "none"),
        ("h2", "1 2 3 4", "seen,practised", 1, False, "wrong_value"),
        ("h2", "1 2 3 4", "seen,practised", 2, True, "none"),
        ("h3", "2 2 6 6", "seen,neither", 1, False, "illegal"),
        ("h3", "2 2 6 6", "seen,neither", 2, False, "wrong_value"),
        ("h4", "3 3 8 8", "heldout,neither", 1, False, "wrong_value"),
        ("h4", "3 3 8 8", "heldout,neither", 2, False, "wrong_value"),
    ]
    table = pd.DataFrame(rows, columns=columns).assign(
        split="ood_test", role="test", shift="ood", reply="", reward=0.0, checkpoint="sft-8"
    )
    table["translated"] = table["fault"] != "illegal"
    return pd.concat([table, table.assign(checkpoint="sft-16", solved=False, fault="illegal")])


def test_accuracy_table_counts_problems_not_tries(episodes: pd.DataFrame) -> None:
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
    of_groups = whole["measure"].str.startswith("group_")
    assert whole.loc[~of_groups, ["n", "groups"]].drop_duplicates().to_numpy().tolist() == [[4, 3]]
    assert whole.loc[of_groups, ["n", "groups"]].to_numpy().tolist() == [[3, 3]] * 2
    subsets = ["all", "heldout", "neither", "practised", "seen"]
    assert list(dict.fromkeys(table["subset"])) == subsets
    assert set(table["role"]) == {"test"}
    assert set(table["shift"]) == {"ood"}
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_a_group_is_solved_if_all_its_problems_are(episodes: pd.DataFrame) -> None:
    table = accuracy_table(episodes)
    own = table[table["checkpoint"] == "sft-8"].set_index("measure")
    names = ["group_solved_first_try", "group_solved_within_tries"]
    assert own.loc[names, "value"].tolist() == pytest.approx([0, 1 / 3])
    assert own.loc[names[1], ["low", "high"]].tolist() == pytest.approx(
        clustered_interval([1, 0, 0], [1, 1, 1])
    )


def test_accuracy_table_omits_subsets_that_are_the_whole_split() -> None:
    table = accuracy_table(tries([True, False, True], [1, 2, 3]))
    assert set(table["subset"]) == {"all"}


def test_accuracy_table_intervals() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 300)
    solved = rng.random(40)[groups] > 0.4
    row = accuracy_table(tries(solved, groups)).set_index("measure").loc["solved_first_try"]
    sizes = np.bincount(groups)
    expected = clustered_interval(np.bincount(groups, solved)[sizes > 0], sizes[sizes > 0])
    assert (row["low"], row["high"]) == pytest.approx(expected)
    plain = wilson_interval(solved.sum(), 300)
    assert (row["wilson_low"], row["wilson_high"]) == pytest.approx(plain)
    assert row["high"] - row["low"] > 2 * (row["wilson_high"] - row["wilson_low"])


def test_accuracy_table_refuses_broken_tables(episodes: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="more than once"):
        accuracy_table(pd.concat([episodes, episodes]))
    with pytest.raises(ValueError, match="first try"):
        accuracy_table(episodes[(episodes["problem"] != "h3") | (episodes["try_number"] == 2)])
