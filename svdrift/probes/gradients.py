"""Gradients of the log-probabilities of replies, and what a small step does to those of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from svdrift.models.losses import Example
from svdrift.probes.scoring import of_one_length
from svdrift.training.likelihood import sampled_log_probs

EPSILON = 1e-8  # of PyTorch's Adam

Direction = Mapping[str, Tensor]
"""A tensor for each parameter that is trained, by its name."""


def weighted_gradient(
    model: PreTrainedModel,
    examples: Sequence[Example],
    weights: Sequence[float],
    *,
    temperature: float = 1.0,
    batch_size: int = 256,
) -> dict[str, Tensor]:
    """The gradient of a weighted sum of log-probabilities of replies (nats).

    Args:
        model: on any device; its parameters that require a gradient count.
        examples: tokens of conversations, and where their last replies start.
        weights: one a conversation; those with weight 0 are skipped.
        temperature: logits are divided by it.
        batch_size: most conversations in a pass; it changes no result but for rounding.
    """
    parameters = {name: one for name, one in model.named_parameters() if one.requires_grad}
    total = {
        name: torch.zeros_like(one, dtype=torch.promote_types(one.dtype, torch.float32))
        for name, one in parameters.items()
    }
    used = [(tokens, start, w) for (tokens, start), w in zip(examples, weights, strict=True) if w]
    for places, batch in of_one_length(model, [tokens for tokens, *_ in used], batch_size):
        logits = model(batch, use_cache=False).logits[:, :-1]
        log_probs, _ = sampled_log_probs(logits, batch[:, 1:], temperature)
        weight = torch.zeros_like(log_probs)
        for row, place in enumerate(places):
            weight[row, used[place][1] - 1 :] = used[place][2]
        found = torch.autograd.grad((weight * log_probs).sum(), list(parameters.values()))
        for name, part in zip(parameters, found, strict=True):
            total[name] += part
    return total


def along(
    model: PreTrainedModel,
    examples: Sequence[Example],
    direction: Direction,
    *,
    batch_size: int = 256,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log-probabilities (nats) of replies' tokens, and their derivatives along a direction.

    In forward mode: one pass gives <grad log pi(y | x), direction> of all replies of a batch.

    Args:
        model: on any device.
        examples: tokens of conversations, and where their last replies start.
        direction: of the parameters; others stay as they are.
        batch_size: most conversations in a pass; it changes no result but for rounding.

    Returns:
        Two arrays for each conversation, of the length of its reply.
    """
    moved = {name: one.detach() for name, one in model.named_parameters() if name in direction}
    tangent = {name: direction[name].to(one.dtype) for name, one in moved.items()}
    log_probs: list[np.ndarray] = [np.empty(0)] * len(examples)
    derivatives = list(log_probs)
    for places, batch in of_one_length(model, [tokens for tokens, _ in examples], batch_size):

        def of_tokens(parameters: dict[str, Tensor], batch: Tensor = batch) -> Tensor:
            found = functional_call(model, parameters, (batch,), {"use_cache": False})
            return sampled_log_probs(found.logits[:, :-1], batch[:, 1:], 1.0)[0]

        # Fused attention has no forward mode.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            values, slopes = jvp(of_tokens, (moved,), (tangent,))  # type: ignore[misc]  # two without has_aux
        for place, value, slope in zip(places, values.cpu(), slopes.cpu(), strict=True):
            start = examples[place][1]
            log_probs[place] = value[start - 1 :].numpy()
            derivatives[place] = slope[start - 1 :].numpy()
    return log_probs, derivatives


def as_adam_steps(
    model: PreTrainedModel,
    direction: Direction,
    examples: Sequence[Example],
    *,
    minibatch_size: int,
    batch_size: int = 256,
) -> dict[str, Tensor]:
    """A direction over the root of Adam's second moment: its metric where training starts.

    A step of Adam (Kingma and Ba 2015) is the gradient m, divided by sqrt(v) + EPSILON entry by
    entry. So what it does along a direction g is <m, g / (sqrt(v) + EPSILON)>. Here v is the mean
    of the squared gradients of minibatches, of the mean negative log-likelihood of a token: what
    Adam has estimated after one pass, if the weights hardly move. Entries that no minibatch
    reaches do not move, and are 0.

    Args:
        model: on any device; its parameters that require a gradient count.
        direction: of these parameters.
        examples: that training reads, in order.
        minibatch_size: of training; what is left over at the end is left out, unless it is all.
        batch_size: most conversations in a pass.
    """
    count = max(1, len(examples) // minibatch_size)
    second = {name: torch.zeros_like(part) for name, part in direction.items()}
    for place in range(count):
        minibatch = examples[place * minibatch_size : (place + 1) * minibatch_size]
        each = 1 / sum(len(tokens) - start for tokens, start in minibatch)
        found = weighted_gradient(model, minibatch, [each] * len(minibatch), batch_size=batch_size)
        for name, part in found.items():
            second[name] += part.square() / count
    return {
        name: torch.where(second[name] > 0, part / (second[name].sqrt() + EPSILON), 0.0)
        for name, part in direction.items()
    }
