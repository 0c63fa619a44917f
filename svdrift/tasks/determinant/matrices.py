"""Square integer matrices: their determinant and permanent, exactly, and which are alike.

Both are sums over the permutations of the columns, of the products of one entry a row (Leibniz's
formula): the determinant with each permutation's sign, the permanent without.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

RULES = ("determinant", "permanent")
"""What is asked for. In the compact prompt the rule is one word, as in `prompts.RULE_WORDS`."""

Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Matrix:
    """One problem: a square matrix, and the rule under which its value is asked for."""

    rows: Rows
    rule: str

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def value(self) -> int:
        """The determinant or the permanent."""
        return value(products(self.rows), self.rule)


@cache
def signed_permutations(size: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Each permutation of the columns with its sign: even ones first, in lexical order."""
    every = [(_sign(order), order) for order in permutations(range(size))]
    return tuple(sorted(every, key=lambda one: (-one[0], one[1])))


def products(rows: Rows) -> tuple[int, ...]:
    """The products of Leibniz's formula, without signs: `a d` and `b c` of [[a, b], [c, d]]."""
    return tuple(
        math.prod(row[column] for row, column in zip(rows, order, strict=True))
        for _, order in signed_permutations(len(rows))
    )


def value(terms: Sequence[int], rule: str) -> int:
    """The sum of `products` with their signs (determinant) or without (permanent).

    Args:
        terms: 2 of a 2 x 2 matrix, 6 of a 3 x 3 one; the second half has odd permutations.
        rule: of RULES.
    """
    half = len(terms) // 2
    odd = sum(terms[half:])
    return sum(terms[:half]) + (odd if rule == "permanent" else -odd)


def key(rows: Rows) -> str:
    """The same for all matrices that differ by the order of rows or columns or by transposing.

    Their permanents are equal, and their determinants but for the sign.
    """
    return join(min(_alike(rows)))


def join(rows: Rows) -> str:
    """`2 -1 ; 3 4`, as in tables and compact prompts."""
    return " ; ".join(" ".join(map(str, row)) for row in rows)


def parse(text: str) -> Rows:
    """What `join` has written."""
    return tuple(tuple(map(int, row.split())) for row in text.split(";"))


def _alike(rows: Rows) -> Iterator[Rows]:
    for one in (rows, tuple(zip(*rows, strict=True))):
        for order in permutations(one):
            for columns in permutations(range(len(rows))):
                yield tuple(tuple(row[column] for column in columns) for row in order)


def _sign(order: Sequence[int]) -> int:
    """Of a permutation: by the number of pairs that are in the wrong order."""
    wrong = sum(a > b for place, a in enumerate(order) for b in order[place + 1 :])
    return -1 if wrong % 2 else 1
