"""Pretraining examples for the tiny base model: skills of the game, never their composition.

Kinds of examples, in the compact style; each begins with a rule and a target, as in the game:

- translate: `... cards 3 J 5 9 translate` -> `3 11 5 9`
- solve: `... numbers 3 10 5 1 solve` -> `3 10 5 1 : ( 3 * 5 ) + ( 10 - 1 )`; the numbers are
  repeated first, since otherwise a later stage hardly learns to combine the two skills
- invent: `... numbers solve`, where the reply chooses the numbers itself
- a second try at the first two: a spoilt reply, its feedback, then the right reply.

The marker of the game itself never appears, and neither do held-out value multisets.
"""

from collections.abc import Collection, Sequence
from itertools import combinations_with_replacement
from random import Random

from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.formula import numbers_in
from svdrift.tasks.general_points.game import HAND_SIZE, RANKS, Multiset, Rule, join, multiset
from svdrift.tasks.general_points.game import values as values_of
from svdrift.tasks.general_points.solver import canonical_solution
from svdrift.tasks.general_points.verifier import Fault, find_faults, number_faults

TRANSLATE_SHARE, TRANSLATE_AGAIN_SHARE, SOLVE_AGAIN_SHARE = 0.15, 0.04, 0.06
"""Shares of the kinds of examples; the rest, 0.75, are solved at the first try. Second tries are
few because they are twice as long as first ones: with twice as many, the model solved fewer hands
(see below)."""

INVENTED_SHARE = 0.4
"""Share of first-try solutions whose numbers are chosen by the reply, not given in the prompt. The
model thus learns to read the numbers from the reply, where the translated cards will be. In a
trial (one seed) SFT then solved 39 % of OOD hands at step 16, against 31 % without it."""

FREQUENT_RULES: dict[Rule, float] = {(10, 10, 10): 0.1, (11, 12, 13): 0.6}
"""How often an example has each of these rules; otherwise it has a random one."""

TARGET_SHARE = 0.97
"""How often the target is the game's; otherwise uniform from 1 to prompts.LARGEST_NUMBER. With 0.9,
twice as many second tries and 1,500 steps instead of 2,000, the peak of OOD accuracy on selection
hands was 0.33 instead of 0.46 (one seed)."""


class Mixture:
    """A seeded source of examples.

    Args:
        values: that cards may have, in ascending order.
        held_out: value multisets that must not appear.
        target: of the game.
        seed: of everything that is drawn.
    """

    def __init__(
        self, values: Sequence[int], held_out: Collection[Multiset], target: int, seed: int
    ) -> None:
        self._random = Random(seed)
        self._values = values
        self._target_of_game = target
        self._held_out = held_out
        every_multiset = combinations_with_replacement(values, HAND_SIZE)
        self._pool = [numbers for numbers in every_multiset if numbers not in held_out]

    def example(self) -> list[str]:
        """Turns [user, reply] or [user, spoilt reply, feedback, reply]."""
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
        rule, cards = self._rule(), self._random.choices(RANKS, k=HAND_SIZE)
        numbers = values_of(cards, rule)
        if multiset(numbers) in self._held_out:
            return self._translate()
        prompt = prompts.compact_prompt(rule, self._target(), "cards", cards, prompts.TRANSLATE)
        return [prompt, join(numbers)]

    def _translate_again(self) -> list[str]:
        prompt, right = self._translate()
        wanted = [int(word) for word in right.split()]
        spoilt = wanted.copy()
        while spoilt == wanted or multiset(spoilt) in self._held_out:
            spoilt = wanted.copy()
            spoilt[self._random.randrange(HAND_SIZE)] = self._random.choice(self._values)
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
        target = self._target()
        formula = None
        while formula is None:
            numbers = self._random.choice(self._pool)
            formula = canonical_solution(numbers, target)
        return self._random.sample(numbers, HAND_SIZE), target, formula

    def _target(self) -> int:
        if self._random.random() < TARGET_SHARE:
            return self._target_of_game
        return self._random.randint(1, prompts.LARGEST_NUMBER)

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
