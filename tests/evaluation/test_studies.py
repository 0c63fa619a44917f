import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdrift.evaluation.comparisons import paired_difference, paired_difference_over_seeds
from svdrift.evaluation.studies import (
    matching,
    same_hands,
    study_differences,
    unpaired_difference,
)
from tests.evaluation.episode_tables import tries


def played(chance, checkpoint, seeds=(0,), hands=60, split="ood_test"):
    """Episodes of hands of their own multisets, one column a label."""
    run, step = checkpoint.split("-")[0], int(checkpoint.split("-")[-1])
    return pd.concat(
        [
            tries(
                np.random.default_rng(seed).random(hands) < chance,
                np.arange(hands),
                checkpoint,
                split,
                seed=seed,
                run=run,
                sft_step=step,
            )
            for seed in seeds
        ]
    )


def test_matching_names_the_results_of_rl_alike():
    assert matching("ppo-from-64") == matching("grpo-from-64") == "rl-from-64"
    assert matching("demonstrated-ppo-from-4") == "demonstrated-rl-from-4"
    for name in ("base", "sft-64", "continued-from-64", "ppo-from-64-update-20"):
        assert matching(name) == name


def test_unpaired_interval_is_that_of_two_shares():
    """With one hand a multiset the bootstrap is the binomial error of both."""
    a, b = played(0.7, "sft-4", hands=400), played(0.4, "sft-4", seeds=(1,), hands=300)
    found = unpaired_difference(a, b, resamples=20_000)
    p, q = a["solved"].mean(), b["solved"].mean()
    error = np.sqrt(p * (1 - p) / 399 + q * (1 - q) / 299)
    assert found.error == pytest.approx(error, rel=0.03)
    assert found.difference == pytest.approx(p - q)
    half = stats.t.isf(0.025, 299) * error
    assert found.high - found.low == pytest.approx(2 * half, rel=0.03)
    assert (found.n, found.n_b) == (400, 300)


def test_unpaired_interval_counts_a_multiset_once():
    solved = np.random.default_rng(0).random(50) < 0.5
    once = tries(solved, np.arange(50))
    often = tries(np.repeat(solved, 8), np.repeat(np.arange(50), 8))
    one, many = unpaired_difference(once, once), unpaired_difference(often, often)
    assert many.error == pytest.approx(one.error, rel=0.05)  # and not a third of it


def test_unpaired_needs_two_multisets():
    with pytest.raises(ValueError, match="at least two multisets"):
        unpaired_difference(tries([1, 0], ["a", "a"]), tries([1, 0], ["a", "b"]))


def test_studies_are_compared_where_both_have_a_checkpoint():
    a = pd.concat([played(0.8, "grpo-from-4"), played(0.5, "sft-4"), played(0.5, "sft-8")])
    b = pd.concat([played(0.3, "ppo-from-4"), played(0.5, "sft-4"), played(0.5, "sft-16")])
    table = study_differences(a, b, {"ood_test": True}).set_index("checkpoint")
    assert list(table.index) == ["rl-from-4", "sft-4"]
    assert table.loc["sft-4", ["difference", "low", "high"]].tolist() == [0, 0, 0]
    alone = paired_difference(played(0.8, "grpo-from-4"), played(0.3, "ppo-from-4"))
    row = table.loc["rl-from-4"]
    assert (row["difference"], row["low"], row["high"]) == (
        alone.difference,
        alone.low,
        alone.high,
    )
    assert row["run"] == "grpo"


def test_seeds_are_also_taken_together():
    a, b = (played(chance, "sft-4", seeds=(0, 1, 2)) for chance in (0.6, 0.5))
    paired = study_differences(a, b, {"ood_test": True})
    assert paired["seed"].isna().sum() == 1
    mean = paired[paired["seed"].isna()].iloc[0]
    expected = paired_difference_over_seeds(a, b)
    assert (mean["difference"], mean["low"]) == (expected.difference, expected.low)

    other = study_differences(a, b, {"ood_test": False})
    singles = other[other["seed"].notna()]
    mean = other[other["seed"].isna()].iloc[0]
    assert mean["difference"] == pytest.approx(singles["difference"].mean())
    assert mean["n"] == 180
    assert mean["high"] - mean["low"] > paired["high"].iloc[-1] - paired["low"].iloc[-1]
    assert not other["paired"].any()


def test_hands_are_the_same_if_cards_values_and_target_are():
    hands = pd.DataFrame(
        {"hand_id": ["t-0"], "cards": ["J 2 3 4"], "numbers": ["10 2 3 4"], "target": [24]}
    )
    assert same_hands(hands, hands.assign(exposure="practised"))
    for column, other in (("cards", "Q 2 3 4"), ("numbers", "11 2 3 4"), ("target", 30)):
        assert not same_hands(hands, hands.assign(**{column: other}))
