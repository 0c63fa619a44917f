import json
import sys

import numpy as np
import pandas as pd
import pytest

from scripts.compare_checkpoints import compare, main
from svdrift.errors import UserError

RESULT, CONTROL = "sft-8.ppo-60", "sft-8.continued-60"
PAIRS = [[RESULT, "sft-8"], [RESULT, CONTROL]]
COLUMNS = [
    *("seed", "a", "b", "stage_a", "stage_b", "start", "split", "role", "shift", "subset"),
    *("n", "groups", "value_a", "value_b", "difference", "low", "high", "p"),
    *("only_a", "only_b"),
]


def played(seed, checkpoint, solved, split="ood_test"):
    """One try a problem, two problems of a group; the second half was practised by RL."""
    problems = np.arange(len(solved))
    return pd.DataFrame(
        {
            "seed": seed,
            "checkpoint": checkpoint,
            "split": split,
            "role": "test",
            "shift": split.partition("_")[0],
            "problem": [f"{split}-{problem}" for problem in problems],
            "group": [str(problem // 2) for problem in problems],
            "subsets": np.where(problems < len(problems) / 2, "seen,neither", "seen,practised"),
            "try_number": 1,
            "solved": np.asarray(solved, dtype=bool),
            "fault": "none",
            "translated": True,
        }
    )


def study(seeds):
    tables = []
    for seed in range(seeds):
        none, half = np.zeros(40), np.r_[np.zeros(20), np.ones(20)]
        tables += [
            played(seed, "sft-8", none),
            played(seed, RESULT, half),
            played(seed, "sft-8.ppo-20", np.ones(40)),  # in no pair
            played(seed, CONTROL, np.r_[half[:39], 0]),
        ]
    return pd.concat(tables, ignore_index=True)


def row(effects, **wanted):
    rows = effects
    for column, value in wanted.items():
        rows = rows[rows[column].isna() if value is None else rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_comparisons_are_paired_differences():
    table = compare(study(1), PAIRS)
    against_start = row(table, b="sft-8", subset="all", seed=0)
    assert against_start["difference"] == 0.5
    assert against_start["n"] == 40
    assert against_start["groups"] == 20
    assert row(table, b=CONTROL, subset="all", seed=0)["difference"] == 1 / 40
    assert row(table, b="sft-8", subset="practised", seed=0)["difference"] == 1.0
    assert row(table, b="sft-8", subset="neither", seed=0)["difference"] == 0.0
    assert table["seed"].notna().all()


def test_comparisons_name_their_checkpoints():
    table = compare(study(1), [*PAIRS, ["sft-8", RESULT]])
    names = table[["a", "b", "stage_a", "stage_b", "start"]].drop_duplicates()
    assert names.to_numpy().tolist() == [
        [RESULT, "sft-8", "ppo", "sft", "sft-8"],
        [RESULT, CONTROL, "ppo", "continued", "sft-8"],
        ["sft-8", RESULT, "sft", "ppo", "base"],
    ]
    assert list(table.columns) == COLUMNS


def test_several_seeds_are_also_taken_together():
    table = compare(study(3), PAIRS)
    together = row(table, b="sft-8", subset="all", seed=None)
    assert together["difference"] == pytest.approx(0.5)
    assert (together["n"], together["groups"]) == (120, 60)
    assert (together["role"], together["shift"]) == ("test", "ood")
    assert set(table["subset"]) == {"all", "neither", "practised"}  # all are of `seen`
    assert list(table.columns) == COLUMNS


def test_only_test_splits_are_compared(tmp_path, monkeypatch):
    paths = []
    for name, part in study(1).drop(columns="seed").groupby("checkpoint"):
        paths.append(tmp_path / f"seed-0/evaluation/{name}/episodes.parquet")
        paths[-1].parent.mkdir(parents=True)
        other = part.assign(split="ood_selection", role="selection")
        pd.concat([part, other]).to_parquet(paths[-1])
    out = tmp_path / "comparisons.parquet"
    arguments = ["--pairs", json.dumps(PAIRS), "--episodes", *map(str, paths), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["compare_checkpoints.py", *arguments])
    main()
    pd.testing.assert_frame_equal(pd.read_parquet(out), compare(study(1), PAIRS))


def test_a_pair_without_episodes_is_refused():
    with pytest.raises(UserError, match=r"no episodes of sft-16"):
        compare(study(1), [["sft-16", "sft-8"]])
