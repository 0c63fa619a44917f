"""SFT with a model of a few weights.

Run as a program, this file trains once: the tests with several processes start it under
`accelerate launch`.
"""

import os
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerCallback

from svdrift.errors import UserError
from svdrift.live import FILE, OFF, LiveMetrics, last_row
from svdrift.models.loading import load_model
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.training import sharding
from svdrift.training.method import LoRASettings
from svdrift.training.processes import leave
from svdrift.training.sft.settings import Settings
from svdrift.training.sft.train import train_sft

WORDS = [str(number) for number in range(10)]
PAIRS = [(f"{i % 10} {i * 3 % 10}", f"{i % 10}") for i in range(64)]
KEEP = (2, 4, 6)
SETTINGS = Settings(
    steps=6,
    batch_size=8,
    micro_batch_size=8,
    learning_rate=1e-2,
    warmup_steps=0,
)


class Killed(Exception):
    """Stands in for a job that is cut off."""


def pico(tied=False):
    torch.manual_seed(0)
    tokenizer = make_tokenizer(WORDS)
    architecture = ArchitectureSettings(hidden_size=16, layers=1, heads=2, intermediate_size=16)
    model = make_model(len(tokenizer), architecture)
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    return model, tokenizer


def train(work, settings=SETTINGS, processes=1, tied=False, keep=KEEP, live=OFF):
    model, tokenizer = pico(tied)
    if sharding.wanted():
        sharding.shard(model)
    losses = train_sft(
        model,
        tokenizer,
        PAIRS,
        settings,
        keep=keep,
        processes=processes,
        seed=3,
        work=work,
        progress=lambda steps, total, description: steps,
        live=live,
    )
    return model, losses


def die_in_step_6(self, args, state, control, **kwargs):
    if state.global_step == 5:
        raise Killed


def be_told_to_end_in_step_3(self, args, state, control, **kwargs):
    """As Slurm does; the last process alone, which must be enough."""
    if state.global_step == 2 and args.process_index == args.world_size - 1:
        os.kill(os.getpid(), signal.SIGTERM)


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    work = tmp_path_factory.mktemp("sft")
    return work, *train(work, live=LiveMetrics(work))


def test_checkpoints_are_kept_at_the_listed_steps(run):
    work, model, _ = run
    assert {folder.name for folder in work.glob("step-*")} == {"step-2", "step-4", "step-6"}
    last = weights(work / "step-6")
    assert all(torch.equal(last[name], value) for name, value in model.state_dict().items())
    inner = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(weights(work / "step-2")[inner], last[inner])


def test_the_loss_is_logged_along_the_way(run):
    _, _, losses = run
    assert list(losses["step"]) == [4]
    shown = pd.read_csv(run[0] / FILE)
    assert list(shown) == ["step", "train_loss", "grad_norm", "learning_rate"]
    assert list(shown["step"]) == [1, 2, 3, 4, 5, 6]
    assert shown["train_loss"][:4].mean() == pytest.approx(losses["train_loss"].item())
    assert 0 < losses["train_loss"].item() < 2.7  # log of 15 tokens


@pytest.mark.parametrize(("kept", "schedule"), [((11,), "cosine"), ((3, 11), "constant")])
def test_which_checkpoints_are_kept_changes_none_of_them(tmp_path, kept, schedule):
    """Over more than one epoch, and although a run ends at the last of them."""
    long = SETTINGS.model_copy(update={"steps": 14, "warmup_steps": 3, "schedule": schedule})
    train(tmp_path / "every", long, keep=(2, 3, 5, 8, 11, 13, 14))
    train(tmp_path / "few", long, keep=kept)
    for step in kept:
        a, b = (tmp_path / run / f"step-{step}" / "model.safetensors" for run in ("every", "few"))
        assert a.read_bytes() == b.read_bytes()
    assert not list((tmp_path / "few").glob("*14"))


def test_embeddings_stay_fixed_when_asked_and_only_then(run, tmp_path):
    start = pico()[0].state_dict()
    frozen = weights(run[0] / "step-6")
    moved, _ = train(tmp_path, SETTINGS.model_copy(update={"freeze_embeddings": False}))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(frozen[name], start[name])
        assert not torch.equal(moved.state_dict()[name], start[name])
    inner = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(frozen[inner], start[inner])


