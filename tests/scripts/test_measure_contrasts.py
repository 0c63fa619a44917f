import sys

import numpy as np
import pandas as pd
import pytest

from scripts import measure_contrasts, measure_signals
from svdrift.story import Role, Story
from tests.evaluation.episode_tables import tries

SPLITS = ("fitted", "id_test", "ood_test", "ood_selection", "id_selection")
# Of 40 OOD problems, by seed: each seed is best where the other one is not.
SOLVED = {
    "base": (0, 0),
    "sft-4": (30, 20),
    "sft-8": (24, 28),
    "sft-16": (10, 10),
    "sft-8.ppo-6": (18, 22),
}


def story(**more):
    role = Role(
        stage="ppo",
        label="PPO",
        unit="update",
        results={"sft-8": "sft-8.ppo-6"},
        kept={"sft-8": ("sft-8.ppo-6",)},
    )
    path = ("base", "sft-4", "sft-8", "sft-16")
    return Story(path=path, path_label="SFT", rl=role, moderate="sft-8", labels={}, **more)


def measure(folder, monkeypatch, of, seeds=(0, 1)):
    paths = []
    for seed in seeds:
        for name, solved in SOLVED.items():
            tables = [tries(np.arange(40) < solved[seed], np.arange(40), name, s) for s in SPLITS]
            again = tables[2].assign(try_number=2, solved=True)  # only first tries count
            paths.append(folder / f"seed-{seed}/evaluation/{name}/episodes.parquet")
            paths[-1].parent.mkdir(parents=True)
            pd.concat([*tables, again]).drop(columns="checkpoint").to_parquet(paths[-1])
    anchors = pd.DataFrame({"seed": seeds, "checkpoint": [("sft-4", "sft-8")[s] for s in seeds]})
    anchors.to_parquet(folder / "anchors.parquet")
    arguments = ["--anchors", str(folder / "anchors.parquet"), "--out", str(folder / "out.parquet")]
    arguments += ["--story", of.model_dump_json(), "--episodes", *map(str, paths)]
    monkeypatch.setattr(sys, "argv", ["measure_contrasts.py", *arguments])
    measure_contrasts.main()
    return pd.read_parquet(folder / "out.parquet").query("shift == 'ood'")


def test_the_peak_of_other_seeds_is_chosen_on_selection_problems(tmp_path, monkeypatch):
    table = measure(tmp_path, monkeypatch, story()).set_index("contrast")
    lost = table.loc["forgetting"]
    assert list(lost["value"] * 40) == pytest.approx([14, 10, 12])
    assert set(lost["reference"]) == {"chosen on other seeds"}
    own = table.loc["own-peak"]
    assert list(own["value"] * 40) == pytest.approx([20, 18, 19])
    assert set(own["reference"]) == {"chosen on the same seed"}
    assert set(table.loc["restored-from-sft-8", "reference"]) == {"chosen on the same seed"}
    assert list(lost["groups"]) == [40, 40, 80]


def test_a_named_peak_is_the_only_one(tmp_path, monkeypatch):
    table = measure(tmp_path, monkeypatch, story(peak="sft-4"), seeds=(0,)).set_index("contrast")
    assert list(table.index) == ["forgetting", "restored-from-sft-8"]
    assert set(table["reference"]) == {"named in advance"}
    assert table.loc["forgetting", "value"] * 40 == pytest.approx(20)


def test_signals_of_a_study(tmp_path, monkeypatch):
    row = {"seed": 0, "run": "sft-4.ppo", "stage": "ppo", "start": "sft-4"}
    row |= {"reward_std": 1.0, "solved_by_try_1": 0.5}
    pd.DataFrame([row]).to_parquet(tmp_path / "metrics.parquet")
    out = tmp_path / "signals.parquet"
    arguments = ["--metrics", str(tmp_path / "metrics.parquet"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["measure_signals.py", *arguments])
    measure_signals.main()
    assert pd.read_parquet(out)["had_signal"].tolist() == [True]
