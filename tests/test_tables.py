from pathlib import Path

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.tables import join_tables


def write(path: Path, **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(path, index=False)
    return path


def test_paths_become_columns(tmp_path):
    root = tmp_path / "results/x"
    paths = [
        write(root / "seed-3/evaluation/base/a.parquet", checkpoint=["base"], value=[0.1]),
        write(root / "seed-0/evaluation/sft-8.ppo-60/a.parquet", value=[0.2]),
        write(root / "seed-0/evaluation/sft-8.ppo-20/a.parquet", value=[0.3]),
    ]
    table = join_tables(paths)
    assert list(table["seed"]) == [3, 0, 0]
    assert list(table.columns) == ["seed", "checkpoint", "stage", "step", "start", "value"]
    assert list(table["checkpoint"]) == ["base", "sft-8.ppo-60", "sft-8.ppo-20"]
    assert list(table["stage"]) == ["base", "ppo", "ppo"]
    assert list(table["step"]) == [0, 60, 20]
    assert list(table["start"]) == ["", "sft-8", "sft-8"]
    assert list(table["value"]) == [0.1, 0.2, 0.3]


def test_tables_of_training_runs_are_labelled_by_run(tmp_path):
    root = tmp_path / "seed-0/training"
    runs = ["base", "sft", "sft-8.ppo", "other.sft-8.ppo"]
    table = join_tables(
        [write(root / run / "losses.parquet", step=[4], loss=[0.1]) for run in runs]
    )
    assert list(table.columns) == ["seed", "run", "stage", "start", "step", "loss"]
    assert list(table["run"]) == runs
    assert list(table["stage"]) == ["base", "sft", "ppo", "ppo"]
    assert list(table["start"]) == ["", "base", "sft-8", "other.sft-8"]
    assert list(table["step"]) == [4] * 4


def test_a_table_of_a_whole_seed_has_no_checkpoint(tmp_path):
    table = join_tables([write(tmp_path / "seed-1/selection/table.parquet", step=[1, 2])])
    assert list(table.columns) == ["seed", "step"]
    assert list(table["seed"]) == [1, 1]


def test_a_json_object_is_a_row(tmp_path):
    path = tmp_path / "seed-2/selection/anchor.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"checkpoint": "sft-8", "n": 5}')
    assert join_tables([path]).to_dict("records") == [{"seed": 2, "checkpoint": "sft-8", "n": 5}]


def test_a_table_of_a_comparison_names_its_checkpoints_itself(tmp_path):
    paths = [
        write(tmp_path / "seed-1/drift/base-to-sft-8/drift.parquet", before=["base"]),
        write(tmp_path / "seed-1/recovery/last-with-anchor/values-top0.5/a.parquet", kind=["x"]),
    ]
    assert list(join_tables(paths).columns) == ["seed", "before", "kind"]


@pytest.mark.parametrize("place", ["a.parquet", "seed-x/evaluation/base/a.parquet"])
def test_tables_elsewhere_are_refused(tmp_path, place):
    with pytest.raises(UserError, match="not a table below a folder seed"):
        join_tables([write(tmp_path / place, value=[1])])
