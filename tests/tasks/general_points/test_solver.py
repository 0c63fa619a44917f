import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svdrift.tasks.general_points.game import value_multisets
from svdrift.tasks.general_points.solver import canonical_solution, simplicity, solutions


def brute_force(numbers: tuple[int, ...], target: int) -> set[str]:
    """Every order, every operator, every way to bracket, valued with Fraction."""

    def grow(order: tuple[int, ...]) -> list[tuple[str, Fraction]]:
        if len(order) == 1:
            return [(str(order[0]), Fraction(order[0]))]
        grown = []
        for cut in range(1, len(order)):
            for (a, x), (b, y) in itertools.product(grow(order[:cut]), grow(order[cut:])):
                grown += [(f"( {a} + {b} )", x + y), (f"( {a} - {b} )", x - y)]
                grown += [(f"( {a} * {b} )", x * y)]
                grown += [(f"( {a} / {b} )", x / y)] if y else []
        return grown

    return {
        text[2:-2]
        for order in set(itertools.permutations(numbers))
        for text, value in grow(order)
        if value == target
    }


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 13), min_size=4, max_size=4), st.integers(1, 60))
def test_solutions_are_those_of_brute_force(numbers: list[int], target: int) -> None:
    expected = brute_force(tuple(numbers), target)
    assert solutions(numbers, target) == tuple(sorted(expected))
    assert canonical_solution(numbers, target) == min(expected, key=simplicity, default=None)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 13), min_size=2, max_size=3), st.integers(1, 60))
def test_solutions_of_fewer_numbers_are_those_of_brute_force(
    numbers: list[int], target: int
) -> None:
    expected = brute_force(tuple(numbers), target)
    assert solutions(numbers, target) == tuple(sorted(expected))
    assert canonical_solution(numbers, target) == min(expected, key=simplicity, default=None)


@pytest.mark.parametrize(
    ("numbers", "target"),
    [
        ((3, 3, 7, 7, 7), 24),
        ((1, 1, 1, 1, 1), 5),
        ((7, 2, 5, 5, 5), 7),  # 7 + 0, where the other four make 0 in several ways
        ((2, 2, 2, 2, 2), 2),
        ((1, 1, 13, 13, 13), 59),
    ],
)
def test_solutions_of_five_numbers_are_those_of_brute_force(
    numbers: tuple[int, ...], target: int
) -> None:
    expected = brute_force(numbers, target)
    assert solutions(numbers, target) == tuple(sorted(expected))
    assert canonical_solution(numbers, target) == min(expected, key=simplicity, default=None)


@pytest.mark.parametrize(
    ("numbers", "formulas"),
    [
        ((3, 3, 8, 8), ["8 / ( 3 - ( 8 / 3 ) )"]),
        ((1, 5, 5, 5), ["( 5 - ( 1 / 5 ) ) * 5", "5 * ( 5 - ( 1 / 5 ) )"]),
        ((1, 1, 1, 1), []),
    ],
)
def test_known_hands(numbers: tuple[int, ...], formulas: list[str]) -> None:
    assert list(solutions(numbers, 24)) == formulas


def test_known_counts_of_solvable_multisets() -> None:
    solvable = [m for m in value_multisets(range(1, 14), 4) if canonical_solution(m, 24)]
    assert len(solvable) == 1362
    assert sum(m[-1] <= 10 for m in solvable) == 566


def test_every_formula_has_eleven_tokens_and_the_canonical_is_the_simplest() -> None:
    for numbers in value_multisets(range(1, 14), 4)[::7]:
        formulas = solutions(numbers, 24)
        assert all(len(formula.split()) == 11 for formula in formulas)
        assert canonical_solution(numbers, 24) == min(formulas, key=simplicity, default=None)


def test_order_of_the_numbers_does_not_matter() -> None:
    assert solutions((8, 3, 8, 3), 24) == solutions((3, 3, 8, 8), 24)
