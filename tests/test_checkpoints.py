import pytest

from svdrift.checkpoints import Checkpoint, resolve
from svdrift.errors import UserError


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("base", Checkpoint("sft", 0)),
        ("sft-140", Checkpoint("sft", 140)),
        ("ppo-from-140", Checkpoint("ppo", 140)),
        ("ppo-from-140-update-20", Checkpoint("ppo", 140, 20)),
        ("demonstrated-ppo-from-8", Checkpoint("demonstrated-ppo", 8)),
    ],
)
def test_ids_are_read_and_written_alike(text, parsed):
    assert Checkpoint.parse(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize("text", ["", "sft", "sft-", "ppo-140", "sft-140-update-2", "Base"])
def test_other_texts_are_refused(text):
    with pytest.raises(UserError, match="not a checkpoint id"):
        Checkpoint.parse(text)


def test_the_anchor_is_read_where_it_was_chosen(tmp_path):
    choice = tmp_path / "anchor.json"
    choice.write_text('{"checkpoint": "sft-8", "accuracy": 0.3}')
    assert resolve("anchor", choice) == "sft-8"
    assert resolve("base", choice) == resolve("base", None) == "base"
    with pytest.raises(UserError, match="needs the file of the choice"):
        resolve("anchor", None)
    choice.write_text("sft-8")
    with pytest.raises(UserError, match="not a choice of an anchor"):
        resolve("anchor", choice)
