"""Judges a reply: by its action alone.

In the `paper` style that is the last field `action` that holds one, whatever its case, spaces and
quotes; other fields are read from the same object. In the `compact` style it is what follows the
last colon. Whether the step was *translated* depends on what the reply says of observation and
sentence.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from svdrift.tasks.base import Verdict
from svdrift.tasks.navigation import prompts
from svdrift.tasks.navigation.routes import RULES, TURN_WORDS, Step

SOLVED_REWARD, WRONG_REWARD, CROSSING_REWARD = 1.0, -1.0, -1.5
"""Rewards (arXiv 2501.17161): of the right action, of any other one, and of any other one that can
be read where the reply says something wrong about an intersection."""

MAX_REPLY_CHARACTERS = 4096

_ACTION = re.compile(rf"""\b{prompts.ACTION}["']?\s*[:=]\s*([^\n}}]*)""", re.IGNORECASE)
_CALL = re.compile(r"(?:(forward|stop)(?:\(\))?|turn_direction\(([^()]+)\))(?:,|$)")
_NUMBER = re.compile(r"^\d+\s*[.):]\s*")
_KNOWN = {word.replace("-", ""): word for rule in RULES for word in TURN_WORDS[rule]}


class Reading(NamedTuple):
    """What a reply says.

    Attributes:
        action: as in `Step.gold`; None if there is none.
        crossing: whether it claims an intersection; None if it says nothing of what is seen.
        translated: whether observation and sentence are right.
    """

    action: str | None
    crossing: bool | None
    translated: bool


def verify(step: Step, reply: str, style: prompts.Style) -> Verdict:
    """Judge any text as a reply to the step."""
    text = reply if len(reply) <= MAX_REPLY_CHARACTERS else ""
    reading = (_compact if style == "compact" else _paper)(step, text)
    if reading.action == step.gold:
        return Verdict(True, SOLVED_REWARD, "none", "", reading.translated)
    wrong_crossing = reading.crossing not in (None, step.point.crossing)
    fault = _fault(step, reading.action, wrong_crossing)
    pays_more = wrong_crossing and fault != "unreadable"
    reward = CROSSING_REWARD if pays_more else WRONG_REWARD
    return Verdict(False, reward, fault, prompts.feedback(fault, style), reading.translated)


def _fault(step: Step, action: str | None, wrong_crossing: bool) -> str:
    """That of an action which is not right. Memory of the other rule goes before all others."""
    if action is None:
        return "unreadable"
    if action == step.gold_other_rule:
        return "other_rule"
    kind, _, word = action.partition(" ")
    if word and word not in TURN_WORDS[step.rule]:
        return "illegal_action"
    if wrong_crossing:
        return "wrong_crossing"
    return "wrong_turn" if kind == step.point.kind else "wrong_kind"


def _compact(step: Step, text: str) -> Reading:
    head, colon, tail = text.rpartition(":")
    said, done = (head if colon else text).split(), tail.split()
    readable = done in (["forward"], ["stop"]) or (len(done) == 2 and done[0] == "turn")
    return Reading(
        action=" ".join(done) if colon and readable else None,
        crossing="crossing" in said if "seen" in said else None,
        translated=said == prompts.compact_place(step.route, step.point, step.words).split(),
    )


def _paper(step: Step, text: str) -> Reading:
    fields = list(_ACTION.finditer(text))
    if not fields:
        return Reading(None, None, False)
    chosen = next((one for one in reversed(fields) if _called(one[1])), fields[-1])
    start = text.rfind("{", 0, chosen.start()) + 1
    end = text.find("}", chosen.end())
    inside = text[start:] if end < 0 else text[start:end]
    seen, following = _field(inside, prompts.OBSERVATION), _field(inside, prompts.INSTRUCTION)
    right = _plain(prompts.observation(step.point)), _plain(prompts.sentence(step))
    return Reading(
        action=_called(chosen[1]),
        crossing=None if seen is None else "intersection" in seen,
        translated=(seen, following and _NUMBER.sub("", following)) == right,
    )


def _called(text: str) -> str | None:
    """The action that a call names, as in `Step.gold`."""
    call = _CALL.match(re.sub(r"""[\s"'`]""", "", text).casefold())
    if call is None:
        return None
    if call[1]:
        return call[1]
    word = re.sub("[-_]", "", call[2])
    return f"turn {_KNOWN.get(word, word)}"


def _field(text: str, name: str) -> str | None:
    """The last value of a field, in plain words."""
    first, second = name.split()
    found = re.findall(
        rf"""\b{first}[ _]{second}["']?\s*[:=]\s*["']?([^"'\n]*)""", text, re.IGNORECASE
    )
    return _plain(found[-1]) if found else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,")
