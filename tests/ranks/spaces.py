"""Spaces and scores whose best ranks are known."""

import numpy as np

from svdrift.ranks.search import Evaluations
from svdrift.ranks.space import Ranks, Space, Subject

WEIGHTS = (4.0, 0.5, 3.0, 2.0)
"""The heaviest come early, so that the best ranks are also those that the agent's reward, a sum of
running scores, pays most for: see `test_the_reward_of_every_step_pays_for_early_gains`."""


def matrix(values: list[float], shape: tuple[int, int] | None = None, layer: int = 0) -> Subject:
    size = len(values)
    return Subject(layer, "q", shape or (size, size), np.array(values))


def knapsack(task: str) -> Space:
    """Four matrices of ten ranks; the budget is what the two heaviest cost in full.

    In `keep` the two lightest have rank 1 each, which costs a fifth of a matrix.
    """
    subjects = tuple(matrix([1.0] * 10, layer=i) for i in range(4))
    budget = 0.5 if task == "repair" else 0.6
    return Space(task, subjects, budget, (0.0, 0.5, 1.0))  # type: ignore[arg-type]


def worth(space: Space, ranks: Ranks) -> float:
    """Weights times the share of what each matrix costs: the best is to fill the heaviest."""
    costs = [min(k * 20, 100) / 100 if space.task == "keep" else k / 10 for k in ranks]
    return float(np.dot(WEIGHTS, costs))


def evaluations(space: Space, limit: int) -> Evaluations:
    return Evaluations(lambda ranks: worth(space, ranks), limit)
