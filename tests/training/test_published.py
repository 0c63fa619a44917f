"""One step of SFT and one update of PPO of pico models of the published architectures.

Run as a program, this file trains once: the tests with several processes start it under
`accelerate launch`.
"""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.tiny import make_tokenizer
from svdrift.tasks import make_task
from svdrift.tasks.base import demonstrations
from svdrift.tasks.general_points.settings import PlaySettings
from svdrift.training import sharding
from svdrift.training.ppo import train as ppo
from svdrift.training.ppo.settings import Settings as PPOSettings
from svdrift.training.processes import leave
from svdrift.training.sft.settings import Settings as SFTSettings
from svdrift.training.sft.train import train_sft
from tests.published import LLAMA, QWEN, pico_model

GAME = make_task(PlaySettings())
PROBLEMS = pd.DataFrame({"cards": ["A 2 3 4", "6 6 6 6", "J 2 3 9", "J Q 2 2"]})
PROBLEMS = PROBLEMS.assign(rule="tens", target=24)
SFT = SFTSettings(
    steps=1,
    batch_size=4,
    micro_batch_size=2,
    learning_rate=1e-3,  # the published 1e-6 would hardly show in bfloat16
    warmup_steps=0,
    freeze_embeddings=False,
    gradient_checkpointing=True,
)
PPO = PPOSettings(
    preset="paper",
    tries=2,
    updates=1,
    episodes=4,
    minibatch_size=4,
    epochs=2,
    learning_rate=1e-3,
    gradient_checkpointing=True,
)


def everyone(steps, *_):
    return steps


def make_start(folder, name):
    tokenizer = make_tokenizer(GAME.words)
    save_checkpoint(pico_model(name, len(tokenizer), tokenizer.eos_token_id), tokenizer, folder)


def fine_tune(start, work, dtype, processes=1):
    model = load_model(start)
    if sharding.wanted():
        sharding.shard(model)
    return train_sft(
        model,
        load_tokenizer(start),
        demonstrations(GAME, PROBLEMS),
        SFT,
        keep=(1,),
        processes=processes,
        seed=0,
        work=work / "sft",
        progress=everyone,
        dtype=dtype,
    )


def practise(start, work, accelerator):
    run = ppo.train_ppo(
        start,
        GAME,
        PROBLEMS,
        PPO,
        keep=(1,),
        seed=0,
        max_new_tokens=6,
        accelerator=accelerator,
        work=work / "ppo",
        key="a run",
        progress=everyone,
    )
    if accelerator.is_main_process:
        save_checkpoint(run.policy, load_tokenizer(start), work / "ppo-end", torch.bfloat16)
    return run


@pytest.fixture(scope="module", autouse=True)
def on_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        yield


@pytest.fixture(scope="module", params=[QWEN, LLAMA], ids=["qwen2", "mllama"])
def trained(request, tmp_path_factory):
    """Name, start, and folder of what one process made of it."""
    work = tmp_path_factory.mktemp("published")
    make_start(work / "start", request.param)
    fine_tune(work / "start", work, torch.bfloat16)
    run = practise(work / "start", work, ppo.make_accelerator(torch.bfloat16))
    return request.param, work, run


def fixed(tensor):
    """Whether text passes it by: the vision tower, its projector, layers that attend to images."""
    return any(part in tensor for part in ("vision_model", "multi_modal", "layers.3."))


def read(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("end", ["sft/step-1", "ppo-end"])
def test_text_trains_its_path_and_nothing_else(trained, end):
    name, work, _ = trained
    load_model(work / end, dtype=torch.bfloat16)  # strictly
    start, after = read(work / "start"), read(work / end)
    assert after.keys() == start.keys()
    for tensor, value in after.items():
        same = torch.equal(value, start[tensor].to(torch.bfloat16))
        if name == LLAMA and fixed(tensor):
            assert same, tensor
        elif value.ndim == 2:
            assert not same, tensor


def test_an_update_of_the_published_ppo_is_finite(trained):
    _, _, run = trained
    row = run.metrics.iloc[0]
    assert row[["policy_loss", "value_loss", "grad_norm", "kl_to_start"]].notna().all()
    assert 0 < row["grad_norm"] < float("inf")
    assert row["kl_to_start"] == pytest.approx(0, abs=1e-4)  # before the first step, up to rounding


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes of the one whose parts have no gradient, in float32."""
    work = tmp_path_factory.mktemp("alone")
    make_start(work / "start", LLAMA)
    main(work / "start", work)
    return work


@pytest.mark.parametrize("config", [pytest.param("cpus", marks=pytest.mark.long), "cpus-fsdp2"])
def test_processes_agree_although_parts_have_no_gradient(alone, config, tmp_path, accelerate):
    done = accelerate(config, __file__, alone / "start", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for end in ("sft/step-1", "ppo-end"):
        ours, theirs = read(tmp_path / end), read(alone / end)
        assert ours.keys() == theirs.keys()
        for tensor, value in theirs.items():
            torch.testing.assert_close(ours[tensor], value, rtol=2**-7, atol=2e-4)


def main(start, work):
    """What each process does in the test above."""
    AcceleratorState._reset_state(reset_partial_state=True)
    practise(start, work, ppo.make_accelerator())
    fine_tune(start, work, torch.float32, processes=PartialState().num_processes)
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
