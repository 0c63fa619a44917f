import numpy as np
import pandas as pd
import pytest

from scripts.measure_rl_effect import measure_effects


def played(seed, run, update, solved, split="ood_test"):
    """One try a hand, two hands a multiset; the second half was practised by RL."""
    hands = np.arange(len(solved))
    return pd.DataFrame(
        {
            "seed": seed,
            "run": run,
            "sft_step": 8,
            "update": update,
            "checkpoint": f"{run}-8",
            "split": split,
            "hand_id": [f"{split}-{hand}" for hand in hands],
            "multiset": [str(hand // 2) for hand in hands],
            "exposure": np.where(hands < len(hands) / 2, "neither", "practised"),
            "pretrained": True,
            "try_number": 1,
            "solved": np.asarray(solved, dtype=bool),
            "fault": "none",
            "translated": True,
        }
    )


def study(seeds):
    end = float("nan")
    tables = []
    for seed in range(seeds):
        none, half = np.zeros(40), np.r_[np.zeros(20), np.ones(20)]
        tables += [
            played(seed, "sft", end, none),
            played(seed, "ppo", end, half),
            played(seed, "ppo", 20.0, np.ones(40)),  # on the way: no result
            played(seed, "continued", end, np.r_[half[:39], 0]),
        ]
    return pd.concat(tables, ignore_index=True)


def row(effects, **wanted):
    rows = effects
    for column, value in wanted.items():
        rows = rows[rows[column].isna() if value is None else rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_effects_are_paired_differences_of_ends():
    effects = measure_effects(study(1), "ppo")
    against_start = row(effects, control="sft", subset="all", seed=0)
    assert against_start["difference"] == 0.5
    assert against_start["n"] == 40
    assert row(effects, control="continued", subset="all", seed=0)["difference"] == 1 / 40
    assert row(effects, control="sft", subset="practised", seed=0)["difference"] == 1.0
    assert row(effects, control="sft", subset="neither", seed=0)["difference"] == 0.0
    assert effects["seed"].notna().all()


def test_several_seeds_are_also_taken_together():
    effects = measure_effects(study(3), "ppo")
    together = row(effects, control="sft", subset="all", seed=None)
    assert together["difference"] == pytest.approx(0.5)
    assert together["n"] == 120
    assert set(effects["subset"]) == {"all", "neither", "practised"}  # all were pretrained
