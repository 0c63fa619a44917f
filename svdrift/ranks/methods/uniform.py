"""The same share of the ranks in every matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.ranks.search import Evaluations, Method

if TYPE_CHECKING:
    import numpy as np

    from svdrift.ranks.space import Ranks, Space

METHOD = Method(label="uniform share", searches=False)


def choose(space: Space, score: Evaluations, rng: np.random.Generator) -> Ranks:
    """The largest share that fits."""
    from svdrift.spectra.angles import rank_count

    return space.by_rule(lambda one, share: rank_count(share, one.rank))
