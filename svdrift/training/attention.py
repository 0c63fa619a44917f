"""Attention of short sequences in bfloat16 on a CPU, where PyTorch's fused kernel trains slowly."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from svdrift.training.device import on_gpu

SHORT = 160
"""Longest sequence whose scores are kept. A step of SmolLM2-135M on 32 sequences took with and
without the fused kernel 3.4 and 2.6 s at 45 tokens, 8.8 and 4.9 s at 110 (two cores with AMX); on 8
of 300 tokens, 5.0 and 6.9 s."""

_NAME = "svdrift_sdpa"


def suit_attention(model: PreTrainedModel) -> None:
    """Let a model that trains on a CPU attend as is fastest there, up to rounding as before.

    It changes what is computed in bfloat16 alone, and nothing on a GPU.
    """
    if not on_gpu() and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """As transformers' function that calls PyTorch's; queries are [batch, heads, length, width]."""
    half = torch.is_autocast_enabled("cpu") or query.dtype == torch.bfloat16
    plain = half and query.shape[2] <= SHORT
    with sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
        return sdpa_attention_forward(module, query, key, value, mask, **options)
