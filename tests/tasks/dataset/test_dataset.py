"""Your own problems as a task: tables, scorers, and everything that is refused."""

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.tasks import make_task
from svdrift.tasks.dataset.scorers import Unreadable, is_right
from svdrift.tasks.dealing import read_task
from tests.study.studies import study
from tests.tasks.test_tasks import deal

SPLITS = ("demonstrations", "practice", "id_selection", "id_test", "ood_selection", "ood_test")


def rows(split, count=4):
    start = 100 * SPLITS.index(split)
    return [
        {"prompt": f"What is {n} plus 1?", "answer": n + 1, "reply": f"{n} and 1 make {n + 1}"}
        for n in range(start, start + count)
    ]


def write(path, table):
    path.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    return str(path)


@pytest.fixture
def tables(tmp_path):
    return {split: write(tmp_path / f"{split}.jsonl", rows(split)) for split in SPLITS}


def settings(tables, **given):
    return read_task("dataset", {"scorer": "number", "tables": tables} | given)


def test_it_keeps_its_promises(tables):
    found = settings(tables)
    found.check_problems()
    dealt = deal(found)
    task = make_task(found.play(*dealt))
    assert list(task.validate(dealt)["problems"]) == [4] * (len(SPLITS) + 1)
    (problem, *_) = task.read(dealt["demonstrations"])
    assert task.first_turn(problem) == "What is 0 plus 1?"
    assert task.gold_reply(problem) == "0 and 1 make 1"
    assert "reply" not in dealt["practice"]  # or SFT would learn from other replies than gold
    verdict = task.verify(problem, "It is 2.")
    assert (verdict.solved, verdict.fault, verdict.reward) == (False, "wrong", -1.0)
    assert task.verify(problem, "no idea").fault == "unreadable"
    assert task.verify(problem, "so: 1").reward == 5.0
    assert found.summary.count(".jsonl") == len(SPLITS)
    fitted = dealt["demonstrated"]  # without a table of its own
    assert fitted["prompt"].tolist() == dealt["demonstrations"]["prompt"].tolist()
    assert not set(fitted["problem"]) & set(dealt["demonstrations"]["problem"])
    assert [split.role for split in found.splits][:2] == ["training", "training"]


def test_parquet_holds_the_same(tables, tmp_path):
    frame = pd.DataFrame(rows("id_test"))
    frame.loc[0, "reply"] = None
    frame.to_parquet(tmp_path / "id_test.parquet")
    found = settings(tables | {"id_test": str(tmp_path / "id_test.parquet")})
    found.check_problems()
    same, other = deal(found)["id_test"], deal(settings(tables))["id_test"]
    assert same["gold"].tolist() == ["301", *other["gold"][1:]]
    pd.testing.assert_frame_equal(same.drop(columns="gold"), other.drop(columns="gold"))


@pytest.mark.parametrize(
    ("scorer", "pattern", "answer", "reply", "right"),
    [
        ("exact", None, "a b", " a\n b ", True),
        ("exact", None, "a b", "a b c", False),
        ("exact", None, "a b", "  ", None),
        ("number", None, "1000", "It makes 1,000.", True),
        ("number", None, "1000", "1e3", True),
        ("number", None, "0.1", "0.10 or so", True),
        ("number", None, "0.1", "0.1000000000000000055511151231257827", False),
        ("number", None, "-4", "−4", True),
        ("number", None, "-4", "10-4", False),
        ("number", None, "4", "10-4", True),
        ("number", None, "5", "first 5, then 6", False),
        ("number", None, ".5", "0.5", True),
        ("number", None, "5", "none", None),
        ("pattern", "Answer: (.*)", "yes", "Answer: no\nAnswer: yes", True),
        ("pattern", "Answer: (.*)", "yes", "yes", None),
        ("pattern", "Answer: (.*)", "yes", "Answer: yes and no", False),
        ("number", None, "5", "5" * 70_000, None),
    ],
)
def test_what_is_right(scorer, pattern, answer, reply, right):
    if right is None:
        with pytest.raises(Unreadable):
            is_right(scorer, pattern, reply, {"answer": answer})
    else:
        assert is_right(scorer, pattern, reply, {"answer": answer}) == right


def test_any_text_gets_a_verdict(tables):
    task = make_task(settings(tables).play("id_test"))
    (problem, *_) = task.read(deal(settings(tables))["id_test"])
    rng, alphabet = random.Random(0), "0123456789-+.,eE \n٣²a"
    for _ in range(5000):
        text = "".join(rng.choices(alphabet, k=rng.randrange(40)))
        assert task.verify(problem, text).fault in ("none", *task.faults)


