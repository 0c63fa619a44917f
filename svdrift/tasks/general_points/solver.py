"""Every formula over a few numbers that reaches a target, in exact arithmetic.

A formula is infix with each inner pair in parentheses and the outermost bare, its tokens
separated by single spaces: four numbers always make eleven tokens, `( 3 * 5 ) + ( 10 - 1 )`.
Values are reduced (numerator, denominator) pairs, which are several times faster than Fraction.
Formulas of up to three numbers are tabulated by value once; for four numbers, each value of the
smaller part looks up the partner that it needs.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import combinations
from math import gcd
from typing import TypeVar

from svdrift.tasks.general_points.game import Multiset, multiset

Value = tuple[int, int]
Part = TypeVar("Part")


def solutions(numbers: Sequence[int], target: int) -> tuple[str, ...]:
    """All distinct formulas of the numbers with the value `target` >= 1, as sorted strings."""
    return _solutions(multiset(numbers), target)


def canonical_solution(numbers: Sequence[int], target: int) -> str | None:
    """The simplest solution: least by `simplicity`; None when there is no solution."""
    return _canonical_solution(multiset(numbers), target)


def simplicity(formula: str) -> tuple[int, int, int, str]:
    """Sort key: fewest divisions, then multiplications, then subtractions, then the text."""
    return formula.count("/"), formula.count("*"), formula.count("-"), formula


@cache
def _solutions(numbers: Multiset, target: int) -> tuple[str, ...]:
    found = {
        _write(left, operator, right)
        for first, operator, second in _joins(numbers, target, _formulas)
        for left in first
        for right in second
    }
    return tuple(sorted(found))


@cache
def _canonical_solution(numbers: Multiset, target: int) -> str | None:
    # The simplest whole is made of the simplest parts: counts of operators add up, and texts
    # of one multiset have one length, so that the order of the parts decides the order of wholes.
    candidates = (_write(*join) for join in _joins(numbers, target, _simplest))
    return min(candidates, key=simplicity, default=None)


def _joins(
    numbers: Multiset, target: int, table: Callable[[Multiset], dict[Value, Part]]
) -> Iterator[tuple[Part, str, Part]]:
    """What `table` has for the left and right parts of every way to make the target."""
    for small, large in _splits(numbers):
        partners = table(large)
        for (n, d), part in table(small).items():
            # The value that the larger part needs, unreduced, by operator and by whether the
            # smaller part can then stand on the left, on the right, or on either side.
            needs = [
                ("+", target * d - n, d, True, True),
                ("-", n - target * d, d, True, False),
                ("-", n + target * d, d, False, True),
            ]
            if n:  # 0 * x, 0 / x and x / 0 never reach a target >= 1
                needs += [
                    ("*", target * d, n, True, True),
                    ("/", n, target * d, True, False),
                    ("/", n * target, d, False, True),
                ]
            for operator, top, bottom, on_left, on_right in needs:
                partner = partners.get(_reduce(top, bottom))
                if partner is None:
                    continue
                if on_left:
                    yield part, operator, partner
                if on_right:
                    yield partner, operator, part


@cache
def _formulas(numbers: Multiset) -> dict[Value, list[str]]:
    """All formulas of the numbers, by value."""
    if len(numbers) == 1:
        return {(numbers[0], 1): [str(numbers[0])]}
    found: dict[Value, set[str]] = {}
    for small, large in _splits(numbers):
        for first, second in ((small, large), (large, small)):
            for a, lefts in _formulas(first).items():
                for b, rights in _formulas(second).items():
                    for operator, value in _results(a, b):
                        found.setdefault(value, set()).update(
                            _write(left, operator, right) for left in lefts for right in rights
                        )
    return {value: sorted(formulas) for value, formulas in found.items()}


@cache
def _simplest(numbers: Multiset) -> dict[Value, str]:
    """The simplest formula of the numbers, by value."""
    return {value: min(texts, key=simplicity) for value, texts in _formulas(numbers).items()}


@cache
def _splits(numbers: Multiset) -> list[tuple[Multiset, Multiset]]:
    """The distinct ways to part the numbers in two, the smaller part first."""
    indices = range(len(numbers))
    found = {
        (
            tuple(numbers[i] for i in chosen),
            tuple(numbers[i] for i in indices if i not in chosen),
        )
        for size in range(1, len(numbers) // 2 + 1)
        for chosen in combinations(indices, size)
    }
    return sorted(found)


def _results(a: Value, b: Value) -> Iterator[tuple[str, Value]]:
    (n, d), (m, e) = a, b
    yield "+", _reduce(n * e + m * d, d * e)
    yield "-", _reduce(n * e - m * d, d * e)
    yield "*", _reduce(n * m, d * e)
    if m:
        yield "/", _reduce(n * e, d * m)


def _reduce(numerator: int, denominator: int) -> Value:
    divisor = gcd(numerator, denominator) if denominator > 0 else -gcd(numerator, denominator)
    return numerator // divisor, denominator // divisor


def _write(left: str, operator: str, right: str) -> str:
    return f"{_inner(left)} {operator} {_inner(right)}"


def _inner(formula: str) -> str:
    return f"( {formula} )" if " " in formula else formula
