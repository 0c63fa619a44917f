"""Normal forms: by hand, and against values at random numbers and random rewritings."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svdrift.tasks.general_points.formula import FormulaError, evaluate, tokenise
from svdrift.tasks.general_points.normal_form import normal_form
from svdrift.tasks.general_points.solver import solutions


def form(text):
    return normal_form(tokenise(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9 - ( 5 - 2 )", "( 9 + 2 ) - 5"),
        ("8 / ( 4 / 2 )", "8 * 2 / 4"),
        ("( 3 * 5 ) + ( 10 - 1 )", "( ( 3 * 5 ) + 10 ) - 1"),
        ("2 * ( 3 + 5 )", "( 5 + 3 ) * 2"),
        ("( 8 / 2 ) / ( 3 / 5 )", "( 5 * 8 ) / ( 2 * 3 )"),
        ("( ( 7 - 4 ) * 6 ) + 6", "6 + ( 6 * ( 7 - 4 ) )"),
        ("-(3-5)", "5-3"),
        ("2 * ( 9 - ( 5 - 1 ) )", "( ( 1 + 9 ) - 5 ) * 2"),
    ],
)
def test_the_same_in_another_order(one, other):
    assert form(one) == form(other)
    assert hash(form(one)) == hash(form(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2 * ( 3 + 5 )", "( 2 * 3 ) + ( 2 * 5 )"),  # multiplied out
        ("9 - 5", "5 - 9"),
        ("8 / 4", "4 / 8"),
        ("( 4 * 6 ) / 1", "( 4 * 6 ) * 1"),
        ("( 6 - 2 ) * 6", "( 4 * 6 ) + 0"),  # one value, other numbers
        ("( 5 - 3 ) * ( 9 - 1 )", "( 3 - 5 ) * ( 1 - 9 )"),
    ],
)
def test_another_thing(one, other):
    assert form(one) != form(other)


def test_a_form_has_the_value_of_its_formula():
    for text in solutions([3, 3, 8, 8], 24):
        assert form(text).value == evaluate(tokenise(text)) == 24


@pytest.mark.parametrize("text", ["1 / ( 2 - 2 )", "3 +", "( 1", "2 / 0"])
def test_what_has_no_value_has_no_form(text):
    with pytest.raises(FormulaError):
        form(text)


LEAVES = st.integers(1, 4).map(lambda place: "abcd"[place - 1])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner),
    max_leaves=5,
)


def rewritten(tree, rng):
    """The same in another order: sides swapped, parentheses moved."""
    if isinstance(tree, str):
        return tree
    operator, left, right = tree[0], rewritten(tree[1], rng), rewritten(tree[2], rng)
    if operator in "+*" and rng.random() < 0.5:
        left, right = right, left
    again = {"+": "+-", "-": "+-", "*": "*/", "/": "*/"}[operator]
    if not isinstance(left, str) and left[0] in again and rng.random() < 0.5:
        # (x o y) p z = (x p z) o y
        return (left[0], (operator, left[1], right), left[2])
    if not isinstance(right, str) and right[0] in again and rng.random() < 0.5:
        # x + (y - z) = (x + y) - z;  x - (y - z) = (x - y) + z
        inverse = dict(zip("+-*/", "-+/*", strict=True))
        inner = right[0] if operator in "+*" else inverse[right[0]]
        return (inner, (operator, left, right[1]), right[2])
    return (operator, left, right)


def written(tree, names):
    if isinstance(tree, str):
        return str(names[tree])
    return f"( {written(tree[1], names)} {tree[0]} {written(tree[2], names)} )"


def value(tree, numbers):
    if isinstance(tree, str):
        return numbers[tree]
    a, b = value(tree[1], numbers), value(tree[2], numbers)
    return {"+": a.__add__, "-": a.__sub__, "*": a.__mul__, "/": a.__truediv__}[tree[0]](b)


NAMES = {"a": 1009, "b": 2003, "c": 4001, "d": 7919}  # far apart, so that little cancels


@given(TREES, st.integers(0, 2**32))
def test_rewriting_keeps_the_form(tree, seed):
    other = rewritten(tree, random.Random(seed))
    try:
        assert form(written(tree, NAMES)) == form(written(other, NAMES))
    except FormulaError:
        return  # divides by zero


@given(TREES, TREES)
def test_one_form_has_one_value_for_all_numbers(one, other):
    """What is called the same is the same function of its numbers."""
    try:
        same = form(written(one, NAMES)) == form(written(other, NAMES))
    except FormulaError:
        return
    if not same:
        return
    rng = random.Random(0)
    for _ in range(5):
        numbers = {name: Fraction(rng.randint(2, 10**6)) for name in NAMES}
        try:
            values = value(one, numbers), value(other, numbers)
        except ZeroDivisionError:
            continue
        assert values[0] == values[1]
