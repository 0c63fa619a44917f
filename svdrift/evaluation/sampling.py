"""Replies sampled from a checkpoint: several to a problem, judged, as new data for training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from svdrift.compute import device_argument
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.backend import Generate, make_generate
from svdrift.models.chat import prompt_tokens, reply_texts, stop_tokens
from svdrift.models.generation import generate as batched
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.models.settings import GenerationSettings
from svdrift.scripting import progress, settings_argument
from svdrift.tasks import Problem, Task, Verdict, make_task, task_argument

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DERIVED = ["reply", "sample", "solved", "checkpoint"]  # columns that sampled replies add
BATCHES = 8  # of rows between two lines of the log


def sample_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    table: pd.DataFrame,
    *,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    batch_size: int = 256,
    generate: Generate = batched,
) -> pd.DataFrame:
    """Ask a model for replies to each problem, without feedback, and judge them.

    The random numbers of a reply come from the seed, the problem's id and the number of the sample,
    so that it depends neither on the other problems nor on how many samples are drawn.

    Args:
        model: on any device.
        tokenizer: of the model.
        task: whose prompts are posed and whose verifier judges.
        table: one row a problem.
        samples: replies to each problem.
        temperature: of sampling; 0 for greedy decoding.
        max_new_tokens: longest reply.
        seed: of sampling.
        batch_size: most rows computed together; it changes no reply.
        generate: what writes the replies.

    Returns:
        Each row of `table`, `samples` times in a row, with `reply`, `sample` (from 1) and `solved`.
        The index counts the rows of `table`, from 0.
    """
    problems = task.read(table)
    tokens = sample_tokens(
        model,
        tokenizer,
        prompt_tokens(tokenizer, [[task.first_turn(problem)] for problem in problems]),
        table["problem"].astype(str).tolist(),
        samples=samples,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        seed=seed,
        batch_size=batch_size,
        generate=generate,
    )
    places = np.repeat(np.arange(len(table)), samples)
    replies = reply_texts(tokenizer, tokens)
    verdicts = judged(task, [problems[place] for place in places], replies)
    return (
        table.reset_index(drop=True)
        .iloc[places]
        .assign(
            reply=replies,
            sample=np.tile(np.arange(1, samples + 1), len(table)),
            solved=[verdict.solved for verdict in verdicts],
        )
    )


def sample_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    ids: Sequence[str],
    *,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    batch_size: int = 256,
    generate: Generate = batched,
) -> list[list[int]]:
    """The tokens of `samples` replies to each prompt, in a row; see `sample_replies`.

    Args:
        prompts: token ids.
        ids: of the problems, from which the noise comes.
    """
    places = np.repeat(np.arange(len(prompts)), samples)
    numbers = np.tile(np.arange(1, samples + 1), len(prompts))
    block = BATCHES * batch_size
    found: list[list[int]] = []
    for first in progress(
        range(0, len(places), block), -(-len(places) // block), "sampling replies"
    ):
        rows = range(first, min(first + block, len(places)))
        uniforms = (
            torch.from_numpy(
                np.stack(
                    [_uniforms(seed, ids[places[r]], numbers[r], max_new_tokens) for r in rows]
                )
            )
            if temperature > 0
            else None
        )
        found += generate(
            model,
            [prompts[places[row]] for row in rows],
            max_new_tokens=max_new_tokens,
            stop_ids=stop_tokens(model, tokenizer),
            pad_id=int(tokenizer.pad_token_id or 0),
            temperature=temperature,
            uniforms=uniforms,
            batch_size=batch_size,
        )
    return found


def judged(task: Task, problems: Sequence[Problem], replies: Sequence[str]) -> list[Verdict]:
    """The verifier's judgement of each reply to its problem."""
    return [task.verify(problem, reply) for problem, reply in zip(problems, replies, strict=True)]


def _uniforms(seed: int, problem: str, sample: int, count: int) -> np.ndarray:
    """The sampling noise of one reply, by position."""
    return np.random.default_rng([seed, int(sample), *problem.encode()]).random(count)


def without_replies(table: pd.DataFrame) -> pd.DataFrame:
    """The problems of a table that may hold replies to them, each problem once."""
    own = table.drop(columns=[name for name in DERIVED if name in table.columns])
    return own[~own.astype(str).duplicated()].reset_index(drop=True)


def keep_replies(
    replies: pd.DataFrame,
    *,
    verified: bool,
    distinct: bool,
    per_problem: int | None,
    count: int | None,
    seed: int,
) -> pd.DataFrame:
    """The replies to learn from, in order.

    Args:
        replies: of `sample_replies`, whose index says which rows belong to one problem.
        verified: drop replies that are not solved.
        distinct: keep each text once a problem, where it comes first.
        per_problem: most replies kept for a problem, the first ones; None for all.
        count: most replies kept in all, drawn at random after everything else; None for all.
        seed: of the draw.
    """
    kept = replies[replies["solved"]] if verified else replies
    if distinct:
        texts = pd.MultiIndex.from_arrays([kept.index, kept["reply"]])
        kept = kept[~texts.duplicated()]
    if per_problem is not None:
        kept = kept[kept.groupby(level=0).cumcount() < per_problem]
    if count is not None and count < len(kept):
        generator = np.random.default_rng([seed, *b"replies"])
        kept = kept.iloc[np.sort(generator.choice(len(kept), count, replace=False))]
    return kept.reset_index(drop=True)


def pass_rates(replies: pd.DataFrame) -> pd.Series[float]:
    """The share of solved replies to each problem, by the index of `sample_replies`."""
    by_problem = replies["solved"].groupby(level=0)
    return by_problem.sum() / by_problem.size()


def split_by_rate(
    table: pd.DataFrame, rates: pd.Series[float], at_least: float, at_most: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Problems whose rate lies within the bounds, and the others, both with column `pass_rate`.

    Args:
        table: of problems.
        rates: of each row, in order.
        at_least, at_most: bounds; a rate that equals one lies within.
    """
    rated = table.assign(pass_rate=rates.to_numpy())
    within = rated["pass_rate"].between(at_least, at_most)
    return rated[within].reset_index(drop=True), rated[~within].reset_index(drop=True)


def sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a script needs for `ask`, beside its own settings."""
    task_argument(parser)
    settings_argument(parser, GenerationSettings, "--generation")
    parser.add_argument(
        "--max-reply-tokens", type=int, required=True, help="longest reply, in tokens"
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--checkpoint", required=True, help="its id, such as sft-64")
    parser.add_argument("--problems", type=Path, required=True, help="one row a problem (parquet)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    device_argument(parser)
    dtype_argument(parser)
    parser.add_argument(
        "--batch-size",
        type=int,
        default=256,
        help="most replies computed together; it changes none of them (default: 256)",
    )


def ask(
    args: argparse.Namespace, table: pd.DataFrame, samples: int, temperature: float
) -> pd.DataFrame:
    """Let the checkpoint of `sampling_arguments` reply to a table: see `sample_replies`."""
    generate = make_generate(args.generation, args.model)
    return sample_replies(
        load_model(args.model, dtype=DTYPES[args.dtype]).to(args.device),
        load_tokenizer(args.model),
        make_task(args.task),
        table,
        samples=samples,
        temperature=temperature,
        max_new_tokens=args.max_reply_tokens,
        seed=args.seed,
        batch_size=args.batch_size,
        generate=generate,
    )
