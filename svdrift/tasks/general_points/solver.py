"""Every formula over a few numbers that reaches a target, in exact arithmetic.

A formula is infix with each inner pair in parentheses and the outermost bare, its tokens
separated by single spaces: four numbers always make eleven tokens, `( 3 * 5 ) + ( 10 - 1 )`.
Values are reduced (numerator, denominator) pairs, which are several times faster than Fraction.
Formulas of up to three numbers are tabulated by value once. More numbers are parted in two: each
value of the smaller part says which values the larger part must have, and those are looked up, or
searched for in the same way.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache, lru_cache
from itertools import combinations
from math import gcd
from typing import TypeVar

from svdrift.tasks.general_points.game import Multiset, multiset

TABULATED = 3
"""Of so many numbers all formulas are kept by value; of four there are up to 7,680."""

Value = tuple[int, int]
Part = TypeVar("Part", str, Collection[str])


def solutions(numbers: Sequence[int], target: int) -> tuple[str, ...]:
    """All distinct formulas of the numbers with the value `target` >= 1, as sorted strings."""
    return _solutions(multiset(numbers), target)


def canonical_solution(numbers: Sequence[int], target: int) -> str | None:
    """The simplest solution: least by `simplicity`; None when there is no solution."""
    return _canonical_solution(multiset(numbers), target)


def simplicity(formula: str) -> tuple[int, int, int, str]:
    """Sort key: fewest divisions, then multiplications, then subtractions, then the text."""
    return formula.count("/"), formula.count("*"), formula.count("-"), formula


@lru_cache(maxsize=2048)  # five numbers have up to thousands of solutions
def _solutions(numbers: Multiset, target: int) -> tuple[str, ...]:
    return tuple(sorted(_with_value(numbers, (target, 1)) or ()))


def _with_value(numbers: Multiset, value: Value) -> Collection[str] | None:
    """All formulas of the numbers with the value; None if there are none."""
    if len(numbers) <= TABULATED:
        return _formulas(numbers).get(value)
    found = {
        _write(left, operator, right)
        for first, operator, second in _joins(numbers, value, _formulas, _with_value)
        for left in first
        for right in second
    }
    return found or None


@cache
def _canonical_solution(numbers: Multiset, target: int) -> str | None:
    return _simplest_with_value(numbers, (target, 1))


def _simplest_with_value(numbers: Multiset, value: Value) -> str | None:
    """The simplest formula of the numbers with the value; None if there is none."""
    if len(numbers) <= TABULATED:
        return _simplest(numbers).get(value)
    # The simplest whole is made of the simplest parts: counts of operators add up, and texts
    # of one multiset have one length, so that the order of the parts decides the order of wholes.
    joins = _joins(numbers, value, _simplest, _simplest_with_value)
    return min((_write(*join) for join in joins), key=simplicity, default=None)


def _joins(
    numbers: Multiset,
    value: Value,
    table: Callable[[Multiset], dict[Value, Part]],
    find: Callable[[Multiset, Value], Part | None],
) -> Iterator[tuple[Part, str, Part]]:
    """The left and right parts of every way to make the value, with the operator between them.

    Args:
        numbers: to part in two.
        value: to make.
        table: all that a few numbers can make, by value.
        find: what numbers have for one value.
    """
    p, q = value
    for small, large in _splits(numbers):
        for (n, d), part in table(small).items():
            # The value that the larger part needs, unreduced, by operator and by whether the
            # smaller part can then stand on the left, on the right, or on either side.
            needs = [
                ("+", p * d - n * q, q * d, True, True),
                ("-", n * q - p * d, q * d, True, False),
                ("-", n * q + p * d, q * d, False, True),
            ]
            if n:
                needs += [("*", p * d, q * n, True, True), ("/", p * n, q * d, False, True)]
            if n and p:
                needs.append(("/", n * q, p * d, True, False))
            for operator, top, bottom, on_left, on_right in needs:
                partner = find(large, _reduce(top, bottom))
                if partner is None:
                    continue
                if on_left:
                    yield part, operator, partner
                if on_right:
                    yield partner, operator, part
            if not n and not p:  # 0 * x and x * 0 are 0, and 0 / x is unless x is
                for (top, _), partner in table(large).items():
                    yield part, "*", partner
                    yield partner, "*", part
                    if top:
                        yield part, "/", partner


@cache
def _formulas(numbers: Multiset) -> dict[Value, Collection[str]]:
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
