"""Training ends where numbers stop being finite: with the step, the cause and the last snapshot."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback

from svdrift.errors import UserError
from svdrift.models.loading import save_checkpoint
from svdrift.training import finite
from svdrift.training.ppo.settings import Settings as PPOSettings
from svdrift.training.pretrain.settings import Settings as PretrainSettings
from svdrift.training.pretrain.train import pretrain
from tests.training import test_grpo, test_ppo, test_sft

HUGE = 1e30


def refusal(train, *arguments, **keywords) -> str:
    with pytest.raises(UserError) as caught:
        train(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    assert "lower learning_rate" in message
    return message


def finite_files(work: Path) -> list[str]:
    """Checkpoints and snapshots below a folder, all of which must be finite."""
    files = sorted(work.rglob("*.safetensors"))
    for file in files:
        for name, tensor in load_file(file).items():
            assert torch.isfinite(tensor).all(), f"{file}: {name}"
    return [file.parent.name for file in files]


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


class Spoil(TrainerCallback):
    """Make one weight NaN, or the gradient, in a step of a trainer."""

    def __init__(self, step: int, gradient: bool) -> None:
        self.step, self.gradient = step, gradient

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if state.global_step + 1 == self.step:
            weight = model.get_parameter("model.layers.0.mlp.up_proj.weight")
            place = weight.grad if self.gradient else weight.data
            place[1, 2] = torch.nan


# --------------------------------------------------------------------------------------
# Whole runs


def test_sft_that_diverges_saves_nothing_spoilt(tmp_path, cpu):
    huge = test_sft.SETTINGS.model_copy(update={"learning_rate": HUGE})
    message = refusal(test_sft.train, tmp_path, huge)
    assert re.match(r"SFT: step [12] of 6: ", message)
    assert "no snapshot was kept" in message
    assert set(finite_files(tmp_path)) <= {"step-1"}


@pytest.mark.parametrize(
    ("gradient", "cause"),
    [
        (True, "the gradient of model.layers.0.mlp.up_proj.weight is not finite"),
        (False, "the step makes model.layers.0.mlp.up_proj.weight NaN or infinite"),
    ],
)
def test_sft_names_the_step_the_cause_and_the_last_good_snapshot(
    tmp_path, cpu, monkeypatch, gradient, cause
):
    from svdrift.training.sft import train as room

    class Spoilt(room.ShowProgress):
        spoil = Spoil(5, gradient)

        def on_pre_optimizer_step(self, *arguments, **keywords):
            self.spoil.on_pre_optimizer_step(*arguments, **keywords)

    monkeypatch.setattr(room, "ShowProgress", Spoilt)
    message = refusal(test_sft.train, tmp_path)
    assert message.startswith(f"SFT: step 5 of 6: {cause}; ")
    assert f"last good snapshot: {tmp_path}/checkpoint-4)" in message
    assert {"step-2", "step-4"} <= set(finite_files(tmp_path))
    assert not list(tmp_path.glob("*-6"))


def test_ppo_that_diverges_saves_nothing_spoilt(tmp_path, monkeypatch):
    test_ppo.make_start(tmp_path / "start")
    monkeypatch.setattr(
        test_ppo, "Settings", lambda **given: PPOSettings(**given).model_copy(
            update={"learning_rate": HUGE, "final_learning_rate": HUGE}
        )
    )  # fmt: skip
    message = refusal(test_ppo.train, tmp_path / "start", tmp_path / "work", test_ppo.FEW)
    assert re.match(r"PPO: update [12] of 4: ((policy|value)_loss|grad_norm) is |", message)
    assert "no snapshot was kept" in message
    finite_files(tmp_path)


def test_ppo_names_the_last_good_snapshot(tmp_path, monkeypatch):
    from svdrift.training.ppo import train as room

    test_ppo.make_start(tmp_path / "start")
    monkeypatch.setattr(room, "SNAPSHOT_INTERVAL_S", 0.0)  # one at every update
    monkeypatch.setattr(room, "SNAPSHOT_SHARE", float("inf"))
    whole, updates = room.ppo_math.gae, []

    def spoilt(rewards, values, *others):
        updates.append(len(updates))
        return whole(rewards, values * (torch.nan if len(updates) == 3 else 1), *others)

    monkeypatch.setattr(room.ppo_math, "gae", spoilt)
    message = refusal(test_ppo.train, tmp_path / "start", tmp_path / "work", test_ppo.FEW)
    assert message.startswith("PPO: update 3 of 4: policy_loss is nan; ")
    assert f"last good snapshot: {tmp_path / 'work' / 'snapshot-2'})" in message
    assert set(finite_files(tmp_path / "work")) == {"step-2", "snapshot-2"}


def test_grpo_counts_updates(tmp_path, cpu, monkeypatch):
    from svdrift.training.grpo import train as room

    each = room.Settings(**test_grpo.FEW).steps_per_update

    class Spoilt(room.ShowProgress):
        spoil = Spoil(2 * each + 2, True)

        def on_pre_optimizer_step(self, *arguments, **keywords):
            self.spoil.on_pre_optimizer_step(*arguments, **keywords)

    monkeypatch.setattr(room, "ShowProgress", Spoilt)
    test_ppo.make_start(tmp_path / "start")
    message = refusal(test_grpo.train, tmp_path / "start", tmp_path / "work")
    assert message.startswith("GRPO: update 3 of 4: the gradient of model.layers.0.mlp")
    assert f"last good snapshot: {tmp_path / 'work' / f'checkpoint-{2 * each}'})" in message
    assert "step-2" in finite_files(tmp_path / "work")


def test_a_spoilt_start_is_refused(tmp_path):
    test_ppo.make_start(tmp_path / "start")
    weights = load_file(tmp_path / "start/model.safetensors")
    weights["model.norm.weight"][3] = torch.inf
    save_file(weights, tmp_path / "start/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"start: model.norm.weight holds NaN or infinite entries"):
        test_ppo.train(tmp_path / "start", tmp_path / "work", test_ppo.FEW)


def test_pretraining_that_diverges_ends(tmp_path):
    model, tokenizer = test_sft.pico()
    settings = PretrainSettings(steps=20, batch_size=8, warmup_steps=1).model_copy(
        update={"learning_rate": HUGE}
    )
    message = refusal(
        pretrain, model, tokenizer, test_sft.PAIRS * 3, settings, lambda steps, *_: steps
    )
    assert re.match(
        r"pretraining: step [12] of 20: the (loss|gradient of .*) is (not finite|nan|inf); ",
        message,
    )


# --------------------------------------------------------------------------------------
# What is looked at


def test_no_spoilt_checkpoint_is_saved(tmp_path):
    model, tokenizer = test_sft.pico()
    save_checkpoint(model, tokenizer, tmp_path / "model")
    spoilt = copy.deepcopy(model)
    spoilt.get_parameter("lm_head.weight").data[0, 0] = -torch.inf
    with pytest.raises(UserError, match=r"model: lm_head.weight holds NaN or infinite entries"):
        save_checkpoint(spoilt, tokenizer, tmp_path / "model")
    finite_files(tmp_path)
    large = copy.deepcopy(model)
    large.get_parameter("lm_head.weight").data[0, 0] = 3.4e38  # which bfloat16 rounds to infinity
    with pytest.raises(UserError, match=r"0 NaN and 1 infinite of 240"):
        save_checkpoint(large, tokenizer, tmp_path / "model", torch.bfloat16)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_spoils_is_told_apart():
    good, bad = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    named = [("good", good), ("bad", bad)]
    assert finite.spoilt(named) is None
    bad.grad = torch.tensor([1.0, torch.nan, 1.0])
    assert finite.spoilt(named) is None  # no step was made with it
    bad.data[1] = torch.nan
    assert finite.spoilt(named) == "the gradient of bad is not finite"
    bad.grad = torch.ones(3)
    assert finite.spoilt(named) == "the step makes bad NaN or infinite"
