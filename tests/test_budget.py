"""The budget counts what is there: parameters, bytes, operations, tokens."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from scripts.budget import budget, without_weights
from svdrift.budget import (
    TOKENS,
    Item,
    Machine,
    factor_bytes,
    items,
    shape_of,
    svd_flops,
    training_flops,
)
from svdrift.errors import UserError
from svdrift.models.chat import conversation_tokens, prompt_tokens
from svdrift.models.loading import save_checkpoint
from svdrift.models.tiny import make_tokenizer
from svdrift.settings.study import Settings, read_settings
from svdrift.settings.task import TaskSettings
from svdrift.spectra.decomposition import decompose_checkpoint
from svdrift.tasks import make_task
from tests.published import LLAMA, QWEN, ROOT, pico_model

MODELS = ROOT / "experiments" / "models"


def study(name: str, **changes) -> Settings:
    config = yaml.safe_load((ROOT / "experiments" / f"{name}.yaml").read_text())
    return read_settings(config | changes)


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


@pytest.mark.parametrize("name", [QWEN, LLAMA])
def test_bytes_are_those_on_disk(name, tmp_path):
    tokenizer = make_tokenizer(["a", "b"])
    model = pico_model(name, len(tokenizer), tokenizer.eos_token_id)
    save_checkpoint(model, tokenizer, tmp_path / "model", torch.bfloat16)
    decompose_checkpoint(tmp_path / "model", tmp_path / "factors")
    shape = shape_of(model, Settings())
    assert tensor_bytes(tmp_path / "model" / "model.safetensors") == 2 * shape.parameters
    assert tensor_bytes(tmp_path / "factors") == factor_bytes(shape.matrices)


def tensor_bytes(file: Path) -> int:
    """What follows the header of a safetensors file."""
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
    return file.stat().st_size - 8 - header


def test_lengths_are_those_of_the_task():
    table = pd.DataFrame({"cards": ["J 2 3 9"], "rule": ["tens"], "target": [24]})
    for style, lengths in TOKENS.items():
        task = make_task(TaskSettings(prompt_style=style, max_reply_tokens=200))
        [hand] = task.read(table)
        turns = [task.first_turn(hand), task.gold_reply(hand)]
        if style == "compact":
            tokenizer = make_tokenizer(task.words)
            [prompt] = prompt_tokens(tokenizer, [turns[:1]])
            [whole] = conversation_tokens(tokenizer, [turns])
            assert lengths[:2] == (len(prompt), len(whole) - len(prompt))
        else:  # a digit, a word, some marks, or an indent each a token; thirty for the template
            words = [len(re.findall(r"\d|[A-Za-z]+|[^\w\s]+|\n", turn)) for turn in turns]
            assert lengths.prompt == pytest.approx(words[0] + 30, rel=0.15)
            assert lengths.reply == pytest.approx(words[1], rel=0.15)


def test_what_a_study_does_more_often_costs_more_often():
    few, many = (
        {item.what: item for item in items(settings, SHAPE, Machine())}
        for settings in (Settings(), read_settings({"seeds": [1], "rl": {"starts": [16, 64]}}))
    )
    assert few["PPO"].jobs == 7 + 7  # the control `demonstrated` is PPO too
    assert many["PPO"] == Item("PPO", 2 + 2, *few["PPO"][2:])
    assert few["SFT"] == many["SFT"]
    assert few["base model"].gpu_seconds == 0


SHAPE = shape_of(without_weights(Settings(), MODELS), Settings())


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
    settings = read_settings(
        {"model": {"source": "nobody/nothing"}, "task": {"hands": {"pretraining_holdout": 0}}}
    )
    with pytest.raises(UserError, match="put at experiments/models/nobody") as caught:
        without_weights(settings, Path("experiments/models"))
    assert "\n" not in str(caught.value)
