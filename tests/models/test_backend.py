"""vLLM's replies are the batched ones, as far as a stand-in for vLLM can tell."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from svdrift.errors import UserError
from svdrift.models import backend
from svdrift.models.generation import generate
from svdrift.models.loading import load_model
from svdrift.models.settings import GenerationSettings
from tests.models import fake_vllm
from tests.study.studies import study

VLLM = GenerationSettings(backend="vllm", max_length=30)
PROMPTS = [[3, 4, 5], [6, 7], [3, 4, 5, 8], [9]]
ASKED = {"max_new_tokens": 9, "stop_ids": {2, 10, 11}, "pad_id": 0}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if vLLM were installed and there were a GPU."""
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm)
    monkeypatch.setattr(fake_vllm, "__spec__", "found", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")


@pytest.fixture
def sharp(folder: Path) -> LlamaForCausalLM:
    """The saved model after a change of its weights in memory, with clear differences of logits."""
    model = load_model(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(30)
    return model


def test_greedy_replies_are_those_of_the_model_in_memory(gpu, folder, sharp):
    vllm = backend.make_generate(VLLM, folder)
    lengths = set()
    for _ in range(2):  # and again after an update
        expected = generate(sharp, PROMPTS, **ASKED)
        lengths.update(map(len, expected))
        assert vllm(sharp, PROMPTS, **ASKED) == expected
        with torch.no_grad():
            sharp.lm_head.weight.copy_(sharp.lm_head.weight.roll(1, dims=0))
        assert generate(sharp, PROMPTS, **ASKED) != expected
    assert len(lengths) > 1  # some stop early


def test_autocast_decides_the_type_as_it_does_for_the_batched(gpu, folder, sharp):
    vllm = backend.make_generate(VLLM, folder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vllm(sharp, PROMPTS, **ASKED)
    assert vllm._engine.dtype == "bfloat16"
    assert vllm._engine.max_model_len == 30
    assert vllm._engine.awake == set()


def test_a_sampled_row_depends_on_its_own_numbers_alone(gpu, folder, sharp):
    vllm = backend.make_generate(VLLM, folder)
    noise = torch.rand(4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    replies = vllm(sharp, PROMPTS, **ASKED, temperature=8.0, uniforms=noise)
    again = vllm(sharp, PROMPTS[::-1], **ASKED, temperature=8.0, uniforms=noise.flip(0))
    assert again[::-1] == replies
    assert vllm(sharp, PROMPTS[1:], **ASKED, temperature=8.0, uniforms=noise[1:]) == replies[1:]
    assert vllm(sharp, PROMPTS, **ASKED, temperature=8.0, uniforms=noise.flip(0)) != replies


def test_sampling_follows_the_model_s_probabilities(gpu, folder, sharp):
    """First tokens of many rows against the softmax: within 5 standard deviations each."""
    rows = 3000
    noise = torch.rand(rows, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    asked = {"max_new_tokens": 1, "stop_ids": set(), "pad_id": 0}
    sampled = backend.make_generate(VLLM, folder)(
        sharp, [[3, 4]] * rows, **asked, temperature=20.0, uniforms=noise
    )
    counts = Counter(reply[0] for reply in sampled)
    with torch.no_grad():
        wanted = (sharp(torch.tensor([[3, 4]])).logits[0, -1] / 20).softmax(dim=-1)
    assert wanted.max() < 0.9
    for token, share in enumerate(wanted.tolist()):
        deviation = (share * (1 - share) / rows) ** 0.5
        assert abs(counts[token] / rows - share) < 5 * deviation + 1e-3


def test_weights_that_vllm_would_keep_are_refused(gpu, folder, sharp, monkeypatch):
    vllm = backend.make_generate(VLLM, folder)
    load = fake_vllm.Worker.load_weights
    left_out = {"inner.lm_head.weight"}
    for taken, says in (
        (lambda *given: load(*given) - left_out, "would keep: inner.lm_head.weight "),
        (lambda *given: None, "would keep: .* and 16 more"),
    ):
        monkeypatch.setattr(fake_vllm.Worker, "load_weights", taken)
        with pytest.raises(UserError, match=f"not take all of LlamaForCausalLM: .*{says}"):
            vllm(sharp, PROMPTS, **ASKED)


def test_refuses_what_does_not_fit(gpu, folder, sharp):
    vllm = backend.make_generate(VLLM, folder)
    with pytest.raises(UserError, match=r"generation.max_length: 30 .* may have 34"):
        vllm(sharp, [[3] * 25], **ASKED)
    with pytest.raises(ValueError, match="above 0 with them"):
        vllm(sharp, PROMPTS, **ASKED, temperature=1.0)
    assert vllm(sharp, [], **ASKED) == []


def test_refused_before_any_job(folder, monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"generation.backend: .* not installed .* 'batched'"):
        backend.require_installed(VLLM)
    backend.require_installed(GenerationSettings())
    assert backend.make_generate(GenerationSettings(), folder) is generate
    chosen = {"generation": {"backend": "vllm"}}
    with pytest.raises(UserError, match=r"generation.backend: 'vllm' needs a GPU"):
        study(chosen)
    two = {"compute": {"gpus": 2, "processes": 2}}
    with pytest.raises(UserError, match=r"one process, and compute.processes is 2"):
        study(chosen | two)
    one = study(chosen | {"compute": {"gpus": 1}})
    assert one.generation.model_dump_json(exclude=one.generation.UNTRACKED) == (
        '{"backend":"vllm"}'
    )


def test_no_gpu_where_the_job_runs(gpu, folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs a GPU"):
        backend.make_generate(VLLM, folder)
