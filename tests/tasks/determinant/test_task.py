"""Determinants as a task: splits, prompts, verdicts, and what is refused."""

import random

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.tasks import make_task, task_class
from svdrift.tasks.dealing import read_task
from svdrift.tasks.determinant.dealing import chance_table, key, parse, vary_table
from svdrift.tasks.determinant.matrices import Matrix
from svdrift.tasks.determinant.pretraining import Mixture
from svdrift.tasks.determinant.settings import Form
from tests.tasks.test_tasks import deal

SMALL = {
    "demonstrations": 100,
    "practice": 300,
    "selection": 60,
    "test": 80,
    "demonstrated_test": 40,
}
HERE = Matrix(((2, -1), (3, 4)), "determinant")  # 8 - (-3) = 11; its permanent is 5


@pytest.fixture(scope="module")
def settings():
    return read_task("determinant", {"matrices": SMALL})


@pytest.fixture(scope="module")
def tables(settings):
    return deal(settings)


def task(style="compact"):
    given = {"max_reply_tokens": 100} if style == "paper" else {}
    return make_task(read_task("determinant", {"prompt_style": style} | given).play("id_test"))


def test_it_keeps_its_promises(settings, tables):
    summary = task().validate(tables).set_index("split")
    assert list(summary["problems"]) == [settings.count(split.name) for split in settings.splits]
    assert pd.concat(tables.values())["problem"].is_unique
    assert summary.loc["ood_test", "rule"] == "permanent"
    assert summary.loc["ood_test_size", "size"] == 3
    assert set(tables["demonstrations"]["group"]) <= set(tables["practice"]["group"]) | {
        key(parse(text)) for text in tables["demonstrations"]["matrix"]
    }
    assert (
        deal(settings, seed=1)["id_test"]["matrix"].tolist() != tables["id_test"]["matrix"].tolist()
    )


@pytest.mark.parametrize(
    ("split", "other", "told"),
    [
        ("id_test", "practice", "id_test: has groups that are trained on"),
        ("ood_test", "ood_selection", "ood_test: has groups of the selection sets"),
    ],
)
def test_a_broken_promise_is_named(tables, split, other, told):
    with pytest.raises(RuntimeError, match=told):
        task().validate(tables | {split: tables[other]})


def test_a_test_of_the_other_rule_has_matrices_on_which_rules_differ(tables):
    for matrix in task().read(tables["ood_test"]):
        assert matrix.value != Matrix(matrix.rows, "determinant").value


def test_words_cover_all_turns(settings, tables):
    posed = task()
    words = set(posed.words)
    assert len(words) == len(posed.words)
    turns = [turn for one in posed.pretraining_examples(settings.skills, 300, 0) for turn in one]
    for table in tables.values():
        for matrix in posed.read(table):
            turns += [posed.first_turn(matrix), posed.gold_reply(matrix)]
    turns += [posed.verify(HERE, reply).feedback for reply in ("", ": 5", ": 1", ": - 1 1", ": x")]
    assert {word for turn in turns for word in turn.split()} <= words
    longest = max(len(posed.gold_reply(one).split()) for one in posed.read(tables["ood_test_size"]))
    assert longest < settings.max_reply_tokens


def test_pretraining_never_poses_the_task(settings):
    examples = task().pretraining_examples(settings.skills, 500, 3)
    assert {one[0].split()[-1] for one in examples} == {"multiply", "add"}
    assert examples == task().pretraining_examples(settings.skills, 500, 3)
    assert all(":" not in reply for prompt, reply in examples if prompt.endswith("multiply"))


def test_four_of_five_matrices_of_pretraining_have_the_trained_form():
    mixture = Mixture([(3, -5, 5), (2, -4, 4), (2, 1, 4)], seed=0)
    shown = [
        parse(one[0].split("rows ")[1].removesuffix(" multiply")) for one in multiplied(mixture)
    ]
    assert sum(len(rows) == 3 for rows in shown) / len(shown) == pytest.approx(0.8, abs=0.03)
    assert min(entry for rows in shown for row in rows for entry in row) == -5
    only = Mixture([(2, 0, 3)], seed=0)
    assert all(prompt.count(";") == 1 for prompt, _ in multiplied(only))


def multiplied(mixture):
    """Those of 4,000 examples that multiply."""
    examples = [mixture.example() for _ in range(4000)]
    return [one for one in examples if one[0].endswith("multiply")]


def test_turns_by_hand():
    assert task().first_turn(HERE) == "minus rows 2 -1 ; 3 4 answer"
    assert task().gold_reply(HERE) == "8 , - 3 : 1 1"
    assert task().gold_reply(Matrix(HERE.rows, "permanent")) == "8 , - 3 : 5"
    assert "determinant" in task("paper").first_turn(HERE)
    assert '"answer": 11' in task("paper").gold_reply(HERE)


