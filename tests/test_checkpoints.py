import pytest

from svdrift.checkpoints import Checkpoint, labels, resolve, run_name
from svdrift.errors import UserError

BASE = Checkpoint()
ON_THE_WAY = Checkpoint(way=(("sft", 64), ("ppo", 60)))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("base", BASE),
        ("sft-140", Checkpoint(way=(("sft", 140),))),
        ("sft-64.ppo-60", ON_THE_WAY),
        (
            "sft-8.second_round-2.ppo-1",
            Checkpoint(way=(("sft", 8), ("second_round", 2), ("ppo", 1))),
        ),
        ("other", Checkpoint("other")),
        ("other.sft-64", Checkpoint("other", (("sft", 64),))),
    ],
)
def test_ids_are_read_and_written_alike(text, parsed):
    assert Checkpoint.parse(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "sft-", "-4", "sft-x", "Base", "sft-64.", ".sft-64", "sft-64..ppo-2", "sft-64.ppo"),
        *("sft-064", "sft--4", "2-4", "base.sft-64", "other.", "sft 4", "sft-4/ppo-2", "a-b-4"),
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(UserError, match="not a checkpoint id"):
        Checkpoint.parse(text)


def test_an_id_says_which_stage_made_it_from_where():
    assert (ON_THE_WAY.stage, ON_THE_WAY.step) == ("ppo", 60)
    assert str(ON_THE_WAY.start) == "sft-64"
    assert ON_THE_WAY.start.start == BASE
    assert BASE.start is None
    assert (BASE.stage, BASE.step) == ("base", 0)
    assert Checkpoint("other").stage == "other"
    assert ON_THE_WAY.start.then("ppo", 60) == ON_THE_WAY
    assert str(BASE.then("sft", 4)) == "sft-4"
    assert str(Checkpoint("other").then("sft", 4)) == "other.sft-4"


def test_runs_are_named_by_the_stage_and_its_start():
    assert run_name(None, "base") == "base"
    assert run_name(BASE, "sft") == "sft"
    assert run_name(Checkpoint("other"), "sft") == "other.sft"
    named = {id: Checkpoint.parse(id).run for id in ("base", "sft-64", "sft-64.ppo-60", "other")}
    assert list(named.values()) == ["base", "sft", "sft-64.ppo", "other"]


def test_labels_are_the_columns_of_tables():
    assert labels("base") == {"checkpoint": "base", "stage": "base", "step": 0, "start": ""}
    assert labels("sft-64.ppo-60") == {
        "checkpoint": "sft-64.ppo-60",
        "stage": "ppo",
        "step": 60,
        "start": "sft-64",
    }
    assert labels("sft-64")["start"] == "base"


def test_the_anchor_is_read_where_it_was_chosen(tmp_path):
    choice = tmp_path / "anchor.json"
    choice.write_text('{"checkpoint": "sft-8", "accuracy": 0.3}')
    assert resolve("anchor", choice) == "sft-8"
    assert resolve("base", choice) == resolve("base", None) == "base"
    with pytest.raises(UserError, match="needs the file of the choice"):
        resolve("anchor", None)
    for damaged in ("sft-8", "[]", '{"accuracy": 0.3}'):
        choice.write_text(damaged)
        with pytest.raises(
            UserError, match=r"anchor\.json: .*; delete it and run the same command"
        ):
            resolve("anchor", choice)
