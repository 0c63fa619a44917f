import pytest

from svdrift.checkpoints import Checkpoint
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
