"""Episodes of a model on saved problems: every try's text and verdict, one row a try."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.backend import Generate
from svdrift.models.chat import prompt_tokens, reply_texts, stop_tokens
from svdrift.models.generation import generate as batched
from svdrift.models.losses import IGNORED, pad, summed_loss, tokenise
from svdrift.tasks import Task
from svdrift.tasks.splits import Split

LOGITS = 2**28  # of one forward for losses, at most: 1 GiB in float32
LABELS = ["problem", "group", "subsets"]  # columns copied from the problems


def run_episodes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: pd.DataFrame,
    *,
    tries: int,
    max_new_tokens: int,
    settings: EvaluationSettings,
    seed: int = 0,
    generate: Generate = batched,
) -> pd.DataFrame:
    """Let `model` reply to every problem, with the verifier's feedback after a wrong reply.

    All problems are decoded together, try by try; a solved one takes no further part.

    Returns:
        One row a try: the labels of the problem, `try_number` (from 1), `reply`, `solved`,
        `reward`, `fault`, `translated`.
    """
    posed = task.read(problems)
    labels = [dict(zip(LABELS, row, strict=True)) for row in problems[LABELS].to_numpy().tolist()]
    conversations: list[list[str]] = [[task.first_turn(problem)] for problem in posed]
    playing = list(range(len(posed)))
    rows: list[dict[str, object]] = []
    for try_number in range(1, tries + 1):
        replies = _replies(
            model,
            tokenizer,
            [conversations[i] for i in playing],
            settings,
            _uniforms(len(posed), max_new_tokens, (seed, try_number))[playing],
            generate,
        )
        verdicts = [task.verify(posed[i], reply) for i, reply in zip(playing, replies, strict=True)]
        for i, reply, verdict in zip(playing, replies, verdicts, strict=True):
            rows.append(
                {
                    **labels[i],
                    "try_number": try_number,
                    "reply": reply,
                    "solved": verdict.solved,
                    "reward": verdict.reward,
                    "fault": verdict.fault,
                    "translated": verdict.translated,
                }
            )
            conversations[i] += [reply, verdict.feedback]
        playing = [i for i, verdict in zip(playing, verdicts, strict=True) if not verdict.solved]
        if not playing:
            break
    return pd.DataFrame(rows)


def label(played: pd.DataFrame, checkpoint: str, split: Split) -> None:
    """Say in the first columns of an episode table who replied, and to what."""
    for place, (name, value) in enumerate(
        {
            "checkpoint": checkpoint,
            "split": split.name,
            "role": split.role,
            "shift": split.shift,
        }.items()
    ):
        played.insert(place, name, value)


def _replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[str]],
    settings: EvaluationSettings,
    uniforms: torch.Tensor,
    generate: Generate,
) -> list[str]:
    tokens = generate(
        model,
        prompt_tokens(tokenizer, conversations),
        max_new_tokens=uniforms.shape[1],
        stop_ids=stop_tokens(model, tokenizer),
        pad_id=int(tokenizer.pad_token_id or 0),
        temperature=settings.temperature,
        uniforms=uniforms if settings.temperature > 0 else None,
        batch_size=settings.batch_size,
    )
    return reply_texts(tokenizer, tokens)


def _uniforms(problems: int, max_new_tokens: int, seed: tuple[int, int]) -> torch.Tensor:
    """Sampling noise by problem and position: a problem's reply depends on no other problem."""
    generator = torch.Generator().manual_seed(seed[0] * 1000 + seed[1])
    return torch.rand(problems, max_new_tokens, generator=generator, dtype=torch.float64)


def reply_loss(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    batch_size: int,
) -> float:
    """Mean loss (nats per reply token) on (prompt, reply) pairs: the objective of SFT.

    Args:
        batch_size: most pairs in a forward pass; fewer where a large vocabulary would need more
            memory than `LOGITS` does.
    """
    examples = tokenise(tokenizer, pairs)
    longest = max(len(tokens) for tokens, _ in examples)
    rows = max(1, min(batch_size, LOGITS // (longest * len(tokenizer))))
    total, count = 0.0, 0
    for first in range(0, len(examples), rows):
        tokens, labels = (part.to(model.device) for part in pad(examples[first : first + rows]))
        with torch.inference_mode():
            # Padding stands on the right, where causal attention never looks.
            logits = model(tokens, use_cache=False).logits
        total += summed_loss(logits, labels).item()
        count += int((labels[:, 1:] != IGNORED).sum())
    return total / count
