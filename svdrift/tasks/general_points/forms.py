"""Other ways to write a formula or an equation, turned into the plain one that `formula` parses.

What is accepted and what is refused, and why, is one table: docs/verifier.md.
"""

import re

from svdrift.tasks.general_points.formula import (
    MAX_CHARACTERS,
    FormulaError,
    evaluate,
    numbers_in,
    tokenise,
)

MAX_WRITTEN = 4 * MAX_CHARACTERS
"""Longest text, with all that formats it, that is looked at: this bounds the time."""

_WRITTEN_AS = {  # plain character -> others for it; not NFKC, which would turn 3 squared into 32
    "*": "\u00d7\u2715\u2716\u2a09\u2217\u22c5\u00b7\u2219\u2022",  # crosses, asterisk, dots
    "/": "\u00f7\u2215\u2044\u2797",  # division sign, slashes, heavy division sign
    "-": "\u2212\u2010\u2011\u2012\u2013\u2796",  # minus, hyphens, shorter dashes, heavy minus
    "+": "\u2795",
    '"': "\u201c\u201d\u201e\u201f",
    "'": "\u2018\u2019\u201a\u201b",
    "": "\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0e\ufe0f",  # no width, or only a style
}
_FOLDED = {
    **{ord(other): plain for plain, others in _WRITTEN_AS.items() for other in others},
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width ASCII
}

_LATEX = (  # with one backslash, or two as in JSON
    (re.compile(r"\\{1,2}(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\{1,2}div(?![A-Za-z])"), "/"),
    (re.compile(r"\\{1,2}(?:left|right)(?![A-Za-z])"), ""),
    (re.compile(r"\\{1,2}[,;:! ]"), " "),
)
_FRACTION = re.compile(r"\\{1,2}[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|([/nrt]))")
_WRAPPERS = (  # around the whole; $ also around a side
    (re.compile(r"(\*{1,3}|_{1,3})(.+)\1", re.DOTALL), r"\2"),
    (re.compile(r"(\${1,2})([^$]+)\1([^$]*)"), r"\2 \3"),
    (re.compile(r"\\{1,2}[([](.+)\\{1,2}[])]", re.DOTALL), r"\1"),
    (re.compile(r"\\{1,2}boxed\s*\{(.+)\}", re.DOTALL), r"\1"),
)
_TIMES_X = re.compile(r"([0-9)]\s*)[xX](?=\s*[0-9(])")
_REMARK = re.compile(
    r"(?<=[0-9)])\s*(?:points?|\((?:with )?each (?:card |number )?(?:is )?used (?:exactly )?once\))"
    r"\.?\s*$",
    re.IGNORECASE,
)
_EDGES = " \t\r\n,\"'`"
_PAIRS = {")": "(", "]": "[", "}": "{"}
_NUMERAL = re.compile(r"0*([0-9]{1,9})(?:\.0*)?")


def fold(text: str) -> str:
    """The text with operators, digits, brackets and quotes of ASCII, and nothing without width."""
    return text.translate(_FOLDED)


def sides(text: str) -> list[str]:
    """The sides of an equation in plain form, the formula first; one side if it is a formula."""
    if len(text) > MAX_WRITTEN:
        return [text]  # which is too long for a formula
    found = re.split("==?", _plain(text))
    if len(found) == 2 and numeral(found[0]) is not None and numeral(found[1]) is None:
        found.reverse()  # "24 = 3 * 8"
    return found


def numeral(side: str) -> int | None:
    """The whole number that a side of an equation is: 24, 024, 24.0, (24); else None."""
    side = side.strip()
    if side.startswith("(") and side.endswith(")"):
        side = side[1:-1].strip()
    match = _NUMERAL.fullmatch(side)
    return int(match[1]) if match else None


def parses(text: str) -> bool:
    """Whether the text is a formula of several numbers, or an equation of one."""
    formula, *stated = sides(text)
    try:
        tokens = tokenise(formula)
        evaluate(tokens)
    except FormulaError as error:
        return error.kind == "division_by_zero"
    return len(numbers_in(tokens)) > 1 and len(stated) < 2


def until_closed(text: str) -> str:
    """The text up to the first brace that closes none opened in it."""
    opened = 0
    for place, character in enumerate(text):
        opened += (character == "{") - (character == "}")
        if opened < 0:
            return text[:place]
    return text


def _plain(text: str) -> str:
    """The text without what formats it."""
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    found = 1
    while found:  # the innermost fractions first
        text, found = _FRACTION.subn(r"((\1)/(\2))", text)
    text = fold(_ESCAPE.sub(_unescape, text)).strip(_EDGES)
    for wrapper, content in _WRAPPERS:
        if match := wrapper.fullmatch(text):
            text = match.expand(content).strip(_EDGES)
    text = _REMARK.sub("", text).removesuffix(".").removesuffix(";").strip(_EDGES)
    return _TIMES_X.sub(r"\1*", _round(text))


def _unescape(match: re.Match[str]) -> str:
    code, character = match.groups()
    if code:
        return chr(int(code, 16))
    return "/" if character == "/" else " "


def _round(text: str) -> str:
    """The text with parentheses in place of other brackets, if each closes one of its own kind."""
    opened: list[str] = []
    for character in text:
        if character in "([{":
            opened.append(character)
        elif character in _PAIRS and (not opened or opened.pop() != _PAIRS[character]):
            return text
    return text if opened else text.translate(str.maketrans("[]{}", "()()"))
