"""The loss of a reply given its conversation, as pretraining and evaluation count it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from svdrift.models.chat import Turns, conversation_tokens, prompt_tokens

IGNORED = -100  # label of positions without loss, torch's convention

Example = tuple[list[int], int]  # tokens of a conversation, and where its last reply starts


def tokenise(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Turns]) -> list[Example]:
    """Token ids of each conversation, and the position where its last reply starts."""
    whole = conversation_tokens(tokenizer, conversations)
    prompts = prompt_tokens(tokenizer, [turns[:-1] for turns in conversations])
    return [(tokens, len(prompt)) for tokens, prompt in zip(whole, prompts, strict=True)]


def pad(batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Tokens and labels `[batch, longest]`, padded on the right; labels on the reply only."""
    longest = max(len(tokens) for tokens, _ in batch)
    padded = torch.zeros(len(batch), longest, dtype=torch.long)
    labels = torch.full((len(batch), longest), IGNORED)
    for row, (tokens, start) in enumerate(batch):
        padded[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, start : len(tokens)] = torch.tensor(tokens[start:])
    return padded, labels


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (nats) summed over all labelled tokens.

    Args:
        logits: `[batch, length, vocabulary]`; those at a position predict the next token.
        labels: `[batch, length]`, `IGNORED` where there is no loss.
    """
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        labels[:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
