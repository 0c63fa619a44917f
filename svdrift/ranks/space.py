"""What is chosen: a rank for each matrix, within a budget of cost.

Two tasks. `repair` puts the leading directions of an anchor into a target: it costs the share of
all ranks that are replaced, and begins with none. `keep` keeps the leading singular triplets of one
checkpoint: it costs the share of its parameters, k (m + n) of m n, where an m x n matrix of rank k
that would need more than m n is left whole; it begins with all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from svdrift.errors import UserError
from svdrift.spectra.angles import rank_count

Task = Literal["repair", "keep"]
Ranks = tuple[int, ...]
"""A rank for each matrix, in the order of the space."""
BISECTIONS = 60
ROUNDING = 1e-9  # of costs


class Subject(NamedTuple):
    """A matrix whose rank is chosen, and what a method may know of it."""

    layer: int | None
    module: str
    shape: tuple[int, int]
    values: np.ndarray
    """Singular values, falling: the anchor's in `repair`, its own in `keep`."""
    angle: float = 0.0
    """Mean principal angle (radians) of the leading 10 % of directions to the anchor's."""

    @property
    def rank(self) -> int:
        """The full rank."""
        return min(self.shape)


@dataclass(frozen=True)
class Space:
    """All choices that a method has.

    Attributes:
        task: `repair` or `keep`.
        subjects: the matrices.
        budget: the highest cost, from 0 to 1.
        choices: shares among which searches choose, rising, of the ranks (`repair`) or of the
            parameters (`keep`); the last is 1.

    Raises:
        UserError: even the lowest choices cost more than the budget.
    """

    task: Task
    subjects: tuple[Subject, ...]
    budget: float
    choices: tuple[float, ...]

    def __post_init__(self) -> None:
        least = self.ranks(np.zeros(len(self.subjects), dtype=int))
        if not self.fits(least):
            raise UserError(
                f"cost: {self.budget:g} is below that of the lowest choices, {self.cost(least):.3g}"
            )

    @cached_property
    def levels(self) -> np.ndarray:
        """The rank of each matrix (rows) at each choice (columns)."""
        return np.array([[self._level(one, c) for c in self.choices] for one in self.subjects])

    @cached_property
    def costs(self) -> np.ndarray:
        """What each matrix (rows) adds to the cost at each choice (columns)."""
        prices = [
            [self._price(one, int(rank)) for rank in row]
            for one, row in zip(self.subjects, self.levels, strict=True)
        ]
        return np.array(prices) / self._whole

    @cached_property
    def first(self) -> int:
        """The choice, the same for all matrices, that a model has before anything is done to it."""
        return 0 if self.task == "repair" else len(self.choices) - 1

    @property
    def goal(self) -> Ranks:
        """Every matrix at its full rank: all directions put back, or nothing compressed."""
        return tuple(one.rank for one in self.subjects)

    def ranks(self, picked: Sequence[int] | np.ndarray) -> Ranks:
        """The ranks at a choice for each matrix, given by its number."""
        return tuple(self.levels[np.arange(len(self.subjects)), picked].tolist())

    def usable(self, subject: Subject, rank: int) -> int:
        """The nearest rank that a matrix may have: in `keep` 1 at least, and full if that costs
        no more.
        """  # noqa: D205
        if self.task == "repair":
            return min(max(rank, 0), subject.rank)
        rows, columns = subject.shape
        saves = rank * (rows + columns) < rows * columns
        return max(rank, 1) if saves else subject.rank

    def cost(self, ranks: Ranks) -> float:
        """What ranks cost, from 0 to 1."""
        return sum(map(self._price, self.subjects, ranks)) / self._whole

    def fits(self, ranks: Ranks) -> bool:
        """Whether they cost no more than the budget."""
        return self.affords(self.cost(ranks))

    def affords(self, cost: float) -> bool:
        """Whether the budget covers a cost, up to rounding."""
        return bool(cost <= self.budget + ROUNDING)

    def fit(self, picked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Lower choices of matrices drawn at random, one level each time, until they fit.

        What this leaves of the budget raises others by one level, again at random.

        Args:
            picked: number of the choice for each matrix, shape (matrices,).
            rng: draws them.
        """
        found, rows = picked.copy(), np.arange(len(picked))
        while not self.affords(self.costs[rows, found].sum()):
            found[rng.choice(np.flatnonzero(found))] -= 1
        for i in rng.permutation(np.flatnonzero(found < len(self.choices) - 1)):
            found[i] += 1
            if not self.affords(self.costs[rows, found].sum()):
                found[i] -= 1
        return found

    def largest(self, ranks_at: Callable[[float], Ranks]) -> Ranks:
        """The ranks of the largest parameter that fit, of a rule whose cost rises with it.

        Args:
            ranks_at: the rule; its parameter goes from 0 to 1, where 0 fits.
        """
        low, high = 0.0, 1.0
        if self.fits(ranks_at(high)):
            return ranks_at(high)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.fits(ranks_at(middle)) else (low, middle)
        return ranks_at(low)

    def by_rule(self, rule: Callable[[Subject, float], int]) -> Ranks:
        """The most generous ranks that fit of a rule with one parameter for all matrices.

        Args:
            rule: the rank of a matrix; it rises with the parameter, from 0 to 1.
        """

        def ranks_at(parameter: float) -> Ranks:
            return tuple(self.usable(one, rule(one, parameter)) for one in self.subjects)

        return self.largest(ranks_at)

    def _level(self, subject: Subject, share: float) -> int:
        rows, columns = subject.shape
        if self.task == "repair":
            return rank_count(share, subject.rank)
        most = rows * columns / (rows + columns)
        return self.usable(subject, subject.rank if share == 1 else int(share * most))

    def _price(self, subject: Subject, rank: int) -> int:
        rows, columns = subject.shape
        return rank if self.task == "repair" else min(rank * (rows + columns), rows * columns)

    @cached_property
    def _whole(self) -> int:
        return sum(map(self._price, self.subjects, self.goal))