@pytest.mark.parametrize(
    ("reply", "fault", "translated"),
    [
        ("8 , - 3 : 1 1", "none", True),
        ("8 , 3 : 1 1", "none", False),
        (": 1 1", "none", False),
        ("8 , - 3 : 5", "other_rule", True),
        ("8 , - 3 : - 1 1", "wrong_sign", True),
        ("8 , - 3 : 1 2", "wrong_value", True),
        ("8 , - 3 : 1 1 . 5", "not_integer", True),
        ("8 , - 3 :", "unreadable", True),
        ("8 , - 3", "unreadable", True),
        ("1 1", "unreadable", False),
        ("", "unreadable", False),
        ("8 , - 3 : 1 1 : 5", "other_rule", False),
        ("8 , − 3 : 1 1", "none", True),
        ("8 , - 3 : " + "9 " * 3000, "unreadable", False),
    ],
)
def test_compact_verdicts(reply, fault, translated):
    verdict = task().verify(HERE, reply)
    assert (verdict.fault, verdict.translated) == (fault, translated)
    assert verdict.solved == (fault == "none")
    assert verdict.reward == (5.0 if verdict.solved else -1.0)
    assert verdict.feedback == ("" if verdict.solved else f"{fault} answer")


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ('{"matrix": [[2, -1], [3, 4]], "answer": 11}', "none"),
        ('{"answer": "11"}', "none"),
        ("{answer: 11,}", "none"),
        ('The 2x2 matrix has "answer": 11', "none"),
        ('{"answer": 5}', "other_rule"),
        ('{"answer": 5} no: {"answer": 11}', "none"),
        ('{"answer": 11} no: {"answer": 5}', "other_rule"),
        ('{"answer": 11.9}', "not_integer"),
        ('{"answer": 1e1}', "not_integer"),
        ('{"answer": −11}', "wrong_sign"),
        ('{"answer": 11 12}', "unreadable"),
        ('{"answer": eleven}', "unreadable"),
        ("The 2x2 matrix has determinant 11", "unreadable"),
        ('{"answer": 99999999999999999999}', "wrong_value"),
        ('{"answer": ' + "9" * 4000 + "}", "wrong_value"),
        ('{"answer": ' + "9" * 5000 + "}", "unreadable"),
    ],
)
def test_paper_verdicts(reply, fault):
    assert task("paper").verify(HERE, reply).fault == fault


def test_the_echoed_matrix_is_what_is_translated():
    for reply, translated in (
        ('{"matrix": [[2, -1], [3, 4]], "answer": 0}', True),
        ('{"matrix": [[2, 1], [3, 4]], "answer": 11}', False),
        ('{"matrix": [2, -1, 3, 4], "answer": 11}', False),
    ):
        assert task("paper").verify(HERE, reply).translated == translated


def test_any_text_gets_a_verdict():
    rng, alphabet = random.Random(0), '0123456789-+:,;[]{}". answermatrix\n−²٣'
    for style in ("compact", "paper"):
        posed = task(style)
        for _ in range(3000):
            text = "".join(rng.choices(alphabet, k=rng.randrange(60)))
            verdict = posed.verify(HERE, text)
            assert verdict.fault in ("none", *posed.faults)


def test_constant_answers_score_what_is_known():
    """Published: of 2 x 2 with entries -4..4, 6,016 are not singular, with 52 values."""
    table = chance_table([Form()])
    assert len(table) == 52
    assert table["share"].sum() == pytest.approx(1)
    assert table["share"].iloc[0] * 6016 == pytest.approx(round(table["share"].iloc[0] * 6016))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("low", "high"), [(-5, 6), (-3, 4)])
def test_a_shift_of_the_range_keeps_the_promises(low, high, first):
    """Its matrices overlap with the trained ones; each group is in one part all the same."""
    shifts = {"rule": {"rule": "permanent"}, "range": {"low": low, "high": high}}
    if first:
        shifts = dict(reversed(shifts.items()))
    settings = read_task("determinant", {"matrices": SMALL, "shifts": shifts})
    summary = task().validate(deal(settings)).set_index("split")
    assert summary.loc["ood_test" if first else "ood_test_range", "problems"] == SMALL["test"]


def test_a_rule_can_vary(settings, tables):
    varied = vary_table(tables["practice"], settings.vary(rule="permanent").deal("practice"))
    assert set(varied["rule"]) == {"permanent"}
    assert set(varied["problem"]) <= set(tables["practice"]["problem"])
    for matrix, value in zip(task().read(varied), varied["value"], strict=True):
        assert matrix.value == value != 0
    with pytest.raises(UserError, match="'size' cannot vary"):
        settings.vary(size=3)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"shifts": {"same": {}}}, "shifts.same: is what is trained"),
        ({"shifts": {"a b": {"size": 3}}}, "'a b' cannot name a split"),
        ({"trained": {"low": 0, "high": 2}}, "high: 2 must be at least 3 above low"),
        ({"trained": {"size": 4}}, "trained.size"),
        ({"trained": {"size": 3}}, "trained: there are 387,420,489 such matrices"),
        ({"prompt_style": "paper"}, "max_reply_tokens: 40 cuts off every reply"),
        ({"matrices": {"selection_share": 0.49, "test_share": 0.6}}, "matrices.test_share"),
    ],
)
def test_wrong_settings_are_refused(given, told):
    with pytest.raises(UserError) as caught:
        read_task("determinant", given)
    assert told in str(caught.value)


def test_more_matrices_than_there_are_are_refused_before_any_job():
    settings = read_task("determinant", {"matrices": {"test": 1200}})
    with pytest.raises(UserError, match="ood_test asks for 1200 matrices and there are"):
        settings.check_supply([0])


def test_the_task_of_its_name_is_found():
    assert task_class("determinant").faults[0] == "other_rule"