def test_a_cut_off_run_goes_on_and_ends_the_same(run, tmp_path, monkeypatch):
    whole, _, losses = run

    monkeypatch.setattr(TrainerCallback, "on_step_begin", die_in_step_6)
    with pytest.raises(Killed):
        train(tmp_path, live=LiveMetrics(tmp_path))
    monkeypatch.undo()
    assert last_row(tmp_path / FILE)["step"] == "5"  # one more than the snapshot
    _, resumed = train(tmp_path, live=LiveMetrics(tmp_path))
    assert (tmp_path / FILE).read_text() == (whole / FILE).read_text()
    for step in (2, 4, 6):
        a, b = weights(whole / f"step-{step}"), weights(tmp_path / f"step-{step}")
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert resumed.equals(losses)


def test_a_run_that_is_told_to_end_leaves_a_snapshot(run, tmp_path, monkeypatch, capsys):
    whole, _, losses = run
    monkeypatch.setattr(TrainerCallback, "on_step_begin", be_told_to_end_in_step_3)
    with pytest.raises(UserError, match="stopped by SIGTERM after step 3 of 6: the same command"):
        train(tmp_path)
    monkeypatch.undo()
    (tmp_path / "checkpoint-5").mkdir()  # one that was cut off while it was written
    _, resumed = train(tmp_path)
    assert f"goes on from the snapshot {tmp_path}/checkpoint-3" in capsys.readouterr().out
    a, b = weights(whole / "step-6"), weights(tmp_path / "step-6")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert resumed.equals(losses)


# As one process that computes in larger parts and recomputes nothing.
PARTS = {"micro_batch_size": 2, "gradient_checkpointing": True}


def assert_same(work, whole, losses):
    """Same folders, tensor names and types; same numbers up to the order of sums."""
    logged = [float(line) for line in (work / "losses.txt").read_text().split()]
    assert logged == pytest.approx(losses["train_loss"].to_list(), rel=1e-5)
    for step in (2, 4, 6):
        ours, theirs = (folder / f"step-{step}" for folder in (work, whole))
        for name in ("config.json", "generation_config.json", "tokenizer.json"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        load_model(ours)  # strictly
        found, wanted = (load_file(folder / "model.safetensors") for folder in (ours, theirs))
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def test_two_processes_give_the_curve_of_one_though_told_to_end(run, tmp_path, accelerate):
    whole, _, losses = run
    done = accelerate("cpus", __file__, tmp_path, "frozen", "be_told_to_end_in_step_3")
    assert "stopped by SIGTERM after step 3 of 6" in done.stderr
    assert not (tmp_path / "step-4").exists()
    done = accelerate("cpus", __file__, tmp_path, "frozen")
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, whole, losses)


@pytest.mark.parametrize("kind", [pytest.param("frozen", marks=pytest.mark.long), "tied"])
def test_sharded_training_gives_the_curve_of_one_process_though_cut_off(tmp_path, accelerate, kind):
    _, losses = train(tmp_path / "whole", **KINDS[kind])
    work = tmp_path / "sharded"
    work.mkdir()
    done = accelerate("cpus-fsdp2", __file__, work, kind, "die_in_step_6")
    assert "Killed" in done.stderr
    assert (work / "checkpoint-4").is_dir()
    assert not (work / "step-6").exists()
    done = accelerate("cpus-fsdp2", __file__, work, kind)
    assert done.returncode == 0, done.stderr
    assert_same(work, tmp_path / "whole", losses)


KINDS = {
    "frozen": {"settings": SETTINGS, "tied": False},
    "tied": {"settings": SETTINGS.model_copy(update={"freeze_embeddings": False}), "tied": True},
    "lora": {"settings": SETTINGS.model_copy(update={"lora": LoRASettings(rank=2)}), "tied": False},
}


def main(work, kind, *then):
    """What a process does in the tests above."""
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    if then:
        TrainerCallback.on_step_begin = globals()[then[0]]
    settings = KINDS[kind]["settings"].model_copy(update=PARTS)
    _, losses = train(work, settings, processes=2, tied=KINDS[kind]["tied"])
    if state.is_main_process:
        (work / "losses.txt").write_text("\n".join(map(str, losses["train_loss"])))
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
