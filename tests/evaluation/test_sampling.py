"""Sampled replies of a tiny model and of a scripted one, and which of them are kept."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from svdrift.evaluation.sampling import (
    keep_replies,
    pass_rates,
    sample_replies,
    split_by_rate,
    without_replies,
)
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks import load_settings, make_task

TOY = str(Path(__file__).parents[1] / "tasks" / "toy_task.py")
SUMS = pd.DataFrame(
    {
        "problem": [f"sum-{a}-{b}" for a, b in [(1, 2), (3, 4), (5, 6), (10, 11)]],
        "group": ["1+2", "3+4", "5+6", "10+11"],
        "a": [1, 3, 5, 10],
        "b": [2, 4, 6, 11],
    }
)


@pytest.fixture
def tiny():
    task = make_task(load_settings(TOY).Settings(name=TOY).play("lessons"))
    tokenizer = make_tokenizer(task.words)
    torch.manual_seed(0)
    model = make_model(
        len(tokenizer),
        ArchitectureSettings(hidden_size=16, layers=2, heads=2, intermediate_size=24, positions=32),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(10)  # clear differences between logits
    return model, tokenizer, task


def ask(tiny, table, **changed):
    options = {"samples": 3, "temperature": 1.0, "max_new_tokens": 4, "seed": 0} | changed
    return sample_replies(*tiny, table, **options)


def test_each_problem_is_asked_several_times(tiny):
    replies = ask(tiny, SUMS)
    assert list(replies.index) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert list(replies["sample"]) == [1, 2, 3] * 4
    assert list(replies.columns) == [*SUMS.columns, "reply", "sample", "solved"]
    assert replies["reply"].nunique() > 4
    pd.testing.assert_frame_equal(replies[SUMS.columns][::3], SUMS)


def test_replies_depend_on_no_other_problem_sample_or_batch(tiny):
    everything = ask(tiny, SUMS)
    alone = ask(tiny, SUMS.iloc[[2]])
    assert list(alone["reply"]) == list(everything.loc[2, "reply"])
    backwards = ask(tiny, SUMS[::-1])
    assert list(backwards.loc[0, "reply"]) == list(everything.loc[3, "reply"])
    more = ask(tiny, SUMS, samples=5)
    assert list(more.loc[more["sample"] <= 3, "reply"]) == list(everything["reply"])
    assert list(ask(tiny, SUMS, batch_size=1)["reply"]) == list(everything["reply"])


def test_seeds_decide_the_replies(tiny):
    assert ask(tiny, SUMS).equals(ask(tiny, SUMS))
    assert not ask(tiny, SUMS).equals(ask(tiny, SUMS, seed=1))


def test_problems_have_different_noise(tiny):
    """The same prompt under two ids."""
    same = pd.concat([SUMS.head(1)] * 2).assign(problem=["x", "y"])
    replies = ask(tiny, same, samples=8)
    assert list(replies.loc[0, "reply"]) != list(replies.loc[1, "reply"])


def test_greedy_replies_take_no_noise(tiny):
    first, second = (ask(tiny, SUMS, samples=1, temperature=0.0, seed=seed) for seed in (0, 1))
    assert first.equals(second)


def test_replies_are_judged(tiny):
    model, tokenizer, task = tiny

    def generate(model, prompts, **options):
        return [tokenizer("7 <eos>")["input_ids"] for _ in prompts]

    replies = sample_replies(
        model,
        tokenizer,
        task,
        SUMS,
        samples=2,
        temperature=1.0,
        max_new_tokens=4,
        seed=0,
        generate=generate,
    )
    assert list(replies["reply"].unique()) == ["7"]
    assert list(replies["solved"]) == [False] * 2 + [True] * 2 + [False] * 4
    assert list(pass_rates(replies)) == [0, 1, 0, 0]


REPLIES = pd.DataFrame(
    {
        "problem": ["a"] * 4 + ["b"] * 3,
        "reply": ["x", "y", "x", "z", "x", "w", "v"],
        "sample": [1, 2, 3, 4, 1, 2, 3],
        "solved": [True, False, True, True, True, True, True],
    },
    index=[0] * 4 + [1] * 3,
)
ALL = {"verified": False, "distinct": False, "per_problem": None, "count": None, "seed": 0}


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, "a1 a2 a3 a4 b1 b2 b3"),
        ({"verified": True}, "a1 a3 a4 b1 b2 b3"),
        ({"distinct": True}, "a1 a2 a4 b1 b2 b3"),  # x of b is its own
        ({"per_problem": 2}, "a1 a2 b1 b2"),
        ({"verified": True, "distinct": True, "per_problem": 2}, "a1 a4 b1 b2"),
        ({"count": 9}, "a1 a2 a3 a4 b1 b2 b3"),
    ],
)
def test_kept_replies(changed, kept):
    found = keep_replies(REPLIES, **ALL | changed)
    assert list(found["problem"] + found["sample"].astype(str)) == kept.split()
    assert list(found.index) == list(range(len(found)))


def test_rows_of_one_id_may_be_different_problems():
    """A mixture has a problem and its variant."""
    two = REPLIES.assign(problem="a")
    assert len(keep_replies(two, **ALL | {"distinct": True})) == 6


def test_count_is_drawn_at_random_and_keeps_the_order():
    drawn = [keep_replies(REPLIES, **ALL | {"count": 3, "seed": seed}) for seed in range(20)]
    places = [list(table["problem"] + table["sample"].astype(str)) for table in drawn]
    assert all(len(p) == 3 and p == sorted(p) for p in places)
    assert len({tuple(p) for p in places}) > 5
    assert keep_replies(REPLIES, **ALL | {"count": 3, "seed": 7}).equals(drawn[7])


def test_bounds_of_a_rate_are_inclusive():
    table = pd.DataFrame({"problem": list("abcde")})
    rates = pd.Series(np.array([0, 1, 3, 7, 10]) / 10)
    kept, dropped = split_by_rate(table, rates, 0.1, 0.7)
    assert list(kept["problem"]) == ["b", "c", "d"]
    assert list(kept["pass_rate"]) == [0.1, 0.3, 0.7]
    assert list(dropped["problem"]) == ["a", "e"]
    assert list(dropped["pass_rate"]) == [0, 1]


def test_rates_are_shares_of_solved_replies():
    assert list(pass_rates(REPLIES)) == [0.75, 1]


def test_problems_are_asked_once_whatever_replies_their_table_holds():
    pd.testing.assert_frame_equal(without_replies(SUMS), SUMS)
    twice = pd.concat([SUMS, SUMS]).assign(reply="x", solved=True, sample=1, checkpoint="base")
    pd.testing.assert_frame_equal(without_replies(twice), SUMS)
    variants = pd.concat([SUMS, SUMS.assign(b=7)])
    assert len(without_replies(variants)) == 8
