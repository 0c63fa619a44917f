import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.tasks import load_settings, make_task, task_class
from svdrift.tasks.base import TaskSettings, demonstrations

ROOT = Path(__file__).parents[2]


def deal(settings: TaskSettings, seed: int = 0) -> dict[str, pd.DataFrame]:
    tables: dict[str, pd.DataFrame] = {}
    for split in settings.splits:
        training = {name: tables[name] for name in split.after}
        tables[split.name] = task_class(settings.name).make_split(
            split.name, settings.deal(split.name), settings.count(split.name), seed, training
        )
    return tables


@pytest.fixture
def toy(tmp_path: Path) -> TaskSettings:
    """A task in a user's own file, outside the repository."""
    own = shutil.copy(Path(__file__).parent / "toy_task.py", tmp_path / "own_task.py")
    settings: TaskSettings = load_settings(str(own)).Settings(name=str(own))
    return settings


def test_own_task_keeps_its_promises(toy: TaskSettings) -> None:
    tables = deal(toy)
    task = make_task(toy.play(*tables))
    assert list(task.validate(tables)["problems"]) == [toy.count(split) for split in tables]
    ids = pd.concat(tables.values())["problem"]
    assert ids.is_unique
    assert {(split.role, split.shift) for split in toy.splits} == {
        ("training", "id"),
        ("fit", "id"),
        ("selection", "id"),
        ("selection", "ood"),
        ("test", "id"),
        ("test", "ood"),
    }
    moved = tables | {"small_exam": tables["lessons"]}
    with pytest.raises(RuntimeError, match="small_exam: shares sums"):
        task.validate(moved)


def test_words_of_own_task_cover_all_turns(toy: TaskSettings) -> None:
    tables = deal(toy)
    task = make_task(toy.play(*tables))
    assert len(set(task.words)) == len(task.words)
    assert all(word.split() == [word] for word in task.words)
    turns = [turn for example in task.pretraining_examples(toy.skills, 200, 0) for turn in example]
    for table in tables.values():
        turns += [turn for pair in demonstrations(task, table) for turn in pair]
    problem = task.read(tables["lessons"])[0]
    for reply in ("", "1 2", "47", task.gold_reply(problem)):
        verdict = task.verify(problem, reply)
        assert verdict.fault in (*task.faults, "none")
        turns.append(verdict.feedback)
    assert {word for turn in turns for word in turn.split()} <= set(task.words)


def test_replies_in_a_table_are_preferred_to_gold(toy: TaskSettings) -> None:
    table = deal(toy)["lessons"].head(2)
    task = make_task(toy.play("lessons"))
    gold = demonstrations(task, table)
    assert [reply for _, reply in gold] == list((table["a"] + table["b"]).astype(str))
    given = demonstrations(task, table.assign(reply=["x", "y"]))
    assert given == [(gold[0][0], "x"), (gold[1][0], "y")]
    for null in (None, float("nan"), pd.NA):  # as in a mixture
        given = demonstrations(task, table.assign(reply=["x", null]))
        assert given == [(gold[0][0], "x"), gold[1]]


def test_nothing_varies_by_default(toy: TaskSettings) -> None:
    assert toy.vary() == toy
    with pytest.raises(UserError, match="'rule' cannot vary"):
        toy.vary(rule="odd")


def test_unknown_tasks_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'chess' is unknown \(allowed: .*general_points"):
        load_settings("chess")
    with pytest.raises(UserError, match="no such file"):
        task_class(str(tmp_path / "nothing.py"))


@pytest.mark.parametrize("name", ["general_points", "tests/tasks/toy_task.py"])
def test_settings_load_no_heavy_library(name: str) -> None:
    code = (
        f"import sys; from svdrift.tasks import load_settings; load_settings({name!r})\n"
        "print(sorted({'numpy', 'pandas', 'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def script(name: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / name, *arguments]
    return subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_scripts_deal_and_check_a_users_own_task(toy: TaskSettings, tmp_path: Path) -> None:
    tables = deal(toy, seed=3)
    paths = {name: tmp_path / f"{name}.parquet" for name in tables}
    for split in toy.splits:
        done = script(
            "make_problems.py",
            *("--settings", toy.deal(split.name).model_dump_json(), "--split", split.name),
            *("--count", toy.count(split.name), "--seed", 3, "--out", paths[split.name]),
            *("--training", *(paths[name] for name in split.after)),
        )
        assert done.returncode == 0, done.stderr
        pd.testing.assert_frame_equal(pd.read_parquet(paths[split.name]), tables[split.name])
        record = json.loads((tmp_path / f"{split.name}.provenance.json").read_text())
        assert record["seed"] == 3
        assert set(record["inputs"]) == set(split.after)

    play = toy.play(*tables).model_dump_json()
    summary = tmp_path / "summary.csv"
    done = script(
        "check_problems.py", "--settings", play, "--problems", *paths.values(), "--out", summary
    )
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(summary)["split"]) == set(tables)

    reference = tmp_path / "reference.parquet"
    done = script("summarise_task.py", "--skills", toy.skills.model_dump_json(), "--out", reference)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_parquet(reference)) == 47


def test_scripts_name_wrong_settings(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    for given, message in (
        ('{"rules": {"a": [1]}}', "rules.a"),
        ('{"name": "chess"}', "'chess' is unknown"),
        ("[", "not a JSON object"),
    ):
        done = script(
            "check_problems.py", "--settings", given, "--problems", "x.parquet", "--out", out
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
