"""The budget counts what is there: parameters, bytes, operations, tokens."""

import itertools
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from scripts.budget import budget
from svdrift.budget.costs import (
    Machine,
    data_s,
    factor_bytes,
    svd_flops,
    training_flops,
    training_s,
)
from svdrift.budget.shape import shape_of, without_weights
from svdrift.budget.table import Item, items
from svdrift.errors import UserError
from svdrift.models.chat import conversation_tokens, prompt_tokens
from svdrift.models.loading import save_checkpoint
from svdrift.models.tiny import make_tokenizer
from svdrift.spectra.decomposition import decompose_checkpoint
from svdrift.spectra.on_demand import open_on_demand
from svdrift.study.arm_costs import problems
from svdrift.study.settings import Settings, read_settings
from svdrift.tasks import load_settings as load_task
from svdrift.tasks import make_task
from svdrift.tasks.general_points.prompts import TOKENS
from svdrift.training.method import Work
from tests.published import LLAMA, QWEN, ROOT, pico_model
from tests.recovery.test_architectures import LAID_OUT, make
from tests.study.studies import overlay
from tests.study.studies import study as default

MODELS = ROOT / "experiments" / "models"


SHAPE = shape_of(without_weights(default(), MODELS), default())


def study(name: str, **changes: Any) -> Settings:
    return read_settings(overlay(name, changes))


