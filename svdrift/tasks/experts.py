"""Other experts than the task's own, whose demonstration is always its gold reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from svdrift.errors import UserError

if TYPE_CHECKING:
    from svdrift.tasks.base import Task
    from svdrift.tasks.probing import Probing

CHOICES = "choices"
"""Column of the replies that the row's `reply` was drawn from, each as likely."""


def uniform(table: pd.DataFrame, task: Task, probing: Probing, seed: int) -> pd.DataFrame:
    """Demonstrations by an expert who gives one of all right replies, each as likely.

    Args:
        table: of problems.
        task: reads them.
        probing: lists right replies.
        seed: of the draws; that for a problem does not depend on the other ones.

    Returns:
        The table with the columns `reply` and `CHOICES`.

    Raises:
        UserError: a problem has no right reply that can be listed.
    """
    replies, choices = [], []
    for name, problem in zip(table["problem"], task.read(table), strict=True):
        known = list(probing.replies(problem))
        if not known:
            raise UserError(f"expert: no right reply to {name} can be listed")
        generator = np.random.default_rng([seed, *str(name).encode()])
        replies.append(known[generator.integers(len(known))])
        choices.append(known)
    return table.assign(reply=replies, **{CHOICES: pd.Series(choices, index=table.index)})
