"""Formulas that say the same in another order: their normal form.

A sum is a multiset of signed terms, a product one of factors and divisors, both through all
parentheses: `a - ( b - c )` is `( a + c ) - b`, and `a / ( b / c )` is `a * c / b`. Nothing is
multiplied out, so `a * ( b + c )` and `a * b + a * c` differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from svdrift.tasks.general_points.formula import evaluate_as

Term = tuple[int, tuple[str, ...], tuple[str, ...]]
"""A sign, and in ascending order the factors and divisors of a product."""


@dataclass(frozen=True)
class Form:
    """The normal form of a formula; two are equal if their formulas say the same.

    Attributes:
        terms: of the outermost sum, in ascending order.
        value: of the formula.
    """

    terms: tuple[Term, ...]
    value: Fraction

    @classmethod
    def number(cls, number: int) -> Form:
        """The form of a single number."""
        return cls(((1, (str(number),), ()),), Fraction(number))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Form):
            return self.terms == other.terms
        return self.value == other

    def __hash__(self) -> int:
        return hash(self.terms)

    def __neg__(self) -> Form:
        terms = tuple(sorted((-sign, *rest) for sign, *rest in self.terms))
        return Form(terms, -self.value)  # type: ignore[arg-type]

    def __add__(self, other: Form) -> Form:
        return Form(tuple(sorted((*self.terms, *other.terms))), self.value + other.value)

    def __sub__(self, other: Form) -> Form:
        return self + -other

    def __mul__(self, other: Form) -> Form:
        (sign, up, down), (also, more_up, more_down) = self._product, other._product
        return _product(sign * also, (*up, *more_up), (*down, *more_down), self.value * other.value)

    def __truediv__(self, other: Form) -> Form:
        (sign, up, down), (also, more_up, more_down) = self._product, other._product
        return _product(sign * also, (*up, *more_down), (*down, *more_up), self.value / other.value)

    @property
    def _product(self) -> Term:
        """As a product; a sum of several terms is its only factor."""
        return self.terms[0] if len(self.terms) == 1 else (1, (str(self.terms),), ())


def _product(sign: int, factors: Sequence[str], divisors: Sequence[str], value: Fraction) -> Form:
    return Form(((sign, tuple(sorted(factors)), tuple(sorted(divisors))),), value)


def normal_form(tokens: Sequence[str]) -> Form:
    """The normal form of a formula.

    Args:
        tokens: of `formula.tokenise`.

    Raises:
        FormulaError: see `formula.evaluate`.
    """
    form: Form = evaluate_as(tokens, Form.number)
    return form