@pytest.mark.parametrize(
    ("name", "parameters", "trained"),
    [
        ("qwen-2.5-7b", 7_615_616_512, 7_615_616_512),
        # The text path is Llama-3.1-8B, with eight more rows in the embedding.
        ("llama-3.2-11b", 10_670_220_835, 8_030_261_248 + 8 * 4096),
    ],
)
def test_counts_and_operations_are_those_of_the_true_model(name, parameters, trained):
    settings = study(name)
    model = without_weights(settings, MODELS)
    shape = shape_of(model, settings)
    assert (shape.parameters, shape.trained) == (parameters, trained)
    assert len(shape.matrices) == 7 * model.config.get_text_config().num_hidden_layers + 2
    tokens = torch.zeros(2, 64, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        mask = torch.zeros(2, 1, 64, 64, dtype=model.dtype, device="meta")  # read by nobody
        logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        forward = counter.get_total_flops()
        logits.sum().backward()
    # Attention, which grows with the length, is left out of the budget: 1 % here.
    assert forward == pytest.approx(2 * shape.active * tokens.numel(), rel=0.02)
    both = training_flops(shape.active, tokens.numel(), recompute=False)
    assert counter.get_total_flops() == pytest.approx(both, rel=0.02)


@pytest.mark.parametrize(
    ("name", "dtype"), [(QWEN, "float32"), (LLAMA, "float32"), (QWEN, "bfloat16")]
)
def test_bytes_are_those_on_disk(name, dtype, tmp_path):
    tokenizer = make_tokenizer(["a", "b"])
    model = pico_model(name, len(tokenizer), tokenizer.eos_token_id)
    save_checkpoint(model, tokenizer, tmp_path / "model", torch.bfloat16)
    decompose_checkpoint(tmp_path / "model", tmp_path / "factors", dtype=getattr(torch, dtype))
    shape = shape_of(model, default())
    assert tensor_bytes(tmp_path / "model" / "model.safetensors") == 2 * shape.parameters
    assert tensor_bytes(tmp_path / "factors") == factor_bytes(shape.matrices, dtype)


@pytest.mark.parametrize("architecture", ["GPT2", "Mixtral", "Qwen3Moe", "GptOss"])
def test_matrices_are_those_that_are_decomposed(architecture, tmp_path):
    folder = make(tmp_path / "model", architecture, LAID_OUT[architecture][0], 0)
    shape = shape_of(AutoModelForCausalLM.from_pretrained(folder), default())
    matrices = open_on_demand(folder).weights.matrices
    assert sorted(shape.matrices) == sorted(matrix.shape for matrix in matrices)


def tensor_bytes(file: Path) -> int:
    """What follows the header of a safetensors file."""
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
    return file.stat().st_size - 8 - header


def test_lengths_are_those_of_the_task():
    general_points = load_task("general_points").Settings
    for style, cards in itertools.product(TOKENS, ("J 2 3 9", "J 2 3 9 9", "J 2 2")):
        table = pd.DataFrame({"cards": [cards], "rule": ["tens"], "target": [24]})
        size = len(cards.split())
        settings = general_points(prompt_style=style, max_reply_tokens=200, hand_size=size)
        lengths = settings.tokens
        task = make_task(settings.play("practice"))
        [problem] = task.read(table)
        turns = [task.first_turn(problem), task.gold_reply(problem)]
        if style != "paper":
            tokenizer = make_tokenizer(task.words)
            [prompt] = prompt_tokens(tokenizer, [turns[:1]])
            [whole] = conversation_tokens(tokenizer, [turns])
            assert lengths[:2] == (len(prompt), len(whole) - len(prompt))
        else:  # a digit, a word, some marks, or an indent each a token; thirty for the template
            words = [len(re.findall(r"\d|[A-Za-z]+|[^\w\s]+|\n", turn)) for turn in turns]
            assert lengths.prompt == pytest.approx(words[0] + 30, rel=0.15)
            assert lengths.reply == pytest.approx(words[1], rel=0.15)


def lines(settings: Settings) -> dict[str, Item]:
    return {item.what: item for item in items(settings, SHAPE, Machine())}


def test_a_stage_is_a_job_for_each_start_and_leaves_what_it_keeps():
    found = lines(default())
    assert found["stage `ppo`"].jobs == found["stage `continued`"].jobs == 3
    assert found["stage `wide`"].jobs == 1
    model = found["stage `base`"].kept
    assert model == 4 * SHAPE.parameters
    assert found["stage `sft`"].kept == 7 * model
    assert found["stage `ppo`"].kept == pytest.approx(model * 5 / 3)  # two on the way from one
    assert found["evaluation"].jobs == len(default().checkpoints)
    few = lines(default({"stages": {"ppo": {"from": ["sft@64"]}}}))
    assert few["stage `ppo`"].jobs == 1
    assert few["stage `ppo`"].gpu_seconds == found["stage `ppo`"].gpu_seconds
    assert few["stage `sft`"] == found["stage `sft`"]


def test_training_costs_what_it_reads_and_plays():
    def seconds(stage: str, **changes: Any) -> float:
        settings = default({"stages": {stage: changes}})
        return training_s(SHAPE, settings.graph.stages[stage], settings, Machine())

    assert seconds("sft", steps=512) == 2 * seconds("sft")
    assert seconds("sft", gradient_checkpointing=True) == pytest.approx(seconds("sft") * 8 / 6)
    assert seconds("ppo", updates=120) == pytest.approx(2 * seconds("ppo"))
    assert seconds("ppo", tries=2) == pytest.approx(2 * seconds("ppo"), rel=1e-3)  # decoding
    assert seconds("ppo", epochs=4) > seconds("ppo")
    stages = default().graph.stages
    assert stages["sft"].settings.work == Work(samples=256 * 64)
    assert stages["ppo"].settings.work == Work(samples=60 * 128 * 2, episodes=60 * 128)
    # A control reads as many samples as the stage that it matches.
    assert stages["continued"].settings.work.samples == stages["ppo"].settings.work.samples


def test_an_imported_model_is_not_trained():
    settings = study("qwen-2.5-7b")
    base = settings.graph.stages["base"]
    assert training_s(SHAPE, base, settings, Machine()) == 0


def test_data_that_a_checkpoint_makes_costs_what_it_plays():
    replies = {"replies_of": "sft@64", "on": "practice"}
    data = {
        "once": replies,
        "often": replies | {"samples": 4, "temperature": 1.0, "per_problem": 2},
        "few": replies | {"count": 100},
        "rated": {"on": "practice", "pass_rate": {"of": "sft@64", "samples": 4}},
        "turned": {"on": "practice", "rule": "faces"},
        "mixed": {"mix": {"once": 0.5, "often": 0.5}},
    }
    settings = default({"data": data})
    many = settings.task.count("practice")
    counts = {name: problems(settings, name) for name in data}
    assert counts == {
        "once": many,
        "often": 2 * many,
        "few": 100,
        "rated": many,
        "turned": many,
        "mixed": 3 * many,
    }
    costs = {name: data_s(SHAPE, settings, name, Machine()) for name in data}
    assert costs["rated"] == costs["often"] > 3 * costs["once"] > 0
    assert costs["few"] == costs["once"]
    assert costs["turned"] == costs["mixed"] == 0
    assert {what for what in lines(settings) if what.startswith("data")} == {
        "data `once`",
        "data `often`",
        "data `few`",
        "data `rated`",
    }


def test_seeds_multiply_the_whole():
    one, three = (budget(study("qwen-2.5-7b", seeds=seeds), MODELS) for seeds in ([0], [0, 1, 2]))
    total = next(line for line in one.splitlines() if "one seed" in line)
    assert total in three
    hours = [
        float(line.split("**")[3]) for line in three.splitlines() if "seed" in line and "**" in line
    ]
    assert hours[1] == pytest.approx(3 * hours[0], abs=2)


def test_a_thin_svd_costs_what_it_costs():
    # Of a tall matrix the work grows with its height, of a square one with the third power.
    assert svd_flops((4096, 1024)) == svd_flops((1024, 4096)) == 6 * 4096 * 1024**2 + 11 * 1024**3
    assert svd_flops((200, 200)) == 8 * svd_flops((100, 100))


def test_a_model_without_a_configuration_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    settings = default(
        {
            "stages": {
                "base": None,
                "other": {"method": "import_model", "source": "nobody/nothing"},
                "sft": {"from": "other"},
            },
            "task": {"hands": {"pretraining_holdout": 0}},
        }
    )
    with pytest.raises(UserError, match="put it at experiments/models/nobody") as caught:
        without_weights(settings, Path("experiments/models"))
    assert "\n" not in str(caught.value)
