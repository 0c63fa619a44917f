import ast
import operator
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svdrift.tasks.general_points.formula import (
    MAX_CHARACTERS,
    FormulaError,
    evaluate,
    numbers_in,
    tokenise,
)

OPERATORS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
PYTHON_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}

Tree = Any  # an int, or (left, operator, right)
trees = st.recursive(
    st.integers(0, 99),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner),
    max_leaves=8,
)


def value_of(tree: Tree) -> Fraction:
    if isinstance(tree, int):
        return Fraction(tree)
    left, sign, right = tree
    return OPERATORS[sign](value_of(left), value_of(right))


@st.composite
def written(draw: st.DrawFn, tree: Tree) -> str:
    """The tree with the parentheses that it needs, more that it does not, and loose spacing."""
    space = st.sampled_from(["", " ", "\t "])
    if isinstance(tree, int):
        text = str(tree)
    else:
        left, sign, right = tree
        parts = []
        for side, child in (("left", left), ("right", right)):
            part = draw(written(child))
            if not isinstance(child, int) and needs_parentheses(sign, child[1], side):
                part = f"({part})"
            parts.append(part)
        text = f"{parts[0]}{draw(space)}{sign}{draw(space)}{parts[1]}"
    return f"({draw(space)}{text})" if draw(st.integers(0, 3)) == 0 else text


def needs_parentheses(outer: str, inner: str, side: str) -> bool:
    if outer in "*/" and inner in "+-":
        return True
    return side == "right" and (outer in "-/" or (outer == "*" and inner == "/"))


@st.composite
def trees_and_texts(draw: st.DrawFn) -> tuple[Tree, str]:
    tree = draw(trees)
    return tree, draw(written(tree))


@given(trees_and_texts())
def test_value_is_that_of_the_tree(case: tuple[Tree, str]) -> None:
    tree, text = case
    try:
        expected = value_of(tree)
    except ZeroDivisionError:
        with pytest.raises(FormulaError) as caught:
            evaluate(tokenise(text))
        assert caught.value.kind == "division_by_zero"
    else:
        assert evaluate(tokenise(text)) == expected


def python_value(node: ast.AST) -> Fraction | None:
    """Python's own reading; None for what our grammar does not have."""
    if isinstance(node, ast.Expression):
        return python_value(node.body)
    if isinstance(node, ast.Constant):
        return Fraction(node.value) if type(node.value) is int else None
    if isinstance(node, ast.BinOp) and type(node.op) in PYTHON_OPERATORS:
        left, right = python_value(node.left), python_value(node.right)
        if left is None or right is None:
            return None
        return OPERATORS[PYTHON_OPERATORS[type(node.op)]](left, right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        operand = python_value(node.operand)
        return -operand if isinstance(node.op, ast.USub) and operand is not None else operand
    return None


@given(st.lists(st.sampled_from(["1", "7", "24", "+", "-", "*", "/", "(", ")"]), max_size=12))
def test_any_tokens_are_read_as_python_reads_them(tokens: list[str]) -> None:
    try:
        expected = python_value(ast.parse(" ".join(tokens), mode="eval"))
    except (SyntaxError, ZeroDivisionError):
        expected = None
    if any(a in "+-*/" and b in "+-" for a, b in pairwise(tokens)):
        expected = None  # a sign after an operator, which Python reads and we do not
    try:
        value = evaluate(tokens)
    except FormulaError:
        value = None
    assert value == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "malformed"),
        ("1 +", "malformed"),
        ("(1 + 2", "malformed"),
        ("1 2", "malformed"),
        ("--1", "malformed"),
        ("2 * -1", "malformed"),
        ("(1 + - 2)", "malformed"),
        ("2 ** 3", "malformed"),
        ("2 // 3", "malformed"),
        ("2.5", "illegal_characters"),
        ("J * 2", "illegal_characters"),
        ("٣ + 1", "illegal_characters"),  # a digit, but not of ours
        ("2 ^ 3", "illegal_characters"),
        ("__import__('os')", "illegal_characters"),
        ("1 / (2 - 2)", "division_by_zero"),
        ("(" * 100 + "1" + ")" * 100, "malformed"),
        ("1+" * 200 + "1", "too_long"),
    ],
)
def test_faulty_formulas(text: str, kind: str) -> None:
    with pytest.raises(FormulaError) as caught:
        evaluate(tokenise(text))
    assert caught.value.kind == kind


def test_numbers() -> None:
    assert numbers_in(tokenise("(3*5)+(10-1)")) == [3, 5, 10, 1]


def test_the_longest_legal_formulas_are_quick() -> None:
    started = time.perf_counter()
    for text in ("9*" * (MAX_CHARACTERS // 2 - 1) + "9", "9" * MAX_CHARACTERS):
        evaluate(tokenise(text))
    assert time.perf_counter() - started < 20  # not exponential
