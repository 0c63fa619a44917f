"""Greedy by sensitivity: step by step the change that gains most for its cost.

Lazy (Minoux 1978): a gain that was measured before the last step is measured again only when it
leads. What is left of the evaluations goes to exchanges between matrices.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from svdrift.ranks.search import Evaluations, Method

if TYPE_CHECKING:
    import numpy as np

    from svdrift.ranks.space import Ranks, Space

METHOD = Method(label="greedy by sensitivity")
LEAST_COST = 1e-12  # of a step that changes no rank


def choose(space: Space, score: Evaluations, rng: np.random.Generator) -> Ranks:
    """Raise from nothing (`repair`) or lower from everything (`keep`), then exchange."""
    picked = _steps(space, score)
    best = score(space.ranks(picked))
    while score.left:
        other = _exchanged(picked, space, rng)
        value = score(space.ranks(other))
        if value > best:
            picked, best = other, value
    return score.best(space)


def _steps(space: Space, score: Evaluations) -> np.ndarray:
    """Choices by number, once no step is left that fits; one evaluation is left for them."""
    import numpy as np

    size, step = len(space.subjects), 1 if space.task == "repair" else -1
    picked = np.full(size, space.first)
    now = score(space.ranks(picked)) if score.left > 1 else 0.0
    gains = np.full(size, math.inf)  # for their cost, as they were last measured
    after = np.full(size, now)  # the score with that step
    fresh = np.zeros(size, dtype=bool)  # whether that was since the last step
    while (open_ := _open(picked, step, space)).any():
        i = int(np.where(open_, gains, -math.inf).argmax())
        if not fresh[i] and score.left > 1:
            tried = picked.copy()
            tried[i] += step
            cost = abs(space.costs[i, tried[i]] - space.costs[i, picked[i]])
            after[i] = score(space.ranks(tried))
            gains[i], fresh[i] = (after[i] - now) / max(cost, LEAST_COST), True
            continue
        picked[i] += step
        now = after[i] if fresh[i] else now
        fresh[:] = False
    return picked


def _open(picked: np.ndarray, step: int, space: Space) -> np.ndarray:
    """Matrices that may take a step: up while it fits, or down until they fit."""
    import numpy as np

    rows = np.arange(len(picked))
    spent = space.costs[rows, picked].sum()
    found: np.ndarray
    if step < 0:
        found = np.logical_and(picked > 0, not space.affords(spent))
        return found
    higher = np.minimum(picked + 1, len(space.choices) - 1)
    after = spent + space.costs[rows, higher] - space.costs[rows, picked]
    found = np.logical_and(higher > picked, [space.affords(cost) for cost in after])
    return found


def _exchanged(picked: np.ndarray, space: Space, rng: np.random.Generator) -> np.ndarray:
    """One matrix a level higher, and others at random lower until all fit."""
    found = picked.copy()
    i = rng.integers(len(found))
    found[i] = min(found[i] + 1, len(space.choices) - 1)
    return space.fit(found, rng)
