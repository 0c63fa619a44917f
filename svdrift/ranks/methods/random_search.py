"""Random search (Bergstra & Bengio 2012): the best of choices that are drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.ranks.search import Evaluations, Method

if TYPE_CHECKING:
    import numpy as np

    from svdrift.ranks.space import Ranks, Space

METHOD = Method(label="random search")


def choose(space: Space, score: Evaluations, rng: np.random.Generator) -> Ranks:
    """Draw each matrix's choice uniformly, and lower some at random until all fit."""
    size = len(space.subjects)
    while score.left:
        picked = rng.integers(len(space.choices), size=size)
        score(space.ranks(space.fit(picked, rng)))
    return score.best(space)
