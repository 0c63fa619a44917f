"""Simulated checkpoints that play problems in groups, each with a true share of solved ones.

The ease of a group for a checkpoint is Beta distributed with the checkpoint's true share as mean,
and a problem is solved with that probability, so that the solved problems of a group are
beta-binomial. Ease and luck are correlated between checkpoints (a Gaussian copula), as those of
models with a common ancestor are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.special import betaincinv, ndtr

from svdrift.evaluation.accuracy import Floats
from svdrift.evaluation.comparisons import WeightedSum, sum_over_clusters
from tests.evaluation.episode_tables import tries

ALIKE_GROUPS = 0.7  # correlation between checkpoints of the ease of groups
ALIKE_PROBLEMS = 0.5  # and of the luck with problems


@dataclass(frozen=True)
class Design:
    """How many problems there are, in how many groups.

    `size` is the mean number of problems of a group: 1 + Poisson, or where `uneven` geometric.
    `clustering` is the correlation of two problems of one group, for one checkpoint.
    """

    groups: int = 100
    size: float = 5.0
    uneven: bool = False
    clustering: float = 0.3


class Deal:
    """Problems of one split, which several checkpoints play; the same ones by each."""

    def __init__(
        self, rng: np.random.Generator, design: Design = Design(), split: str = "ood_test"
    ) -> None:
        if design.uneven:
            sizes = rng.geometric(1 / design.size, design.groups)
        else:
            sizes = 1 + rng.poisson(design.size - 1, design.groups)
        self.sizes: Floats = sizes.astype(float)
        self.group = np.repeat(np.arange(design.groups), sizes)
        self._rng = rng
        self._design = design
        self._ease = rng.standard_normal(design.groups)
        self._luck = rng.standard_normal(len(self.group))
        self._split = split

    def solved(self, share: float) -> np.ndarray:
        """Whether a checkpoint with this true share solves each problem."""
        total = 1 / self._design.clustering - 1
        ease = betaincinv(share * total, (1 - share) * total, self._mixed(self._ease, ALIKE_GROUPS))
        solved: np.ndarray = self._mixed(self._luck, ALIKE_PROBLEMS) < ease[self.group]
        return solved

    def table(self, solved: np.ndarray, checkpoint: str) -> pd.DataFrame:
        """The same as episodes."""
        return tries(solved, self.group, checkpoint, self._split)

    def by_group(self, outcomes: np.ndarray) -> Floats:
        """Sums over the problems of each group."""
        return np.bincount(self.group, outcomes)

    def weighted(self, *terms: tuple[float, np.ndarray]) -> WeightedSum:
        """What `weighted_sum` gives for the tables of these (weight, solved), without them."""
        sums = self.by_group(sum(weight * solved for weight, solved in terms))
        return sum_over_clusters(sums, self.sizes, [weight for weight, _ in terms])

    def difference(self, shares: Sequence[float]) -> WeightedSum:
        """A checkpoint with the first true share minus one with the second."""
        one, two = (self.solved(share) for share in shares)
        return self.weighted((1.0, one), (-1.0, two))

    def _mixed(self, common: Floats, correlation: float) -> Floats:
        """Uniform numbers that correlate between checkpoints, through what is common to them."""
        own = self._rng.standard_normal(len(common))
        uniform: Floats = ndtr(np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)
        return uniform


@cache
def standard_error(design: Design, share: float) -> float:
    """Of the difference between two checkpoints of one share, over new problems; simulated."""
    rng = np.random.default_rng(0)
    differences = [Deal(rng, design).difference((share, share)).value for _ in range(1000)]
    return float(np.std(differences))
