"""Conversations as tokens: the one place that renders turns through a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from svdrift.errors import UserError
from svdrift.models.apart import try_apart

TRIED = ("Which number?", "This one: 24.", "Not quite. Again?")
SECONDS, MEMORY, LONGEST = 10.0, 2**30, 100_000  # of rendering it: time, bytes, characters

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


def require_renders(tokenizer: PreTrainedTokenizerBase, said: Path, vocabulary: int) -> None:
    """Refuse a chat template that does not render an ordinary conversation in reasonable time.

    Templates are programs of the model's author. transformers runs them in a sandbox, but without
    limits, so one conversation is rendered in a process apart.

    Args:
        tokenizer: with the template.
        said: file or folder that the error names.
        vocabulary: number of tokens that the model knows.

    Raises:
        UserError: there is no template; it is broken, forbidden, too slow or too long; it leaves
            out what was said; or it writes tokens that the model does not know.
    """
    if not tokenizer.chat_template:
        raise UserError(
            f"{said}: its tokenizer has no chat template, so that the model cannot be asked "
            "(wanted: chat_template.jinja, or chat_template in tokenizer_config.json)"
        )
    try_apart(
        said,
        "its chat template cannot be rendered",
        lambda: _try_template(tokenizer, said, vocabulary),
        seconds=SECONDS,
        room=MEMORY,
    )


def _try_template(tokenizer: PreTrainedTokenizerBase, said: Path, vocabulary: int) -> None:
    for turns in (TRIED[:1], TRIED):  # a prompt, and one after a reply and its verdict
        text = str(
            tokenizer.apply_chat_template(
                as_messages(turns), add_generation_prompt=True, tokenize=False
            )
        )
        if len(text) > LONGEST:
            raise UserError(
                f"{said}: its chat template makes {len(text):,} characters of "
                f"{sum(map(len, turns))} (allowed: at most {LONGEST:,})"
            )
        if lost := [turn for turn in turns if turn not in text]:
            raise UserError(f"{said}: its chat template leaves out what was said ({lost[0]!r})")
        tokens = prompt_tokens(tokenizer, [turns])[0]
        if max(tokens) >= vocabulary:
            raise UserError(
                f"{said}: its tokenizer writes token {max(tokens)}, but the model knows "
                f"{vocabulary} only"
            )
    conversation_tokens(tokenizer, [TRIED[:2]])


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
