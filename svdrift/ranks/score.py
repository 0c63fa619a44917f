"""How good a model is while ranks are chosen: a number for it as it is, more is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from svdrift.evaluation.episodes import run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.backend import Generate
from svdrift.models.losses import IGNORED, pad, summed_loss, tokenise
from svdrift.tasks import Task
from svdrift.tasks.base import demonstrations

UNITS = {"accuracy": "share solved", "likelihood": "minus loss (nats per token)"}


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    splits: Sequence[pd.DataFrame],
    *,
    max_new_tokens: int,
    settings: EvaluationSettings,
    seed: int,
    generate: Generate,
) -> Callable[[], float]:
    """A function that lets the model reply: the share solved at the first try, mean of splits.

    Args:
        splits: problems; all of them are decoded together.
        max_new_tokens, settings, seed, generate: see `run_episodes`.
    """
    together = pd.concat(list(splits), ignore_index=True)
    sizes = [len(problems) for problems in splits]

    def score() -> float:
        played = run_episodes(
            model,
            tokenizer,
            task,
            together,
            tries=1,
            max_new_tokens=max_new_tokens,
            settings=settings,
            seed=seed,
            generate=generate,
        )
        parts = torch.tensor(played["solved"].to_numpy(float)).split(sizes)
        return float(torch.stack([part.mean() for part in parts]).mean())

    return score


def likelihood(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    splits: Sequence[pd.DataFrame],
) -> Callable[[], float]:
    """A function that scores demonstrations: minus the loss of their replies, mean of splits.

    For models that solve nothing, which all have the same accuracy.

    Args:
        splits: problems, which are tokenised once; a forward pass for each.
    """
    batches = [pad(tokenise(tokenizer, demonstrations(task, problems))) for problems in splits]

    @torch.inference_mode()
    def score() -> float:
        found = 0.0
        for batch in batches:
            tokens, labels = (part.to(model.device) for part in batch)
            # Padding stands on the right, where causal attention never looks.
            logits = model(tokens, use_cache=False).logits
            found -= (summed_loss(logits, labels) / (labels[:, 1:] != IGNORED).sum()).item()
        return found / len(batches)

    return score
