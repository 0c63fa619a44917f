"""Signals of RL runs, from metrics made by hand and from those that rollouts write."""

from __future__ import annotations

import math

import pandas as pd

from svdrift.evaluation.signals import signals
from svdrift.training.rollout import Episode, outcomes


def metrics(run: str, seed: int, **columns: list[float]) -> pd.DataFrame:
    start, stage = run.split(".")
    return pd.DataFrame({"seed": seed, "run": run, "stage": stage, "start": start, **columns})


def test_a_run_had_a_signal_if_it_solved_some_and_its_rewards_differed() -> None:
    tables = [
        metrics("sft-4.ppo", 0, reward_std=[0.0, 1.5], solved_by_try_1=[0.0, 0.02]),
        metrics("sft-4.ppo", 1, reward_std=[0.3, 0.2], solved_by_try_1=[0.01, 0.0]),  # too few
        metrics("sft-8.ppo", 1, reward_std=[0.0, 0.0], solved_by_try_1=[1.0, 1.0]),  # all alike
    ]
    table = signals(pd.concat(tables))
    assert list(table.columns) == [
        *("run", "stage", "start", "seed", "best_solved", "reward_std_max", "had_signal")
    ]
    assert table.to_numpy().tolist() == [
        ["sft-4.ppo", "ppo", "sft-4", 0, 0.02, 1.5, True],
        ["sft-4.ppo", "ppo", "sft-4", 1, 0.01, 0.3, False],
        ["sft-8.ppo", "ppo", "sft-8", 1, 1.0, 0.0, False],
    ]


def test_what_counts_is_the_last_try_that_a_run_makes() -> None:
    one = metrics("sft-4.one", 0, reward_std=[1.0], solved_by_try_1=[0.2])
    two = metrics("sft-4.two", 0, reward_std=[1.0], solved_by_try_1=[0.0], solved_by_try_2=[0.3])
    table = signals(pd.concat([one, two]))
    assert math.isnan(pd.concat([one, two])["solved_by_try_2"].iloc[0])
    assert list(table["best_solved"]) == [0.2, 0.3]


def test_signals_of_what_rollouts_log() -> None:
    right = Episode([0], rewards=[5.0], faults=["none"], solved=True)
    wrong = Episode([0], rewards=[-1.0, -1.0], faults=["wrong_value"] * 2)
    rows = [outcomes([wrong, wrong], 2, ["wrong_value"]), outcomes([right, wrong], 2, [])]
    named = pd.DataFrame(rows).assign(seed=0, run="sft-4.ppo", stage="ppo", start="sft-4")
    (found,) = signals(named).to_dict("records")
    assert (found["best_solved"], found["reward_std_max"]) == (0.5, 3.5)
    assert found["had_signal"]
    assert not signals(named.iloc[:1])["had_signal"].any()
