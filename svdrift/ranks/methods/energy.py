"""The same share of the energy (squared singular values) in every matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.ranks.search import Evaluations, Method

if TYPE_CHECKING:
    import numpy as np

    from svdrift.ranks.space import Ranks, Space

METHOD = Method(label="equal energy", searches=False)


def choose(space: Space, score: Evaluations, rng: np.random.Generator) -> Ranks:
    """In each matrix the fewest leading ranks that hold the largest share of energy that fits."""
    import numpy as np

    def count(values: np.ndarray, share: float) -> int:
        energy = np.cumsum(values.astype(float) ** 2)
        if share <= 0 or energy[-1] == 0:
            return 0
        return int(np.searchsorted(energy, share * energy[-1] * (1 - 1e-12))) + 1

    return space.by_rule(lambda one, share: count(one.values, share))
