"""Judges a reply: by its answer alone, exactly.

In the `paper` style that is the last field `answer`; what it holds must be an integer, and all of
it counts (7.9 is not 7). In the `compact` style it is what follows the last colon, as sign and
digits. Whether the matrix was *translated* depends on the field `matrix`, or on the products.
"""

from __future__ import annotations

import re

from svdrift.tasks.base import Verdict
from svdrift.tasks.determinant import prompts
from svdrift.tasks.determinant.matrices import RULES, Matrix, products, value

SOLVED_REWARD, FAULT_REWARD = 5.0, -1.0  # as published (arXiv 2509.12235): nothing between
MAX_REPLY_CHARACTERS = 4096  # fewer digits than Python reads as an integer

_FIELD = re.compile(r"""["']?\banswer["']?\s*[:=]\s*["']?([^"',}\n]*)""", re.IGNORECASE)
_MATRIX = re.compile(r"""["']?\bmatrix["']?\s*[:=]\s*(\[[\[\]\s,+\d-]*\])""", re.IGNORECASE)
_ROW = re.compile(r"\[([^\[\]]*)\]")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(?:[eE/][+-]?[0-9]+)?")
_MINUS = str.maketrans(dict.fromkeys("−‒–—﹣－", "-"))  # noqa: RUF001


def verify(matrix: Matrix, reply: str, style: prompts.Style) -> Verdict:
    """Judge any text as a reply to the matrix."""
    text = reply.translate(_MINUS) if len(reply) <= MAX_REPLY_CHARACTERS else ""
    answer, translated = (_compact if style == "compact" else _paper)(matrix, text)
    fault = _fault(matrix, answer)
    if fault is None:
        return Verdict(True, SOLVED_REWARD, "none", "", translated)
    return Verdict(False, FAULT_REWARD, fault, prompts.feedback(fault, style), translated)


def _fault(matrix: Matrix, answer: str | None) -> str | None:
    if answer is None:
        return "unreadable"
    if not _INTEGER.fullmatch(answer):
        return "not_integer" if _NUMBER.fullmatch(answer) else "unreadable"
    found, right = int(answer), matrix.value
    if found == right:
        return None
    others = {value(products(matrix.rows), rule) for rule in RULES if rule != matrix.rule}
    if found in others:
        return "other_rule"
    return "wrong_sign" if found == -right else "wrong_value"


def _compact(matrix: Matrix, text: str) -> tuple[str | None, bool]:
    """The answer, and whether the products before it are right."""
    head, colon, tail = text.rpartition(":")
    terms = head if colon else text
    right = prompts.listed(products(matrix.rows)).split()
    return ("".join(tail.split()) or None) if colon else None, terms.split() == right


def _paper(matrix: Matrix, text: str) -> tuple[str | None, bool]:
    """The last answer, and whether the last matrix is the one that was posed."""
    answers, shown = _FIELD.findall(text), _MATRIX.findall(text)
    answer = answers[-1].strip() or None if answers else None
    return answer, bool(shown) and _rows(shown[-1]) == matrix.rows


def _rows(text: str) -> tuple[tuple[int, ...], ...] | None:
    rows = [row.replace(",", " ").split() for row in _ROW.findall(text)]
    if not all(_INTEGER.fullmatch(entry) for row in rows for entry in row):
        return None
    return tuple(tuple(map(int, row)) for row in rows)
