"""Batched generation with any causal language model of transformers.

Differs from `model.generate` in three ways that matter here: rows that have stopped leave the
batch, a beginning that all prompts share is computed once, and sampling takes its random numbers
as an argument, so that what a row becomes does not depend on the rows beside it.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm
from transformers.cache_utils import Cache, DynamicLayer

from svdrift.errors import UserError
from svdrift.models.caches import cache_argument, cache_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Shorter shared beginnings cost more in bookkeeping than they save.
SHORTEST_SHARED_PREFIX = 16
# Bytes that a CPU reaches quickly. 1,000 steps of navigation, 73 tokens on average, took the tiny
# model 9.4 s in one batch, 5.0 s in batches of 512, 2.6 s of 64 and 2.9 s of 32.
NEAR = 2**24
# Stopped rows are dropped once this share of the batch has stopped: dropping copies the cache.
DROP_SHARE = 0.25


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_ids: Collection[int],
    pad_id: int,
    temperature: float = 0.0,
    uniforms: Tensor | None = None,
    batch_size: int = 256,
    progress: str | None = None,
) -> list[list[int]]:
    """Continue each prompt until a stop token or `max_new_tokens`.

    A row's tokens do not depend on `batch_size` nor on the other prompts, up to the rounding of
    logits: two batches may differ where a uniform or a tie lies within rounding of a boundary.

    Args:
        model: on any device, in either mode; its mode is restored.
        prompts: token ids, at least one each; lengths may differ.
        max_new_tokens: most tokens to add.
        stop_ids: tokens that end a row.
        pad_id: any valid token id; padding is masked.
        temperature: logits are divided by it; 0 takes the most probable token.
        uniforms: numbers in [0, 1), shape [len(prompts), >= max_new_tokens]; token t of row r is
            drawn by inverting the cumulative distribution at `uniforms[r, t]`. Needed exactly
            when `temperature` is above 0.
        batch_size: most rows computed together; on a CPU no more than `nearby_rows`.
        progress: label of a progress bar; none is shown without it.

    Returns:
        The new tokens of each prompt in the order of `prompts`, the stop token included.

    Raises:
        ValueError: arguments do not fit together.
        UserError: a row could outgrow the positions of the model.
    """
    rows = [list(prompt) for prompt in prompts]
    check_arguments(model, rows, max_new_tokens, temperature, uniforms, batch_size)
    replies: list[list[int]] = [[] for _ in rows]
    if model.device.type == "cpu" and rows:
        batch_size = min(batch_size, nearby_rows(model, max(map(len, rows)) + max_new_tokens))
    # Like lengths together waste little padding; the longest first shows a lack of memory at once.
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]), reverse=True)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            shared = _shared_prefix(rows)
            prefix_cache = _prefill(model, shared) if shared else None
            skipped = len(shared) if prefix_cache else 0
            for batch in tqdm(batches, desc=progress, disable=progress is None):
                tokens = _generate_batch(
                    model,
                    [rows[row][skipped:] for row in batch],
                    prefix_length=skipped,
                    prefix_cache=prefix_cache,
                    max_new_tokens=max_new_tokens,
                    stop_ids=torch.tensor(sorted(stop_ids), device=model.device),
                    pad_id=pad_id,
                    temperature=temperature,
                    uniforms=None if uniforms is None else uniforms[batch].to(model.device),
                )
                for row, reply in zip(batch, tokens.tolist(), strict=True):
                    replies[row] = _until_stop(reply, stop_ids)
    finally:
        model.train(was_training)
    return replies


def nearby_rows(model: PreTrainedModel, tokens: int) -> int:
    """Rows whose caches of `tokens` take no more than what a CPU reaches quickly, or the weights.

    Each new token copies the cache of all rows, while the weights are read once for all of them: so
    small models are faster in small batches, and large ones in large batches.
    """
    config = model.config.get_text_config()
    queries = getattr(config, "num_attention_heads", None)
    if queries is None:  # a recurrent state, which does not grow
        return sys.maxsize
    heads = getattr(config, "num_key_value_heads", None) or queries
    width = getattr(config, "head_dim", None) or config.hidden_size // queries
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    cached = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    return int(max(1, max(NEAR, weights) // (cached * tokens)))


def sample_tokens(logits: Tensor, temperature: float, uniforms: Tensor) -> Tensor:
    """Draw the next token of each row by inverting its cumulative distribution.

    Args:
        logits: [rows, vocabulary].
        temperature: above 0; logits are divided by it.
        uniforms: [rows], in [0, 1).

    Returns:
        Token ids, [rows].
    """
    cumulative = torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)
    heights = uniforms.double().unsqueeze(1) * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, heights, right=True).squeeze(1)
    return chosen.clamp_max(logits.shape[-1] - 1)


def _generate_batch(
    model: PreTrainedModel,
    prompts: list[list[int]],
    *,
    prefix_length: int,
    prefix_cache: Cache | None,
    max_new_tokens: int,
    stop_ids: Tensor,
    pad_id: int,
    temperature: float,
    uniforms: Tensor | None,
) -> Tensor:
    """Continue one batch of prompts from which the shared prefix has been cut.

    Returns:
        Token ids, [rows, max_new_tokens]; what follows a row's stop token is without meaning.
    """
    device = model.device
    width = max(map(len, prompts))
    tokens = torch.tensor([[pad_id] * (width - len(p)) + p for p in prompts], device=device)
    # Keys are laid out as: shared prefix, padding, rest of the prompt, reply.
    mask = torch.ones(
        len(prompts), prefix_length + width + max_new_tokens, dtype=torch.long, device=device
    )
    for row, prompt in enumerate(prompts):
        mask[row, prefix_length : prefix_length + width - len(prompt)] = 0
    positions = (mask.cumsum(dim=1) - 1).clamp_min(0)
    cache = copy.deepcopy(prefix_cache)
    if cache is not None:
        cache.batch_repeat_interleave(len(prompts))
    replies = torch.full((len(prompts), max_new_tokens), pad_id, device=device)
    rows = torch.arange(len(prompts), device=device)  # where the rows of the batch belong
    running = torch.ones_like(rows, dtype=torch.bool)
    start, end = prefix_length, prefix_length + width
    for step in range(max_new_tokens):
        logits, cache = _forward(model, tokens, mask[:, :end], positions[:, start:end], cache)
        if uniforms is None:
            chosen = logits.argmax(dim=-1)
        else:
            chosen = sample_tokens(logits, temperature, uniforms[rows, step])
        replies[rows, step] = chosen
        running &= ~torch.isin(chosen, stop_ids)
        left = int(running.sum())
        if left == 0:
            break
        if left <= (1 - DROP_SHARE) * len(rows):
            cache.batch_select_indices(running.nonzero().squeeze(1))
            rows, chosen = rows[running], chosen[running]
            mask, positions = mask[running], positions[running]
            running = running[running]
        tokens = chosen.unsqueeze(1)
        start, end = end, end + 1
    return replies


def _forward(
    model: PreTrainedModel, tokens: Tensor, mask: Tensor, positions: Tensor, cache: Cache | None
) -> tuple[Tensor, Cache]:
    """Extend the cache by `tokens`; logits of the last position, [rows, vocabulary], and cache."""
    # Not every architecture takes these two; those without positions derive them from the mask.
    optional = {"position_ids": positions, "logits_to_keep": 1}
    accepted = inspect.signature(model.forward).parameters
    output = model(
        input_ids=tokens,
        attention_mask=mask,
        use_cache=True,
        **cache_argument(model, cache),
        **{name: value for name, value in optional.items() if name in accepted},
    )
    extended = cache_of(output)
    assert extended is not None
    return output.logits[:, -1], extended


def _shared_prefix(prompts: list[list[int]]) -> list[int]:
    """Return the longest common beginning that leaves every prompt a token; empty if short."""
    if len(prompts) < 2:
        return []
    first, last = min(prompts), max(prompts)  # in lexicographic order these two differ first
    longest = min(map(len, prompts)) - 1
    pairs = zip(first[:longest], last[:longest], strict=True)
    length = next((i for i, (left, right) in enumerate(pairs) if left != right), longest)
    return first[:length] if length >= SHORTEST_SHARED_PREFIX else []


def _prefill(model: PreTrainedModel, prefix: list[int]) -> Cache | None:
    """Compute the cache of one shared prefix; None where a cache cannot be shared."""
    tokens = torch.tensor([prefix], device=model.device)
    positions = torch.arange(len(prefix), device=model.device).unsqueeze(0)
    _, cache = _forward(model, tokens, torch.ones_like(tokens), positions, None)
    # Padding lies between prefix and prompt. Full attention masks it, but a sliding window would
    # count it and a recurrent state would have passed through it.
    return cache if all(type(layer) is DynamicLayer for layer in cache.layers) else None


def _until_stop(tokens: list[int], stop_ids: Collection[int]) -> list[int]:
    for index, token in enumerate(tokens):
        if token in stop_ids:
            return tokens[: index + 1]
    return tokens


def check_arguments(
    model: PreTrainedModel,
    prompts: list[list[int]],
    max_new_tokens: int,
    temperature: float,
    uniforms: Tensor | None,
    batch_size: int,
) -> None:
    """Refuse arguments of `generate` that do not fit together.

    Raises: see `generate`.
    """
    if max_new_tokens < 1 or batch_size < 1:
        raise ValueError(
            f"max_new_tokens and batch_size must be positive: {max_new_tokens}, {batch_size}"
        )
    if not all(prompts):
        raise ValueError("every prompt needs at least one token")
    if temperature < 0 or (temperature > 0) != (uniforms is not None):
        raise ValueError(
            f"temperature {temperature}: must be 0 without uniforms and above 0 with them"
        )
    if uniforms is not None:
        if uniforms.shape[0] != len(prompts) or uniforms.shape[1] < max_new_tokens:
            raise ValueError(
                f"uniforms have shape {tuple(uniforms.shape)}, "
                f"[{len(prompts)}, {max_new_tokens}] is wanted"
            )
        if prompts and not (uniforms.min() >= 0 and uniforms.max() < 1):
            raise ValueError("uniforms must lie in [0, 1)")
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, prompts), default=0) + max_new_tokens
    if positions is not None and longest > positions:
        raise UserError(
            f"max_new_tokens: with the longest prompt {longest} tokens are needed, "
            f"and the model has {positions} positions"
        )
