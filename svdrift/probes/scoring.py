"""Log-probabilities of given replies, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from svdrift.models.losses import Example
from svdrift.training.likelihood import sampled_log_probs

LOGITS = 2**27  # of one forward pass, at most: 512 MiB in float32


@dataclass(frozen=True)
class Score:
    """A model's view of one reply.

    Attributes:
        log_probs: of each token of the reply, in nats.
        entropies: of the distributions that they were drawn from, in nats.
    """

    log_probs: np.ndarray
    entropies: np.ndarray


@torch.inference_mode()
def score(
    model: PreTrainedModel,
    examples: Sequence[Example],
    *,
    temperature: float = 1.0,
    batch_size: int = 256,
) -> list[Score]:
    """Score the reply at the end of each conversation.

    Args:
        model: on any device.
        examples: tokens of a conversation, and where its last reply starts, at 1 at the earliest.
        temperature: logits are divided by it.
        batch_size: most conversations in a forward pass; only those of one length go together, so
            that nothing is padded.

    Returns:
        One a conversation, in order. Conversations that are alike are scored once.
    """
    keys = [(start, *tokens) for tokens, start in examples]
    found: dict[tuple[int, ...], Score] = {}
    once = sorted(set(keys), key=len)
    for places, batch in of_one_length(model, [key[1:] for key in once], batch_size):
        logits = model(batch, use_cache=False).logits[:, :-1]
        log_probs, entropies = (
            part.cpu().numpy() for part in sampled_log_probs(logits, batch[:, 1:], temperature)
        )
        for place, own, spread in zip(places, log_probs, entropies, strict=True):
            start = once[place][0]
            found[once[place]] = Score(own[start - 1 :], spread[start - 1 :])
    return [found[key] for key in keys]


def of_one_length(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], batch_size: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of rows of one length, so that nothing is padded: shorter ones first.

    Args:
        model: on whose device the batches are; its vocabulary bounds them too.
        rows: token ids.
        batch_size: most rows of a batch.

    Yields:
        Places in `rows`, and their tokens [rows, length].
    """
    vocabulary = model.config.get_text_config().vocab_size
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    for length, group in groupby(order, key=lambda place: len(rows[place])):
        places = list(group)
        step = max(1, min(batch_size, LOGITS // (length * vocabulary)))
        for first in range(0, len(places), step):
            batch = places[first : first + step]
            yield batch, torch.tensor([list(rows[place]) for place in batch], device=model.device)
