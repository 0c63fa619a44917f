"""Pretraining examples for the tiny base model: skills of the game, never their composition.

Kinds of examples, in the compact style; each begins with a rule and a target, as in the game:

- translate: `... cards 3 J 5 9 translate` -> `3 11 5 9`
- solve: `... numbers 3 10 5 1 solve` -> `3 10 5 1 : ( 3 * 5 ) + ( 10 - 1 )`; the numbers are
  repeated first, since otherwise a later stage hardly learns to combine the two skills
- invent: `... numbers solve`, where the reply chooses the numbers itself
- recognise, in the style `raster` alone: `... cards white black ... recognise` -> `3 J 5 9`
- a second try at the first two: a spoilt reply, its feedback, then the right reply.

The marker of the game itself never appears, and neither do held-out value multisets.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from typing import TYPE_CHECKING

from svdrift.tasks.general_points import prompts, raster
from svdrift.tasks.general_points.formula import numbers_in
from svdrift.tasks.general_points.game import (
    LARGEST_NUMBER,
    Multiset,
    Rule,
    deck,
    join,
    multiset,
    value_multisets,
)
from svdrift.tasks.general_points.game import values as values_of
from svdrift.tasks.general_points.solver import canonical_solution
from svdrift.tasks.general_points.verifier import Fault, find_faults, number_faults

if TYPE_CHECKING:
    from svdrift.tasks.general_points.settings import SkillsSettings

TRANSLATE_SHARE, TRANSLATE_AGAIN_SHARE, SOLVE_AGAIN_SHARE = 0.15, 0.04, 0.06
"""Shares of the kinds of examples; the rest, 0.75, are solved at the first try. Second tries are
few because they are twice as long as first ones: with twice as many, the model solved fewer hands
(see below)."""

RECOGNISE_SHARE = 0.3
"""Share of examples in the style `raster` that name drawn cards; the others are as without it."""

INVENTED_SHARE = 0.4
"""Share of first-try solutions whose numbers are chosen by the reply, not given in the prompt. The
model thus learns to read the numbers from the reply, where the translated cards will be. In a
trial (one seed) SFT then solved 39 % of OOD hands at step 16, against 31 % without it."""

FREQUENT_RULES: dict[Rule, float] = {(10, 10, 10): 0.1, (11, 12, 13): 0.6}
"""How often an example has each of these rules; otherwise it has a random one."""

TARGET_SHARE = 0.97
"""How often the target is the game's; otherwise uniform from 1 to LARGEST_NUMBER. With 0.9,
twice as many second tries and 1,500 steps instead of 2,000, the peak of OOD accuracy on selection
hands was 0.33 instead of 0.46 (one seed)."""


class Mixture:
    """A seeded source of examples.

    Args:
        settings: numbers of cards, cards, looks, values and target of the game.
        held_out: value multisets that must not appear.
        seed: of everything that is drawn.
    """

    def __init__(self, settings: SkillsSettings, held_out: Collection[Multiset], seed: int) -> None:
        self._random = Random(seed)
        self._settings = settings
        self._values = settings.values
        self._deck = deck(settings.added_cards)
        self._held_out = held_out
        self._pools = {
            size: [m for m in value_multisets(settings.values, size) if m not in held_out]
            for size in settings.hand_sizes
        }
        self._reached: dict[tuple[int, int], bool] = {}

    def example(self) -> list[str]:
        """Turns [user, reply] or [user, spoilt reply, feedback, reply]."""
        if self._settings.looks and self._random.random() < RECOGNISE_SHARE:
            return self._recognise()
        draw = self._random.random()
        for share, kind in (
            (TRANSLATE_SHARE, self._translate),
            (TRANSLATE_AGAIN_SHARE, self._translate_again),
            (SOLVE_AGAIN_SHARE, self._solve_again),
        ):
            if draw < share:
                return kind()
            draw -= share
        return self._solve()

    def _translate(self) -> list[str]:
        rule, cards = self._dealt()
        prompt = prompts.compact_prompt(rule, self._target(), "cards", cards, prompts.TRANSLATE)
        return [prompt, join(values_of(cards, rule))]

    def _recognise(self) -> list[str]:
        rule, cards = self._dealt()
        cells = raster.drawn(cards, self._random.choice(self._settings.looks))
        prompt = prompts.compact_prompt(rule, self._target(), "cards", cells, prompts.RECOGNISE)
        return [prompt, join(cards)]

    def _dealt(self) -> tuple[Rule, list[str]]:
        """A rule, and cards whose values under it are not held out."""
        while True:
            size = self._size()
            rule, cards = self._rule(), self._random.choices(self._deck, k=size)
            if multiset(values_of(cards, rule)) not in self._held_out:
                return rule, cards

    def _translate_again(self) -> list[str]:
        prompt, right = self._translate()
        wanted = [int(word) for word in right.split()]
        spoilt = wanted.copy()
        while spoilt == wanted or multiset(spoilt) in self._held_out:
            spoilt = wanted.copy()
            spoilt[self._random.randrange(len(wanted))] = self._random.choice(self._values)
        fault = number_faults(spoilt, wanted)[0]
        feedback = prompts.compact_feedback(fault.kind, fault.offender, prompts.TRANSLATE)
        return [prompt, join(spoilt), feedback, right]

    def _solve(self) -> list[str]:
        numbers, target, formula = self._solvable()
        given = [] if self._random.random() < INVENTED_SHARE else numbers
        return [self._solve_prompt(given, target), prompts.compact_reply(numbers, formula)]

    def _solve_again(self) -> list[str]:
        numbers, target, formula = self._solvable()
        faults: list[Fault] = []
        while not faults:
            spoilt = self._spoil(formula)
            if multiset(numbers_in(spoilt.split())) not in self._held_out:
                faults, _ = find_faults(numbers, target, spoilt)
        return [
            self._solve_prompt(numbers, target),
            prompts.compact_reply(numbers, spoilt),
            prompts.compact_feedback(faults[0].kind, faults[0].offender, prompts.SOLVE),
            prompts.compact_reply(numbers, formula),
        ]

    def _solvable(self) -> tuple[list[int], int, str]:
        """Numbers in random order, a target that they can make, and the formula."""
        size, target = self._size(), self._target()
        while not self._reaches(size, target):  # two cards never make 59
            target = self._target()
        formula = None
        while formula is None:
            numbers = self._random.choice(self._pools[size])
            formula = canonical_solution(numbers, target)
        return self._random.sample(numbers, size), target, formula

    def _size(self) -> int:
        """One of the numbers of cards, each as likely."""
        sizes = self._settings.hand_sizes
        return sizes[0] if len(sizes) == 1 else self._random.choice(sizes)

    def _reaches(self, size: int, target: int) -> bool:
        """Whether some numbers can make the target."""
        if (size, target) not in self._reached:
            pool = self._pools[size]
            found = any(canonical_solution(numbers, target) for numbers in pool)
            self._reached[size, target] = found
        return self._reached[size, target]

    def _target(self) -> int:
        if self._random.random() < TARGET_SHARE:
            return self._settings.target
        return self._random.randint(1, LARGEST_NUMBER)

    def _rule(self) -> Rule:
        draw = self._random.random()
        for rule, share in FREQUENT_RULES.items():
            if draw < share:
                return rule
            draw -= share
        j, q, k = self._random.choices(self._values, k=3)
        return j, q, k

    def _spoil(self, formula: str) -> str:
        """Change an operator (half of the time) or a number, or cut the formula short."""
        tokens = formula.split()
        change = self._random.random()
        if change < 0.2:
            return join(tokens[: self._random.randrange(2, len(tokens))])
        if change < 0.5:
            substitutes = list(map(str, self._values))
            places = [place for place, token in enumerate(tokens) if token.isdigit()]
        else:
            substitutes = list("+-*/")
            places = [place for place, token in enumerate(tokens) if token in substitutes]
        tokens[self._random.choice(places)] = self._random.choice(substitutes)
        return join(tokens)

    def _solve_prompt(self, numbers: Sequence[int], target: int) -> str:
        return prompts.compact_prompt(self._rule(), target, "numbers", numbers, prompts.SOLVE)
