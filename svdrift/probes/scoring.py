"""Log-probabilities of given replies, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
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
    for length, group in groupby(sorted(set(keys), key=len), key=len):
        rows = list(group)
        vocabulary = model.config.get_text_config().vocab_size
        step = max(1, min(batch_size, LOGITS // (length * vocabulary)))
        for first in range(0, len(rows), step):
            batch = rows[first : first + step]
            tokens = torch.tensor([key[1:] for key in batch], device=model.device)
            logits = model(tokens, use_cache=False).logits[:, :-1]
            log_probs, entropies = (
                part.cpu().numpy() for part in sampled_log_probs(logits, tokens[:, 1:], temperature)
            )
            for key, own, spread in zip(batch, log_probs, entropies, strict=True):
                found[key] = Score(own[key[0] - 1 :], spread[key[0] - 1 :])
    return [found[key] for key in keys]
