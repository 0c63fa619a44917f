"""Finds the numbers and the formula in a reply, whatever is written around them.

A reply is read as a JSON-like object with the fields `number` and `formula` (or `equation`), with
any quotes, trailing commas, text or fences around it. Without such a field it is what stands in
`<answer>` or in a box, else all of it; and that is `numbers : formula`, or a formula alone.

The last field counts. The word without quotes may be prose, such as `Formula: see above`; it is a
field if a formula follows, or digits without any letter. docs/verifier.md lists the forms.
"""

import re

from svdrift.tasks.general_points.forms import fold, parses, until_closed

MAX_REPLY_CHARACTERS = 4096

_FIELD = re.compile(
    r"""(["'`]?)\b(?:formula|equation)(["'`]?)(?:\*\*)?\s*[:=]\s*(?:\*\*\s)?""", re.IGNORECASE
)
_OPENING = re.compile(r"""[\s"'`]*""")
_QUOTE = re.compile(r"""["'`]""")
_DIGIT, _LETTER = re.compile("[0-9]"), re.compile(r"[^\W\d_]")
_FENCES = re.compile(r"^\s*```[a-z]*\s|```\s*$")
_NUMBERS = re.compile(r"""\bnumbers?["']?\s*:\s*\[([^\]]*)""", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,4}")


def read_reply(text: str) -> tuple[tuple[int, ...] | None, str | None]:
    """The numbers and the formula in the reply; None for each that is missing."""
    if len(text) > MAX_REPLY_CHARACTERS:
        return None, None
    text = fold(text)
    lists = _NUMBERS.findall(text)
    numbers = _read_numbers(lists[-1].replace(",", " ")) if lists else None
    formula = _last_field(text)
    if formula is not None or lists:
        return numbers, formula
    text = _FENCES.sub("", _marked(text))
    head, colon, tail = text.rpartition(":")
    if colon:
        return _read_numbers(head), tail
    numbers = _read_numbers(text)
    return numbers, text if numbers is None and parses(text) else None


def _last_field(text: str) -> str | None:
    """The last formula in a field; None if there is no field."""
    found = list(_FIELD.finditer(text))
    if not found:
        return None
    ends = [match.start() for match in found[1:]] + [len(text)]
    values = [_value(text[match.end() : end]) for match, end in zip(found, ends, strict=True)]
    for match, value in zip(reversed(found), reversed(values), strict=True):
        quoted = match[1] and match[2]  # a field, whatever follows
        if quoted or parses(value) or (_DIGIT.search(value) and not _LETTER.search(value)):
            return value
    return values[-1]


def _value(text: str) -> str:
    """The value of a field, from what follows its colon."""
    opening = _OPENING.match(text)
    quotes = _QUOTE.findall(opening[0]) if opening else []
    text = text[opening.end() :] if opening else text
    inside, closed, _ = text.partition(quotes[-1]) if quotes else ("", "", "")
    if not closed:  # it ends with its line, or with the object
        inside = until_closed(text.partition("\n")[0])
    return _QUOTE.split(inside, maxsplit=1)[0]


def _marked(text: str) -> str:
    """What the reply marks as its answer, last; the whole of it if nothing."""
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, max(end, 0))
    if start >= 0:
        return text[start + len("<answer>") : end]
    _, box, boxed = text.rpartition("\\boxed{")
    return until_closed(boxed) if box else text


def _read_numbers(text: str) -> tuple[int, ...] | None:
    words = [word.strip("\"'") for word in text.split()]
    legal = all(_NUMBER.fullmatch(word) for word in words)
    return tuple(map(int, words)) if words and legal else None
