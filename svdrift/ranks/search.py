"""What all methods share: how they are found, what they are given, and the evaluations they count.

A method is a file of `svdrift/ranks/methods/`, or a .py file of your own. It has

- `METHOD`, a `Method`;
- `choose(space, score, rng) -> Ranks`: ranks that fit the budget.

A method that searches calls `score` until nothing is left of it; a rule does not call it at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, cast

from svdrift import plugins
from svdrift.errors import UserError

if TYPE_CHECKING:
    from svdrift.ranks.space import Ranks, Space

ROOM = "svdrift.ranks.methods"


@dataclass(frozen=True)
class Method:
    """What tables and the workflow know of a method.

    Attributes:
        label: in words.
        searches: whether it evaluates models; else it is a rule on singular values.
    """

    label: str
    searches: bool = True


class Tried(NamedTuple):
    """One evaluation."""

    ranks: Ranks
    score: float


class Evaluations:
    """A score that can be asked a limited number of times, the same for every method.

    Args:
        score: the quality of ranks; more is better. Asking again costs again.
        limit: how often it may be asked.
    """

    def __init__(self, score: Callable[[Ranks], float], limit: int) -> None:
        self._score = score
        self.limit = limit
        self.tried: list[Tried] = []

    @property
    def left(self) -> int:
        """How often it may still be asked."""
        return self.limit - len(self.tried)

    def __call__(self, ranks: Ranks) -> float:
        """Evaluate ranks.

        Raises:
            ValueError: nothing is left.
        """
        if not self.left:
            raise ValueError(f"all {self.limit} evaluations are spent")
        self.tried.append(Tried(ranks, self._score(ranks)))
        return self.tried[-1].score

    def best(self, space: Space) -> Ranks:
        """The ranks with the highest score among those that fit; of equals the first.

        Raises:
            UserError: none of them fits.
        """
        fitting = [one for one in self.tried if space.fits(one.ranks)]
        if not fitting:
            raise UserError(
                f"evaluations: none of {self.limit} led to ranks that fit the cost "
                f"{space.budget:g} (allowed: more than the {len(space.subjects)} matrices)"
            )
        return max(fitting, key=lambda one: one.score).ranks


def load(name: str) -> ModuleType:
    """The module of a method, by its name or the path of a file.

    Raises:
        UserError: there is no such method; the message lists the known ones.
    """
    return plugins.load(ROOM, name, holds=("METHOD", "choose"))


def method(name: str) -> Method:
    """The record of a method; see `load`."""
    return cast(Method, load(name).METHOD)
