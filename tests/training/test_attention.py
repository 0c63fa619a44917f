"""Which of PyTorch's kernels attention uses in training on a CPU; both compute the same."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

from svdrift.training.attention import SHORT, suit_attention

FUSED = "aten::_scaled_dot_product_flash_attention_for_cpu"
LENGTH = 9


def make_model(*, suited: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    )
    if suited:
        suit_attention(model)
    return model


def step(model, length, *, half):
    """Logits and the gradient of a matrix; the second of two rows is padded."""
    tokens = torch.arange(2 * length).reshape(2, length) % 50
    mask = torch.ones_like(tokens)
    mask[1, length // 2 :] = 0
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = model(input_ids=tokens, attention_mask=mask).logits
    kept = logits.float()[mask.bool()]
    kept.logsumexp(-1).sum().backward()
    return kept.detach(), model.model.layers[0].self_attn.q_proj.weight.grad


def uses_fused(model, length, *, half):
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step(model, length, half=half)
    return FUSED in {event.key for event in found.key_averages()}


def test_short_sequences_in_bfloat16_leave_the_fused_kernel():
    assert uses_fused(make_model(suited=False), LENGTH, half=True)  # else nothing is gained
    assert not uses_fused(make_model(suited=True), LENGTH, half=True)


@pytest.mark.parametrize(("length", "half"), [(SHORT + 1, True), (LENGTH, False)])
def test_long_sequences_and_float32_keep_it(length, half):
    assert uses_fused(make_model(suited=True), length, half=half)


def test_both_compute_the_same_but_for_rounding():
    exact = step(make_model(suited=False), LENGTH, half=False)
    for suited in (False, True):
        for found, expected in zip(
            step(make_model(suited=suited), LENGTH, half=True), exact, strict=True
        ):
            error = torch.linalg.norm(found - expected) / torch.linalg.norm(expected)
            assert error < 0.03, suited


def test_in_float32_nothing_changes():
    for found, expected in zip(
        step(make_model(suited=True), LENGTH, half=False),
        step(make_model(suited=False), LENGTH, half=False),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_a_cache_and_a_padding_mask_together():
    """As PPO evaluates replies after the beginning that all prompts share."""
    tokens = torch.arange(12).reshape(2, 6)
    outputs = []
    for suited in (False, True):
        model = make_model(suited=suited)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            cache = model(input_ids=tokens[:, :3], use_cache=True).past_key_values
            outputs.append(model(input_ids=tokens[:, 3:], past_key_values=cache).logits.float())
    torch.testing.assert_close(*outputs, atol=0.02, rtol=0.02)
