"""Formulas written by a model: tokens, grammar and exact value. Nothing is ever executed.

    sum     = ["+" | "-"] product (("+" | "-") product)*
    product = atom (("*" | "/") atom)*
    atom    = number | "(" sum ")"

Numbers are plain digits; there are no decimals or powers, and a sign stands at the beginning or
after a parenthesis only. Length and depth are bounded, so that parsing any text takes bounded time.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Literal

MAX_CHARACTERS = 256
MAX_DEPTH = 32

ErrorKind = Literal["too_long", "illegal_characters", "malformed", "division_by_zero"]

_TOKEN = re.compile(r"[0-9]+|[-+*/()]")
_ILLEGAL = re.compile(r"[^-+*/()0-9\s]")


class FormulaError(ValueError):
    """The text is not a formula with a value. `kind` says why, the message in words."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def tokenise(text: str) -> list[str]:
    """Numbers, operators and parentheses; raises FormulaError for anything else but spaces."""
    if len(text) > MAX_CHARACTERS:
        raise FormulaError("too_long", f"it is longer than {MAX_CHARACTERS} characters")
    if illegal := sorted(set(_ILLEGAL.findall(text))):
        raise FormulaError(
            "illegal_characters", f"it holds illegal characters: {' '.join(illegal)}"
        )
    return _TOKEN.findall(text)


def numbers_in(tokens: Sequence[str]) -> list[int]:
    """The numbers among the tokens, in order, with repetitions."""
    return [int(token) for token in tokens if token.isdigit()]


def evaluate(tokens: Sequence[str]) -> Fraction:
    """The exact value of the formula; raises FormulaError if it has none."""
    value: Fraction = evaluate_as(tokens, Fraction)
    return value


def evaluate_as(tokens: Sequence[str], number: Callable[[int], Any]) -> Any:
    """The formula with its numbers as other things that can be added, multiplied and so on.

    Args:
        tokens: of `tokenise`.
        number: makes such a thing, which equals 0 where dividing by it is wrong.

    Raises:
        FormulaError: see `evaluate`.
    """
    parser = _Parser(tokens, number)
    value = parser.sum(depth=0)
    if parser.next is not None:
        raise FormulaError("malformed", f"it goes on after its end with {parser.next!r}")
    return value


class _Parser:
    """Recursive descent, one method per rule of the grammar; evaluates as it reads."""

    def __init__(self, tokens: Sequence[str], number: Callable[[int], Any]) -> None:
        self._tokens = tokens
        self._number = number
        self._position = 0

    @property
    def next(self) -> str | None:
        at_end = self._position == len(self._tokens)
        return None if at_end else self._tokens[self._position]

    def _take(self) -> str:
        token = self.next
        if token is None:
            raise FormulaError("malformed", "it is not finished")
        self._position += 1
        return token

    def sum(self, depth: int) -> Any:
        opposite = self.next in ("+", "-") and self._take() == "-"
        value = self._product(depth)
        value = -value if opposite else value
        while self.next in ("+", "-"):
            negative = self._take() == "-"
            operand = self._product(depth)
            value += -operand if negative else operand
        return value

    def _product(self, depth: int) -> Any:
        value = self._atom(depth)
        while self.next in ("*", "/"):
            if self._take() == "*":
                value *= self._atom(depth)
                continue
            divisor = self._atom(depth)
            if divisor == 0:
                raise FormulaError("division_by_zero", "it divides by zero")
            value /= divisor
        return value

    def _atom(self, depth: int) -> Any:
        token = self._take()
        if token.isdigit():
            return self._number(int(token))
        if token != "(":
            raise FormulaError("malformed", f"{token!r} stands where a number should be")
        if depth == MAX_DEPTH:
            raise FormulaError("malformed", f"it is nested deeper than {MAX_DEPTH} levels")
        value = self.sum(depth + 1)
        if self._take() != ")":
            raise FormulaError("malformed", "a parenthesis is not closed")
        return value
