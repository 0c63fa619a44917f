"""One threshold for the singular values of all matrices, relative to each one's Frobenius norm.

A global threshold on magnitudes, with a minimum for each layer, does as well as pruning that is
searched for, by arXiv 2209.14624, whose first author is PuRL's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.ranks.search import Evaluations, Method

if TYPE_CHECKING:
    import numpy as np

    from svdrift.ranks.space import Ranks, Space

METHOD = Method(label="one global threshold", searches=False)


def choose(space: Space, score: Evaluations, rng: np.random.Generator) -> Ranks:
    """Ranks with s_i / |W|_F of at least the lowest threshold that fits."""
    import numpy as np

    def count(values: np.ndarray, parameter: float) -> int:
        norm = float(np.linalg.norm(values.astype(float)))
        return int((values > (1 - parameter) * norm).sum()) if norm else 0

    return space.by_rule(lambda one, parameter: count(one.values, parameter))
