"""The cross-entropy method for discrete choices (de Boer et al. 2005, sections 2.3 and 4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from svdrift.ranks.search import Evaluations, Method

if TYPE_CHECKING:
    import numpy as np

    from svdrift.ranks.space import Ranks, Space

METHOD = Method(label="cross-entropy method")
POPULATION = 20
ELITE = 0.2  # share of the population
SMOOTHING = 0.7  # weight of the elite in the new distribution
OPEN = 0.05  # weight of the uniform distribution, so that no choice dies out


def choose(space: Space, score: Evaluations, rng: np.random.Generator) -> Ranks:
    """Draw choices from a distribution for each matrix, and move it towards the best of them."""
    import numpy as np

    size, count = len(space.subjects), len(space.choices)
    chances = np.full((size, count), 1 / count)
    while score.left:
        drawn, scores = [], []
        for _ in range(min(POPULATION, score.left)):
            picked = np.array([rng.choice(count, p=row) for row in chances])
            picked = space.fit(picked, rng)
            drawn.append(picked)
            scores.append(score(space.ranks(picked)))
        order = np.argsort(-np.array(scores), kind="stable")
        elite = np.array(drawn)[order[: math.ceil(ELITE * len(drawn))]]
        shares = (elite[:, :, None] == np.arange(count)).mean(axis=0)
        chances = SMOOTHING * shares + (1 - SMOOTHING) * chances
        chances = (1 - OPEN) * chances + OPEN / count
    return score.best(space)
