"""The same network, rewarded at the end of an episode alone: what PuRL improves on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.ranks.search import Evaluations, Method

if TYPE_CHECKING:
    import numpy as np

    from svdrift.ranks.space import Ranks, Space

METHOD = Method(label="DQN, the end rewarded")


def choose(space: Space, score: Evaluations, rng: np.random.Generator) -> Ranks:
    """Learn until all evaluations are spent (`svdrift.ranks.agent`)."""
    from svdrift.ranks.agent import play

    return play(space, score, rng, dense=False)
