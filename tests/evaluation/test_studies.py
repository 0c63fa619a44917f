import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdrift.checkpoints import labels
from svdrift.evaluation.comparisons import paired_difference, paired_difference_over_seeds
from svdrift.evaluation.studies import (
    counterparts,
    parts_of,
    same_problems,
    study_differences,
    unpaired_difference,
)
from svdrift.story import Role, Story
from tests.evaluation.episode_tables import tries


def played(chance, checkpoint, seeds=(0,), problems=60, split="ood_test"):
    """Episodes of problems of their own groups, one column a label."""
    return pd.concat(
        [
            tries(
                np.random.default_rng(seed).random(problems) < chance,
                np.arange(problems),
                checkpoint,
                split,
                seed=seed,
                **{
                    name: value
                    for name, value in labels(checkpoint).items()
                    if name != "checkpoint"
                },
            )
            for seed in seeds
        ]
    )


def role(stage, results):
    kept = {start: (end,) for start, end in results.items()}
    return Role(stage=stage, label=stage.upper(), unit="step", results=results, kept=kept)


def story(method, end, control="continued-40"):
    """RL by some method and a control, both from sft-4."""
    return Story(
        path=("base", "sft-4", "sft-8"),
        path_label="SFT",
        rl=role(method, {"sft-4": f"sft-4.{method}-{end}"}),
        controls=(role("continued", {"sft-4": f"sft-4.{control}"}),),
        moderate="sft-4",
        labels={},
    )


def test_parts_name_ends_of_runs_whatever_the_method():
    assert parts_of(story("grpo", 6)) == {
        "sft-4.grpo-6": "RL from sft-4",
        "sft-4.continued-40": "continued from sft-4",
    }
    assert parts_of(Story(path=("base", "sft-4"), path_label="SFT", labels={})) == {}


def test_checkpoints_are_compared_by_id_or_else_by_part():
    a, b = story("grpo", 6), story("ppo", 6, "continued-80")
    ours = ["base", "sft-4", "sft-4.grpo-3", "sft-4.grpo-6", "sft-4.continued-40"]
    theirs = ["base", "sft-8", "sft-4", "sft-4.ppo-6", "sft-4.continued-40", "sft-4.continued-80"]
    assert list(counterparts(ours, theirs, (parts_of(a), parts_of(b))).items()) == [
        ("base", ("base", "base")),
        ("sft-4", ("sft-4", "sft-4")),
        ("RL from sft-4", ("sft-4.grpo-6", "sft-4.ppo-6")),
        ("sft-4.continued-40", ("sft-4.continued-40",) * 2),  # the end of one, on another's way
        ("continued from sft-4", ("sft-4.continued-40", "sft-4.continued-80")),
    ]
    assert list(counterparts(ours, theirs)) == ["base", "sft-4", "sft-4.continued-40"]


def test_unpaired_interval_is_that_of_two_shares():
    """With one problem a group it is the binomial error of both."""
    a, b = played(0.7, "sft-4", problems=400), played(0.4, "sft-4", seeds=(1,), problems=300)
    found = unpaired_difference(a, b)
    p, q = a["solved"].mean(), b["solved"].mean()
    error = np.sqrt(p * (1 - p) / 399 + q * (1 - q) / 299)
    assert found.error == pytest.approx(error)
    assert found.difference == pytest.approx(p - q)
    half = stats.t.isf(0.025, 299) * error
    assert found.high - found.low == pytest.approx(2 * half)
    assert found.p == pytest.approx(2 * stats.t.sf((p - q) / error, 299))
    assert (found.n, found.groups, found.n_b) == (400, 400, 300)


def test_unpaired_interval_counts_a_group_once():
    solved = np.random.default_rng(0).random(50) < 0.5
    once = tries(solved, np.arange(50))
    often = tries(np.repeat(solved, 8), np.repeat(np.arange(50), 8))
    one, many = unpaired_difference(once, once), unpaired_difference(often, often)
    assert many.error == pytest.approx(one.error)  # and not a third of it
    assert (many.n, many.groups) == (400, 50)


@pytest.mark.parametrize(("one", "two"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.5)])
def test_shares_of_which_all_groups_agree_are_not_certain(one, two):
    a, b = played(one, "sft-4"), played(two, "sft-4", seeds=(1,))
    found = unpaired_difference(a, b)
    # The end of Wilson's interval, with Student's t of 59 degrees of freedom.
    quantile = stats.t.isf(0.025, 59)
    unseen = quantile**2 / (60 + quantile**2)
    share = b["solved"].mean()
    own = unseen if two == 0 else quantile * np.sqrt(share * (1 - share) / 59)
    half = np.hypot(unseen, own)
    assert found.low == pytest.approx(max(found.difference - half, -1))
    assert found.high == pytest.approx(min(found.difference + half, 1))


def test_unpaired_needs_two_groups():
    with pytest.raises(ValueError, match="at least two groups"):
        unpaired_difference(tries([1, 0], ["a", "a"]), tries([1, 0], ["a", "b"]))


def test_studies_are_compared_where_both_have_a_checkpoint():
    a = pd.concat([played(0.8, "sft-4.grpo-6"), played(0.5, "sft-4"), played(0.5, "sft-8")])
    b = pd.concat([played(0.3, "sft-4.ppo-6"), played(0.5, "sft-4"), played(0.5, "sft-16")])
    parts = parts_of(story("grpo", 6)), parts_of(story("ppo", 6))
    table = study_differences(a, b, {"ood_test": True}, parts).set_index("checkpoint")
    assert list(table.index) == ["RL from sft-4", "sft-4"]
    same = table.loc["sft-4"]
    assert same["difference"] == 0
    assert same["low"] == -same["high"] < 0
    alone = paired_difference(played(0.8, "sft-4.grpo-6"), played(0.3, "sft-4.ppo-6"))
    row = table.loc["RL from sft-4"]
    assert (row["difference"], row["low"], row["high"], row["p"]) == (
        alone.difference,
        alone.low,
        alone.high,
        alone.p,
    )
    assert (row["stage"], row["step"], row["start"]) == ("grpo", 6, "sft-4")
    assert (row["split"], row["role"], row["shift"]) == ("ood_test", "test", "ood")


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
    assert (mean["n"], mean["groups"]) == (180, 180)
    assert (mean["p"] < 0.05) == (mean["low"] > 0 or mean["high"] < 0)
    assert mean["high"] - mean["low"] > paired["high"].iloc[-1] - paired["low"].iloc[-1]
    assert not other["paired"].any()


def test_problems_are_the_same_whatever_subsets_they_belong_to():
    problems = pd.DataFrame(
        {"problem": ["t-0", "t-1"], "group": ["1", "2"], "subsets": "seen", "question": ["a", "b"]}
    )
    assert same_problems(problems, problems.assign(subsets="seen,practised"))
    assert not same_problems(problems, problems[::-1])
    assert not same_problems(problems, problems.drop(columns="question"))
    for column, other in (("problem", "t-5"), ("question", "c")):
        assert not same_problems(problems, problems.assign(**{column: other}))
