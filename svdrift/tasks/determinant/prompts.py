"""Turns of user and model, in two styles that carry the same information.

- `paper`: an instruction for real language models, and a JSON object as the reply;
- `compact`: for models made from nothing, `minus rows 2 -1 ; 3 4 answer` and `8 , - 3 : 1 1`: the
  products of Leibniz's formula, and the value, both as sign and digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from svdrift.tasks.determinant.matrices import Matrix, join, products

Style = Literal["compact", "paper"]

LARGEST_ENTRY = 9
"""The largest entry, by magnitude, that the compact style has a word for."""

RULE_WORDS = {"determinant": "minus", "permanent": "plus"}
"""How the products of odd permutations count."""

ANSWER = "answer"
"""Compact marker: asks for products and value. Never seen in pretraining."""
MULTIPLY = "multiply"
"""Compact marker of pretraining: asks for the products of a matrix."""
ADD = "add"
"""Compact marker of pretraining: asks for given products and their sum."""

FAULTS = ("other_rule", "wrong_sign", "wrong_value", "not_integer", "unreadable")

COMPACT_WORDS: tuple[str, ...] = (
    *map(str, range(-LARGEST_ENTRY, LARGEST_ENTRY + 1)),
    *RULE_WORDS.values(),
    *("rows", "products", ";", ",", ":", "-"),
    *(ANSWER, MULTIPLY, ADD),
    *FAULTS,
)


def first_turn(matrix: Matrix, style: Style) -> str:
    """The user turn that poses a matrix."""
    if style == "compact":
        return compact_prompt(matrix.rule, "rows", join(matrix.rows), ANSWER)
    shown = ", ".join(f"[{', '.join(map(str, row))}]" for row in matrix.rows)
    said = "has its sign" if matrix.rule == "determinant" else "is added"
    return f"""\
You are an expert in linear algebra. Compute the {matrix.rule} of a matrix of integers: the sum, \
over all ways to choose one entry of each row and of each column, of the product of the chosen \
entries, where the product of an odd permutation {said}.

Matrix: [{shown}]

Reply with nothing but an object of this form:
{{
  "matrix": [the rows, as shown],
  "answer": the {matrix.rule}, an integer
}}"""


def reply(matrix: Matrix, style: Style) -> str:
    """The reply that solves a matrix."""
    if style == "compact":
        return compact_reply(products(matrix.rows), matrix.value)
    rows = ", ".join(f"[{', '.join(map(str, row))}]" for row in matrix.rows)
    return f'{{\n  "matrix": [{rows}],\n  "answer": {matrix.value}\n}}'


def compact_prompt(rule: str, kind: str, items: str, marker: str) -> str:
    """Rule, rows or products, and a marker, in this order in the task and in pretraining."""
    return f"{RULE_WORDS[rule]} {kind} {items} {marker}"


def compact_reply(terms: Sequence[int], total: int) -> str:
    """Products and their sum."""
    return f"{listed(terms)} : {spelt(total)}"


def listed(terms: Sequence[int]) -> str:
    """Products with commas between them."""
    return " , ".join(map(spelt, terms))


def spelt(number: int) -> str:
    """An integer as sign and digits, a word each: `- 1 2 4`."""
    return " ".join(str(number))


def feedback(fault: str, style: Style) -> str:
    """The user turn after a wrong reply."""
    if style == "compact":
        return f"{fault} {ANSWER}"
    reasons = {
        "other_rule": "your answer is the value under another definition than the one stated",
        "wrong_sign": "the sign of your answer is wrong",
        "wrong_value": "your answer is wrong",
        "not_integer": "your answer is not an integer",
        "unreadable": "no answer was found in your reply",
    }
    return f"You failed this trial because {reasons[fault]}. Try again, in the same form."
