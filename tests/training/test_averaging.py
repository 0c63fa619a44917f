"""Weights averaged over the steps of SFT, against the mean of checkpoints of every step."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from svdrift.errors import UserError
from svdrift.training.averaging import FILE, AverageWeights
from svdrift.training.sft.settings import Settings
from tests.training.test_sft import SETTINGS, Killed, die_in_step_6, pico, train

AVERAGED = Settings.model_validate(SETTINGS.model_dump() | {"average_weights": True})


def file(work, step):
    return work / f"step-{step}" / "model.safetensors"


def test_it_is_the_mean_of_the_weights_after_each_step(tmp_path):
    _, plain = train(tmp_path / "plain", keep=(1, 2, 3, 4, 5, 6))
    _, losses = train(tmp_path / "averaged", AVERAGED)
    assert losses.equals(plain)  # training itself is the same
    passed = [load_file(file(tmp_path / "plain", step)) for step in range(1, 7)]
    for kept in (2, 4, 6):
        found = load_file(file(tmp_path / "averaged", kept))
        for name, tensor in found.items():
            mean = torch.stack([one[name].double() for one in passed[:kept]]).mean(0)
            torch.testing.assert_close(tensor.double(), mean, rtol=1e-6, atol=1e-7)
    inner = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(found[inner], passed[-1][inner])
    assert torch.equal(found["lm_head.weight"], passed[-1]["lm_head.weight"])  # not trained


@pytest.mark.parametrize("lost", [False, True], ids=["whole snapshot", "cut off before the mean"])
def test_a_cut_off_run_ends_with_the_same_bytes(tmp_path, monkeypatch, capsys, lost):
    train(tmp_path / "whole", AVERAGED)
    monkeypatch.setattr(TrainerCallback, "on_step_begin", die_in_step_6)
    with pytest.raises(Killed):
        train(tmp_path / "cut", AVERAGED)
    monkeypatch.undo()
    mean = tmp_path / "cut" / "checkpoint-4" / FILE
    assert mean.exists()
    if lost:
        mean.unlink()
    train(tmp_path / "cut", AVERAGED)
    assert f"snapshot {tmp_path}/cut/checkpoint-{2 if lost else 4}" in capsys.readouterr().out
    for step in (2, 4, 6):
        assert file(tmp_path / "cut", step).read_bytes() == (
            file(tmp_path / "whole", step).read_bytes()
        )


@pytest.mark.parametrize(
    ("other", "value"), [("lora", {"rank": 2}), ("early_stopping", {"patience": 1})]
)
def test_what_knows_the_last_weights_alone_is_refused(other, value):
    with pytest.raises(ValueError, match=f"average_weights: not with {other}"):
        Settings.model_validate({"average_weights": True, other: value})


def test_it_takes_one_whole_process(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"average_weights: averages in one process, not 2"):
        AVERAGED.check_processes(2)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="average_weights: not of models that are sharded"):
        AverageWeights(pico()[0], tmp_path)
