"""Generation against transformers' own, one prompt at a time and without a shared cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from svdrift.errors import UserError
from svdrift.models import generation
from svdrift.models.generation import generate, nearby_rows, sample_tokens

STOPS = {3, 7}
NEW = 12


def _prompts(rows: int, shared: int = 0, seed: int = 0) -> list[list[int]]:
    """Random prompts of lengths 1 to 9 behind a shared beginning."""
    draw = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> list[int]:
        ids: list[int] = torch.randint(1, 15, (count,), generator=draw).tolist()
        return ids

    beginning = tokens(shared)
    lengths = torch.randint(1, 10, (rows,), generator=draw).tolist()
    return [beginning + tokens(length) for length in lengths]


def _uniforms(rows: int) -> Tensor:
    return torch.rand(rows, NEW, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def _one_by_one(model: PreTrainedModel, prompts: list[list[int]]) -> list[list[int]]:
    """The oracle: transformers, greedy, each prompt alone, so that nothing is padded."""
    config = GenerationConfig(
        max_new_tokens=NEW, do_sample=False, eos_token_id=sorted(STOPS), pad_token_id=0
    )
    return [
        model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            generation_config=config,
        )[0, len(prompt) :].tolist()
        for prompt in prompts
    ]


@pytest.mark.parametrize("shared", [0, 20])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_greedy_equals_transformers(model: PreTrainedModel, shared: int, batch_size: int) -> None:
    prompts = _prompts(24, shared)
    wanted = _one_by_one(model, prompts)
    lengths = {len(reply) for reply in wanted}
    assert len(lengths) > 3  # or the test says nothing about rows that stop at different steps
    replies = generate(
        model, prompts, max_new_tokens=NEW, stop_ids=STOPS, pad_id=0, batch_size=batch_size
    )
    assert replies == wanted


def test_samples_do_not_depend_on_the_batch(model: PreTrainedModel) -> None:
    prompts, uniforms = _prompts(24), _uniforms(24)

    def sample(rows: list[int], batch_size: int) -> list[list[int]]:
        return generate(
            model,
            [prompts[row] for row in rows],
            max_new_tokens=NEW,
            stop_ids=STOPS,
            pad_id=0,
            temperature=1.5,
            uniforms=uniforms[rows],
            batch_size=batch_size,
        )

    everything = sample(list(range(24)), 64)
    assert sample(list(range(24)), 5) == everything
    for row in (0, 7, 23):
        assert sample([row], 1) == [everything[row]]
    greedy = generate(model, prompts, max_new_tokens=NEW, stop_ids=STOPS, pad_id=0)
    assert everything != greedy


def test_shared_prefix_changes_nothing(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, uniforms = _prompts(16, shared=20), _uniforms(16)

    def sample() -> list[list[int]]:
        return generate(
            model,
            prompts,
            max_new_tokens=NEW,
            stop_ids=STOPS,
            pad_id=0,
            temperature=1.0,
            uniforms=uniforms,
            batch_size=6,
        )

    with_prefix = sample()
    monkeypatch.setattr(generation, "SHORTEST_SHARED_PREFIX", 1000)
    assert sample() == with_prefix


@pytest.mark.parametrize(("model", "heads"), [("qwen2", 1), ("gpt_neox", 2)], indirect=["model"])
def test_rows_whose_caches_are_near(model: PreTrainedModel, heads: int) -> None:
    """Two layers of keys and values in float32, 8 numbers a head and token."""
    assert nearby_rows(model, 10) == 2**24 // (10 * 2 * 2 * heads * 8 * 4)
    assert nearby_rows(model, 2**24) == 1


@pytest.mark.parametrize("model", ["llama"], indirect=True)
def test_a_cpu_decodes_no_more_rows_at_once(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = _prompts(9)
    whole = generate(model, prompts, max_new_tokens=NEW, stop_ids=STOPS, pad_id=0)
    seen = []
    inner = generation._generate_batch

    def spy(model: PreTrainedModel, rows: list[list[int]], **options: Any) -> Tensor:
        seen.append(len(rows))
        return inner(model, rows, **options)

    monkeypatch.setattr(generation, "_generate_batch", spy)
    monkeypatch.setattr(generation, "nearby_rows", lambda model, tokens: 4)
    assert generate(model, prompts, max_new_tokens=NEW, stop_ids=STOPS, pad_id=0) == whole
    assert seen == [4, 4, 1]


@pytest.mark.parametrize("model", ["llama", "qwen2", "gpt_neox"], indirect=True)
def test_shared_prefix_is_computed_once(model: PreTrainedModel) -> None:
    prompts = [list(range(1, 15)) * 3 + [last] for last in range(1, 9)]
    widths: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: widths.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    generate(model, prompts, max_new_tokens=1, stop_ids=(), pad_id=0, batch_size=4)
    assert widths == [(1, 42), (4, 1), (4, 1)]


def test_stopped_rows_leave_the_batch(model: PreTrainedModel) -> None:
    prompts = _prompts(24)
    wanted = _one_by_one(model, prompts)
    sizes: list[int] = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    generate(model, prompts, max_new_tokens=NEW, stop_ids=STOPS, pad_id=0)
    for step, size in enumerate(sizes):
        running = sum(len(reply) > step for reply in wanted)
        assert running <= size
        assert running > (1 - generation.DROP_SHARE) * size
    assert sizes[-1] < 24


@pytest.mark.parametrize("model", ["llama"], indirect=True)
@pytest.mark.parametrize("training", [True, False])
def test_mode_is_restored_and_dropout_is_off(model: PreTrainedModel, training: bool) -> None:
    model.config.attention_dropout = 0.9
    prompts = _prompts(4)
    wanted = _one_by_one(model.eval(), prompts)
    model.train(training)
    assert generate(model, prompts, max_new_tokens=NEW, stop_ids=STOPS, pad_id=0) == wanted
    assert model.training is training


@pytest.mark.parametrize("model", ["llama"], indirect=True)
def test_one_prompt_and_no_prompt(model: PreTrainedModel) -> None:
    prompt = _prompts(1, shared=30)
    wanted = _one_by_one(model, prompt)
    assert generate(model, prompt, max_new_tokens=NEW, stop_ids=STOPS, pad_id=0) == wanted
    assert generate(model, [], max_new_tokens=NEW, stop_ids=STOPS, pad_id=0) == []
    twice = generate(model, prompt * 2, max_new_tokens=NEW, stop_ids=STOPS, pad_id=0)
    assert twice == wanted * 2


@pytest.mark.parametrize("model", ["llama"], indirect=True)
def test_arguments_that_do_not_fit(model: PreTrainedModel) -> None:
    def attempt(prompts: list[list[int]], temperature: float, uniforms: Tensor | None) -> None:
        generate(
            model,
            prompts,
            max_new_tokens=NEW,
            stop_ids=STOPS,
            pad_id=0,
            temperature=temperature,
            uniforms=uniforms,
        )

    prompts = _prompts(3)
    with pytest.raises(ValueError, match="above 0 with them"):
        attempt(prompts, 1.0, None)
    with pytest.raises(ValueError, match="must be 0 without"):
        attempt(prompts, 0.0, _uniforms(3))
    with pytest.raises(ValueError, match=r"\[3, 12\] is wanted"):
        attempt(prompts, 1.0, _uniforms(2))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\)"):
        attempt(prompts, 1.0, torch.ones(3, NEW))
    with pytest.raises(ValueError, match="at least one token"):
        attempt([[1], []], 0.0, None)
    with pytest.raises(UserError, match="97 tokens are needed, and the model has 96"):
        attempt([[1] * 85], 0.0, None)


@given(
    weights=st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(any),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_sampling_inverts_the_distribution(
    weights: list[int], temperature: float, uniform: float
) -> None:
    weighted = torch.tensor(weights, dtype=torch.float64)
    logits = temperature * weighted.log()  # so that the probabilities are the weights' shares
    drawn = torch.tensor([uniform], dtype=torch.float64)  # float32 would round up to 1
    token = int(sample_tokens(logits.unsqueeze(0), temperature, drawn))
    height = uniform * sum(weights)
    slack = 1e-6 * sum(weights)
    assert sum(weights[:token]) - slack <= height <= sum(weights[: token + 1]) + slack
    assert weights[token] > 0


def test_sampling_frequencies() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    uniforms = (torch.arange(10_000) + 0.5) / 10_000
    tokens = sample_tokens(logits.expand(10_000, -1), 0.7, uniforms)
    shares = torch.bincount(tokens, minlength=4) / 10_000
    torch.testing.assert_close(shares, torch.softmax(logits / 0.7, dim=0), rtol=0, atol=2e-4)
