"""Groups that fail are given beginnings of the gold reply (TRAPO, arXiv 2512.17636).

A group plays in micro-groups, one after another. Where too few of a problem's episodes were solved
so far, the next micro-group begins with a part of the gold reply, the later the longer. What is
given is not sampled. It may be learned from by a loss of its own, each beginning once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from svdrift.errors import UserError
from svdrift.tasks.base import Problem, Task
from svdrift.training.grpo.settings import GuidanceSettings
from svdrift.training.rollout import Episode
from svdrift.training.trsft import trsft, trsft_weights


def micro_groups(rollouts: Sequence[int], groups: int) -> list[np.ndarray]:
    """Places of the episodes of each micro-group, [groups, rollouts of it], in order of play."""
    ends = np.cumsum(rollouts)
    first = np.arange(groups)[:, None] * ends[-1]
    return [first + np.arange(end - count, end) for end, count in zip(ends, rollouts, strict=True)]


def beginning(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problem: Problem,
    share: float,
    after: str | None,
) -> list[int]:
    """The first tokens of a gold reply: all up to `after`, and a share of the rest, rounded down.

    Nothing where the share is 0.

    Raises:
        UserError: the gold reply does not have `after`.
    """
    if share == 0:
        return []
    gold = task.gold_reply(problem)
    before, found, _ = gold.partition(after) if after else ("", "", gold)
    if after and not found:
        raise UserError(f"guidance.after: no {after!r} in the gold reply {gold!r}")
    tokens, first = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in (gold, before + found)
    )
    return list(tokens[: len(first) + int((len(tokens) - len(first)) * share)])


def needs(solved: np.ndarray, below: float) -> np.ndarray:
    """Which groups are given something: those with a smaller share solved so far.

    Args:
        solved: [groups, episodes so far].
        below: share.
    """
    wanting: np.ndarray = solved.mean(axis=1) < below
    return wanting


def learned(lengths: np.ndarray, group_size: int) -> np.ndarray:
    """Lengths of what was given, [N], with 0 for all but the first of equal ones in a group."""
    groups = lengths.reshape(-1, group_size)
    equal = groups[:, :, None] == groups[:, None, :]
    first = equal.argmax(axis=2) == np.arange(group_size)
    return np.where(first, groups, 0).reshape(-1)


def beginning_losses(log_probs: Tensor, mask: Tensor, settings: GuidanceSettings) -> Tensor:
    """The loss of each token that was given, in nats, and 0 elsewhere.

    Args:
        log_probs: [episodes, tokens] under the model.
        mask: where tokens are learned from.
        settings: which loss; `scaled_nll` has one weight for all (`equal_weight`).
    """
    if settings.loss == "trsft":
        losses = trsft(log_probs, settings.alpha)
    elif settings.loss == "scaled_nll" and mask.any():
        losses = -log_probs * equal_weight(log_probs[mask], settings.alpha)
    else:
        losses = -log_probs
    return losses * mask


def equal_weight(log_probs: Tensor, alpha: float) -> Tensor:
    """The weight at which plain SFT's gradients of tokens are in sum as large as TrSFT's.

    The mean of TrSFT's weights in which a token of probability p counts 1 - p, which is how far the
    gradient of log p goes with respect to the token's own logit.

    Args:
        log_probs: [tokens] of those that are learned from.
        alpha: of TrSFT.
    """
    sizes = 1 - log_probs.detach().exp()
    smallest = torch.finfo(sizes.dtype).tiny  # where all are certain, no weight is needed
    return (trsft_weights(log_probs, alpha) * sizes).sum() / sizes.sum().clamp(min=smallest)


def measures(
    episodes: Sequence[Episode], lengths: np.ndarray, log_probs: np.ndarray, alpha: float
) -> dict[str, float]:
    """What was given and what came of it.

    Args:
        episodes: of the update, of all processes.
        lengths: of what each was given, in tokens.
        log_probs: [tokens] of what is learned from, under the policy that played.
        alpha: of TrSFT.

    Returns:
        `guided_share` of episodes, `solved_free` and `solved_guided`, shares of those without and
        with a beginning; of the tokens of beginnings, each counted once in a group: their number
        `given_tokens`, mean `given_probability`, share `given_below_alpha`, and mean weight under
        TrSFT, `given_weight`. NaN where there is none.
    """
    solved, guided = np.array([episode.solved for episode in episodes]), lengths > 0
    probabilities = np.exp(log_probs)
    return {
        "guided_share": float(guided.mean()),
        "solved_free": _mean(solved[~guided]),
        "solved_guided": _mean(solved[guided]),
        "given_tokens": float(len(log_probs)),
        "given_probability": _mean(probabilities),
        "given_below_alpha": _mean(probabilities < alpha),
        "given_weight": _mean(np.minimum(1, probabilities / alpha)),
    }


def mask_of(lengths: np.ndarray, completions: Tensor) -> Tensor:
    """The first `lengths` tokens of each completion, [episodes, tokens]."""
    counts = torch.from_numpy(lengths).to(completions.device)
    return torch.arange(completions.size(1), device=completions.device) < counts[:, None]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