OWN = '''
def same(reply, problem):
    """The row has all columns of the table."""
    return reply == problem["answer"] + problem["unit"]
'''


def test_a_function_of_your_own_gets_the_row(tables, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    with_units = [row | {"unit": " m", "reply": f"{row['answer']} m"} for row in rows("id_test")]
    own = {split: write(tmp_path / f"{split}.jsonl", with_units) for split in ["id_test"]}
    for split in SPLITS:
        given = [row | {"unit": " m", "reply": f"{row['answer']} m"} for row in rows(split)]
        own[split] = write(tmp_path / f"{split}.jsonl", given)
    found = settings(own, scorer=f"{tmp_path}/mine.py:same")
    found.check_problems()
    task = make_task(found.play("id_test"))
    (problem, *_) = task.read(deal(found)["id_test"])
    assert task.verify(problem, "301 m").solved
    assert not task.verify(problem, "301").solved
    before = found.play("id_test")
    (tmp_path / "mine.py").write_text(OWN + "\n# edited\n")
    assert settings(own, scorer=f"{tmp_path}/mine.py:same").play("id_test") != before


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def same(reply, problem):\n    return 1 / 0\n", "raised ZeroDivisionError"),
        ("def same(reply, problem):\n    return 0.5\n", "gave 0.5 (allowed: True or False)"),
        ("def same(reply, problem):\n    return True\n", "accepts an empty reply"),
        ("def same(reply, problem):\n    return False\n", "does not accept the reply"),
        ("x = 1\n", "defines no same"),
        ("def same(:\n", "not Python"),
    ],
)
def test_a_wrong_function_is_refused_before_any_job(tables, tmp_path, code, told):
    (tmp_path / "wrong.py").write_text(code)
    with pytest.raises(UserError) as caught:
        settings(tables, scorer=f"{tmp_path}/wrong.py:same").check_problems()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "id_test.jsonl: holds no problems"),
        ("{}", "row 1: has no prompt (it has nothing)"),
        ('{"prompt": "a", "anwser": 1}', "row 1: has no answer (it has prompt, anwser)"),
        ('{"prompt": "a", "answer": null}', "row 1: answer is"),
        ('{"prompt": "a", "answer": true}', "row 1: answer is"),
        ('{"prompt": " ", "answer": 1}', "row 1: prompt is empty"),
        ('{"prompt": "a", "answer": 1, "reply": 2}', "row 1: reply is 2 (allowed: text)"),
        ("[1]", "line 1: not an object with prompt, answer"),
        ("{", "line 1: not JSON"),
        ('{"prompt": "a", "answer": 1}\n{"prompt": "a", "answer": 2}', "has prompts twice: 'a'"),
        ('{"prompt": "What is 0 plus 1?", "answer": 1}', "shares problems with demonstrations"),
        ('{"prompt": "a", "answer": "one"}', "does not accept the reply"),
    ],
)
def test_a_wrong_table_is_refused_before_any_job(tables, text, told):
    Path(tables["id_test"]).write_text(text)
    with pytest.raises(UserError) as caught:
        settings(tables).check_problems()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"scorer": "exactly"}, "scorer: 'exactly' is unknown (allowed: exact, number, pattern"),
        ({"scorer": "pattern"}, "pattern: is what the scorer 'pattern' needs"),
        ({"pattern": "(a)"}, "pattern: is what the scorer 'pattern' needs"),
        ({"scorer": "pattern", "pattern": "a"}, "pattern: 'a' has 0 groups (allowed: one)"),
        ({"scorer": "pattern", "pattern": "("}, "is no regular expression"),
        ({"code": "x"}, "code: is set by itself"),
    ],
)
def test_wrong_settings_are_refused(tables, given, told):
    with pytest.raises(UserError) as caught:
        settings(tables, **given)
    assert told in str(caught.value)


def test_missing_and_unknown_splits_are_refused(tables):
    with pytest.raises(UserError, match="tables: has no ood_test"):
        settings({split: path for split, path in tables.items() if split != "ood_test"})
    with pytest.raises(UserError, match="tables: 'exam' is no split"):
        settings(tables | {"exam": tables["id_test"]})
    missing = settings(tables | {"id_test": "nowhere.jsonl"})
    with pytest.raises(UserError, match=r"nowhere.jsonl: no such file"):
        missing.check_problems()


def test_there_is_nothing_to_pretrain_on(tables):
    with pytest.raises(UserError) as caught:
        study({"task": {"name": "dataset", "tables": tables, "scorer": "number"}})
    assert "stages.base.method: pretraining learns the skills of the task" in str(caught.value)
