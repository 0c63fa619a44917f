"""Traces: how a solution is found, step by step, with dead ends (after arXiv 2505.24273).

A step is an operation with its result, `3 * 5 = 15`. A dead end takes another step at a branch
point, from which no way leads to the target, goes on to the end of the numbers, and returns:
`undo 1` goes back to before step 1. Dead ends of a trace differ from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations
from random import Random
from typing import Literal

from svdrift.tasks.general_points.formula import evaluate_as
from svdrift.tasks.general_points.game import LARGEST_NUMBER

Kind = Literal["direct", "right", "filler", "corrupt", "shuffled"]
KINDS: dict[str, str] = {
    "direct": "the formula alone, without a trace",
    "right": "steps, with dead ends and returns from them",
    "filler": "right steps again and again, as long as with dead ends",
    "corrupt": "dead ends and returns, but the results of all steps are wrong",
    "shuffled": "dead ends and returns, with the steps in random order",
}
BRANCHES = (1, 2)  # steps before which a dead end may begin; the third has no other numbers left
TRIES = 200  # to draw a dead end that is not there yet

Numbers = tuple[Fraction, ...]


@dataclass(frozen=True)
class Step:
    """An operation on two of the numbers that are left."""

    left: Fraction
    operator: str
    right: Fraction
    result: Fraction

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.result}"

    @property
    def has_words(self) -> bool:
        """Whether the compact style has words for its numbers."""
        return all(
            number.denominator == 1 and 0 <= number <= LARGEST_NUMBER
            for number in (self.left, self.right, self.result)
        )

    def after(self, numbers: Numbers) -> Numbers:
        """The numbers that are left after it."""
        rest = list(numbers)
        rest.remove(self.left)
        rest.remove(self.right)
        return tuple(sorted([*rest, self.result]))


def steps_of(formula: str) -> list[Step]:
    """The operations of a formula of the solver, innermost first."""
    steps: list[Step] = []
    evaluate_as(formula.split(), lambda number: _Recorded(Fraction(number), steps))
    return steps


def trace(
    numbers: Sequence[int], formula: str, target: int, kind: Kind, dead_ends: int, rng: Random
) -> list[str] | None:
    """The parts of a trace, each a step or a return; none for `direct`.

    Args:
        numbers: of the hand.
        formula: its canonical solution.
        target: of the game.
        kind: see KINDS.
        dead_ends: how many.
        rng: draws the dead ends.

    Returns:
        None where the hand has no such trace: a number has no word, or there are not so many
        different dead ends.
    """
    if kind == "direct":
        return []
    right = steps_of(formula)
    if not all(step.has_words for step in right):
        return None
    starts = [tuple(sorted(map(Fraction, numbers)))]
    for step in right:
        starts.append(step.after(starts[-1]))
    found = _dead_ends(starts, target, dead_ends, rng)
    if found is None:
        return None
    parts: list[Step | str] = []
    for number, step in enumerate(right, 1):
        for branch, ending in found:
            if branch == number:
                parts += [*ending, f"undo {branch}"]
        parts.append(step)
    return [str(part) for part in _changed(parts, right, kind, rng)]


def _changed(
    parts: list[Step | str], right: list[Step], kind: Kind, rng: Random
) -> list[Step | str]:
    if kind == "filler":  # as many parts; the last are the right steps
        spare = len(parts) - len(right)
        again = [right[place % len(right)] for place in range(spare)]
        return [*again, *right]
    if kind == "shuffled":
        rng.shuffle(parts)
        return parts
    if kind == "corrupt":
        return [part if isinstance(part, str) else _wrong(part, rng) for part in parts]
    return parts


def _wrong(step: Step, rng: Random) -> Step:
    result = step.result
    while result == step.result:
        result = Fraction(rng.randint(0, LARGEST_NUMBER))
    return Step(step.left, step.operator, step.right, result)


def _dead_ends(
    starts: Sequence[Numbers], target: int, count: int, rng: Random
) -> list[tuple[int, list[Step]]] | None:
    """Branch points with the steps of a dead end each, all different; None if there are too few."""
    found: dict[tuple[int, str], list[Step]] = {}
    for _ in range(TRIES):
        if len(found) == count:
            break
        branch = rng.choice(BRANCHES)
        numbers = starts[branch - 1]
        leads = [
            step
            for step in operations(numbers)
            if step.has_words and not reachable(step.after(numbers), target)
        ]
        if not leads:
            continue
        ending = [rng.choice(leads)]
        left = ending[0].after(numbers)
        while len(left) > 1:
            further = [step for step in operations(left) if step.has_words]
            if not further:
                break
            ending.append(rng.choice(further))
            left = ending[-1].after(left)
        found.setdefault((branch, str(ending[0])), ending)
    if len(found) < count:
        return None
    return [(branch, ending) for (branch, _), ending in found.items()]


@cache
def operations(numbers: Numbers) -> tuple[Step, ...]:
    """Every operation on two of the numbers, each once; sums and products in one order."""
    found: dict[Step, None] = {}
    for a, b in combinations(numbers, 2):
        found[Step(a, "+", b, a + b)] = None
        found[Step(a, "*", b, a * b)] = None
        for x, y in ((a, b), (b, a)):
            found[Step(x, "-", y, x - y)] = None
            if y != 0:
                found[Step(x, "/", y, x / y)] = None
    return tuple(found)


@cache
def reachable(numbers: Numbers, target: int) -> bool:
    """Whether the four operations lead from the numbers to the target, each number used once."""
    if len(numbers) == 1:
        return numbers[0] == target
    return any(reachable(step.after(numbers), target) for step in operations(numbers))


class _Recorded:
    """A number that notes what is done with it."""

    def __init__(self, value: Fraction, steps: list[Step], *, negative: bool = False) -> None:
        self.value, self.steps, self.negative = value, steps, negative

    def __neg__(self) -> _Recorded:
        return _Recorded(self.value, self.steps, negative=not self.negative)

    def __eq__(self, other: object) -> bool:
        return self.value == other

    def __hash__(self) -> int:
        return hash(self.value)

    def __add__(self, other: _Recorded) -> _Recorded:
        if other.negative:
            return self._take("-", other, self.value - other.value)
        return self._take("+", other, self.value + other.value)

    def __mul__(self, other: _Recorded) -> _Recorded:
        return self._take("*", other, self.value * other.value)

    def __truediv__(self, other: _Recorded) -> _Recorded:
        return self._take("/", other, self.value / other.value)

    def _take(self, operator: str, other: _Recorded, result: Fraction) -> _Recorded:
        self.steps.append(Step(self.value, operator, other.value, result))
        return _Recorded(result, self.steps)
