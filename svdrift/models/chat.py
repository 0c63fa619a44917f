"""Conversations as tokens: the one place that renders turns through a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

Turns = Sequence[str]  # user, assistant, user, ... in the order in which they were said


def as_messages(turns: Turns) -> list[dict[str, str]]:
    """Turns as the messages that chat templates take: the user begins, then both alternate."""
    return [
        {"role": "assistant" if i % 2 else "user", "content": turn} for i, turn in enumerate(turns)
    ]


def prompt_tokens(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Turns]
) -> list[list[int]]:
    """Token ids of each conversation, ready for the assistant's next reply.

    Every conversation must end with a user turn.
    """
    return _render(tokenizer, conversations, add_generation_prompt=True)


def conversation_tokens(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Turns]
) -> list[list[int]]:
    """Token ids of each whole conversation, ending with an assistant turn."""
    return _render(tokenizer, conversations, add_generation_prompt=False)


def reply_texts(tokenizer: PreTrainedTokenizerBase, replies: Sequence[Sequence[int]]) -> list[str]:
    """Sampled replies as text, without special tokens."""
    return tokenizer.batch_decode([list(r) for r in replies], skip_special_tokens=True)


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end a reply: those of the generation config and the tokenizer's own."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(int(t) for t in [*listed, tokenizer.eos_token_id] if t is not None)


def _render(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Turns],
    *,
    add_generation_prompt: bool,
) -> list[list[int]]:
    if not conversations:
        return []
    texts = tokenizer.apply_chat_template(
        [as_messages(turns) for turns in conversations],
        add_generation_prompt=add_generation_prompt,
        tokenize=False,
    )
    # The template has written all special tokens already.
    return cast(list[list[int]], tokenizer(texts, add_special_tokens=False)["input_ids"])
