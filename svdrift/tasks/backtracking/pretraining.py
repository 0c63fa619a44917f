"""Pretraining examples: those of the card game, and traces from given numbers.

`... numbers 3 10 5 1 search` -> `3 10 5 1 ; 3 * 5 = 15 , ... : ( 3 * 5 ) + ( 10 - 1 )`, with any
number of dead ends, so that every variant of a demonstration is made of skills that are there.
Cards never come with a trace.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from svdrift.tasks.backtracking.traces import trace
from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.game import Multiset
from svdrift.tasks.general_points.pretraining import Mixture

if TYPE_CHECKING:
    from svdrift.tasks.backtracking.settings import SkillsSettings

SEARCH = "search"
"""Compact marker of pretraining: asks for the given numbers, a trace and a formula."""
SEARCH_SHARE = 0.4
"""Share of examples with a trace, which are several times as long as the others."""


class TracedMixture(Mixture):
    """A seeded source of examples.

    Args:
        settings, held_out, seed: as of the card game's mixture.
    """

    def __init__(self, settings: SkillsSettings, held_out: Collection[Multiset], seed: int) -> None:
        super().__init__(settings, held_out, seed)
        self._most = settings.most_dead_ends

    def example(self) -> list[str]:
        """Turns [user, reply], or as of the card game."""
        if self._random.random() >= SEARCH_SHARE:
            return super().example()
        parts = None
        while parts is None:
            numbers, target, formula = self._solvable()
            count = self._random.randint(0, self._most)
            parts = trace(numbers, formula, target, "right", count, self._random)
        prompt = prompts.compact_prompt(self._rule(), target, "numbers", numbers, SEARCH)
        return [prompt, traced_reply(numbers, parts, formula)]


def traced_reply(numbers: Sequence[int], parts: Sequence[str], formula: str) -> str:
    """`3 10 5 1 ; 3 * 5 = 15 , 10 - 1 = 9 , 15 + 9 = 24 : ( 3 * 5 ) + ( 10 - 1 )`."""
    if not parts:
        return prompts.compact_reply(numbers, formula)
    return f"{' '.join(map(str, numbers))} ; {' , '.join(parts)} : {formula}"
