"""The forward pass of a policy over episodes, as every method of RL runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer
from transformers.modeling_layers import GradientCheckpointingLayer

from svdrift.models.caches import cache_argument, cache_of
from svdrift.training import sharding
from svdrift.training.likelihood import sampled_log_probs
from svdrift.training.rollout import Rollouts


def evaluate_replies(
    policy: PreTrainedModel, rollouts: Rollouts, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the policy over episodes, with what was sampled as it was sampled.

    Returns:
        Log-probabilities of the sampled tokens and entropies of their distributions, both [N, T]
        and 0 elsewhere; and last hidden states [N, T - 1, H], 0 in a beginning that all episodes
        share.

    No attention mask is needed: padding stands on the right, where causal attention never looks.
    """
    replied = rollouts.actions >= 0
    places = replied.any(dim=0).nonzero().squeeze(1)  # where some episode has a reply
    inputs = rollouts.tokens[:, :-1]  # the state before a token predicts it; after the last, none
    skipped, cache = _shared_prefix(policy, inputs[:, : places[0] - 1])
    output = policy(
        input_ids=inputs[:, skipped:],
        use_cache=cache is not None,
        **cache_argument(policy, cache),
        logits_to_keep=places - 1 - skipped,
        output_hidden_states=True,
    )
    log_probs, entropy = (
        torch.zeros_like(rollouts.weights).index_copy(1, places, found) * replied
        for found in sampled_log_probs(output.logits, rollouts.tokens[:, places], temperature)
    )
    hidden = nn.functional.pad(output.hidden_states[-1], (0, 0, skipped, 0))
    return log_probs, entropy, hidden


def _shared_prefix(policy: PreTrainedModel, inputs: Tensor) -> tuple[int, Cache | None]:
    """Compute once what all rows of `inputs` begin with; gradients pass through the cache.

    Prompts of a task differ late, so this saves a good part of the forward and backward pass.

    Returns:
        Length of the beginning and its cache for all rows; 0 and None where there is none to share.
    """
    length = int((inputs == inputs[:1]).all(dim=0).cumprod(dim=0).sum())
    recomputing = any(
        part.training for part in policy.modules() if isinstance(part, GradientCheckpointingLayer)
    )  # which excludes a cache
    # All processes must run a sharded model equally often, and another may have nothing to share.
    if length == 0 or len(inputs) == 1 or recomputing or sharding.is_sharded(policy):
        return 0, None
    output = policy(input_ids=inputs[:1, :length], use_cache=True, logits_to_keep=1)
    cache = cache_of(output)
    # Only full attention can go on from a cache without regard to what kind of layer it is.
    if cache is None or not all(type(layer) is DynamicLayer for layer in cache.layers):
        return 0, None
    cache.batch_repeat_interleave(len(inputs))
    return length, cache


@contextmanager
def checkpointing(module: nn.Module, active: bool) -> Iterator[None]:
    """Let layers recompute their activations; only their own mode counts, dropout keeps its own."""
    layers = [part for part in module.modules() if isinstance(part, GradientCheckpointingLayer)]
    for layer in layers:
        layer.training = active
    yield
    for layer in layers:
        layer.training = False
