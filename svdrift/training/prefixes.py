"""Beginnings of gold replies that RL is given, so that it solves hard problems at times.

The second stage of SPARKLE (arXiv 2506.04723): an episode's first reply begins with some quarters
of the gold reply. They are not sampled, so they carry no loss and no log-probability; the verifier
judges the whole reply.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from svdrift.tasks.base import Problem, Task
from svdrift.training.draws import PREFIXES, generator
from svdrift.training.rollout import Episode


def draw_quarters(allowed: Sequence[int], count: int, seed: int, update: int) -> np.ndarray:
    """How many quarters each of `count` problems of an update (from 1) is given, [count].

    All that are allowed come equally often, but for one time.
    """
    dealt = np.resize(np.array(allowed), count)
    return generator(seed, PREFIXES, update).permutation(dealt)


def begin_replies(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: Sequence[Problem],
    quarters: np.ndarray,
) -> list[list[int]]:
    """The first quarters of each problem's gold reply as tokens, rounded down to whole ones."""
    begun: list[list[int]] = [[] for _ in problems]
    for place in np.flatnonzero(quarters).tolist():
        gold = task.gold_reply(problems[place])
        tokens = tokenizer(gold, add_special_tokens=False)["input_ids"]
        begun[place] = list(tokens[: len(tokens) * int(quarters[place]) // 4])
    return begun


def solved_by_quarters(
    episodes: Sequence[Episode], quarters: np.ndarray, allowed: Sequence[int]
) -> dict[str, float]:
    """Shares of episodes that are solved: `solved_after_0_quarters`, ..., of those allowed.

    Args:
        episodes: of the update, of all processes.
        quarters: that each of them was given.
        allowed: the settings' quarters; where all are 0 the result is empty.

    Returns:
        NaN where an update has no episode with so many quarters.
    """
    if not any(allowed):
        return {}
    solved = np.array([episode.solved for episode in episodes], dtype=float)
    return {
        f"solved_after_{number}_quarters": float(
            solved[quarters == number].mean() if (quarters == number).any() else np.nan
        )
        for number in sorted(set(allowed))
    }
