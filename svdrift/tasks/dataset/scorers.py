"""What makes a reply right. Each scorer reads an answer from the reply, and compares it.

- `exact`: the whole reply, but for white space at its ends and between words;
- `number`: the last number in the reply, by value: `1,000`, `1e3` and `1000.0` are alike;
- `pattern`: the last match of a regular expression, its first group, compared as `exact` does;
- the path of a `.py` file, a colon and a function `(reply: str, problem: dict) -> bool`, which gets
  the row of the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from svdrift import plugins
from svdrift.errors import UserError, shown

NAMES = ("exact", "number", "pattern")
MAX_REPLY_CHARACTERS = 2**16
_NUMBER = re.compile(
    r"(?:(?<![\w.])[-+])?"
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:[eE][-+]?[0-9]{1,3})?"
)
_MINUS = str.maketrans(dict.fromkeys("−‒–—﹣－", "-"))  # noqa: RUF001


class Unreadable(Exception):
    """There is no answer in a reply."""


def check_scorer(name: str, pattern: str | None) -> None:
    """Refuse a scorer that does not exist, or lacks its pattern.

    Raises:
        ValueError: naming the key and what is allowed.
    """
    if name not in NAMES and ".py:" not in name:
        raise ValueError(
            f"scorer: {name!r} is unknown (allowed: {', '.join(NAMES)}, or "
            "path/to/file.py:function)"
        )
    if (name == "pattern") != (pattern is not None):
        raise ValueError("pattern: is what the scorer 'pattern' needs, and no other one takes")
    if pattern is not None:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"pattern: {pattern!r} is no regular expression ({error})") from None
        if groups != 1:
            raise ValueError(f"pattern: {pattern!r} has {groups} groups (allowed: one)")


def own_file(name: str) -> str | None:
    """The file of a function of your own."""
    return name.rpartition(":")[0] if ".py:" in name else None


def is_right(name: str, pattern: str | None, reply: str, problem: Mapping[str, Any]) -> bool:
    """Whether a reply solves a problem.

    Args:
        name: of the scorer.
        pattern: of the scorer `pattern`.
        reply: any text.
        problem: a row of the table, with `answer`.

    Raises:
        Unreadable: there is no answer in the reply.
        UserError: a function of your own raised something, or gave neither True nor False.
    """
    if own_file(name):
        return _own(name, reply, problem)
    if len(reply) > MAX_REPLY_CHARACTERS:
        raise Unreadable
    wanted = str(problem["answer"])
    if name == "number":
        found = last_number(reply)
        return found is not None and found == last_number(wanted)
    if name == "pattern":
        assert pattern is not None
        matches = [match[1] for match in re.finditer(pattern, reply) if match[1] is not None]
        if not matches:
            raise Unreadable
        reply = matches[-1]
    elif not reply.strip():
        raise Unreadable
    return reply.split() == wanted.split()


def last_number(text: str) -> Decimal | None:
    """The last number in a text, exactly.

    Raises:
        Unreadable: there is none.
    """
    found = _NUMBER.findall(text.translate(_MINUS))
    if not found:
        raise Unreadable
    try:
        return Decimal(found[-1].replace(",", ""))
    except InvalidOperation:
        return None


def _own(name: str, reply: str, problem: Mapping[str, Any]) -> bool:
    path, _, function = name.rpartition(":")
    module = plugins.load("svdrift.tasks", path, holds=(function,))
    try:
        verdict = getattr(module, function)(reply, dict(problem))
    except Exception as error:
        raise UserError(
            f"{name}: raised {type(error).__name__} ({error}) for the reply {shown(reply)}"
        ) from None
    if not isinstance(verdict, bool):
        raise UserError(f"{name}: gave {shown(verdict)} (allowed: True or False)")
    return verdict
