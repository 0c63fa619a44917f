"""Mutated replies to the card game, judged by the verifier and by an oracle written otherwise.

The oracle reads a reply with `json` and `str.partition`, and a formula with Python's own parser
(`ast`, of which it walks a few kinds of nodes; nothing is evaluated by Python). It has an opinion
on the forms that the prompts ask for. On any other reply it only asks that a reply which the
verifier accepts contains, somewhere, a solution.
"""

from __future__ import annotations

import ast
import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from random import Random
from statistics import median
from typing import NamedTuple

from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.game import RANKS, Hand
from svdrift.tasks.general_points.solver import solutions
from svdrift.tasks.general_points.verifier import verify

RULES = ((10, 10, 10), (11, 12, 13))
HANDS = 60  # few, since listing the solutions of one takes longer than judging many replies
LENIENT = {"×": "*", "÷": "/", "−": "-", "[": "(", "]": ")"}
ALPHABET = "0123456789+-*/()=., \n[]{}:\"'x!^J×÷−_$\\"


class Outcome(NamedTuple):
    """One reply: what it was and what both said. `expected` is None without an opinion."""

    hand: Hand
    reply: str
    solved: bool
    expected: bool | None
    crash: str
    seconds: float


def run(count: int, seed: int) -> dict[str, float]:
    """Judge `count` mutated replies twice.

    Returns:
        `count`, `disagreements`, `crashes`, `slowest_ms` and `median_us` (of the verifier, in
        processor time, which other jobs do not lengthen), and the shares `solved` (by the
        verifier) and `judged` (on which the oracle had an opinion).
    """
    counts: Counter[str] = Counter()
    seconds = []
    for hand, reply in replies(count, Random(seed)):
        outcome = judge(hand, reply)
        seconds.append(outcome.seconds)
        counts["disagreements"] += disagrees(outcome)
        counts["crashes"] += bool(outcome.crash)
        counts["solved"] += outcome.solved
        counts["judged"] += outcome.expected is not None
    return {
        "count": len(seconds),
        "disagreements": counts["disagreements"],
        "crashes": counts["crashes"],
        "slowest_ms": round(1e3 * max(seconds), 1),
        "median_us": round(1e6 * median(seconds), 1),
        "solved": counts["solved"] / len(seconds),
        "judged": counts["judged"] / len(seconds),
    }


def judge(hand: Hand, reply: str) -> Outcome:
    """The verifier's word and the oracle's."""
    started, crash, solved = time.process_time(), "", False
    try:
        solved = verify(hand, reply, "paper", -1.0).solved
    except Exception as error:
        crash = repr(error)
    seconds = time.process_time() - started
    return Outcome(hand, reply, solved, expected(hand, reply), crash, seconds)


def disagrees(outcome: Outcome) -> bool:
    """Whether the verifier said other than the oracle, or accepted what holds no solution."""
    if outcome.expected is not None:
        return outcome.solved != outcome.expected
    return outcome.solved and not holds_a_solution(outcome.hand, outcome.reply)


# --------------------------------------------------------------------------------------
# The oracle


def expected(hand: Hand, reply: str) -> bool | None:
    """Whether a reply of a canonical form solves the hand; None for another form."""
    formula = canonical_formula(reply)
    if formula is None:
        return None
    left, equals, right = formula.partition("=")
    return is_solution(hand, left) and (not equals or right.strip() == str(hand.target))


def canonical_formula(reply: str) -> str | None:
    """The formula of a reply in one of the forms that the prompts ask for."""
    head, colon, tail = reply.partition(" : ")
    if colon and re.fullmatch(r"[0-9]+( [0-9]+)*", head):
        found = tail
    else:
        begin, end = reply.rfind("{"), reply.rfind("}")  # the last object, if nothing follows it
        if not 0 <= begin < end or re.search("[a-z]", reply[end:], re.IGNORECASE):
            return None
        try:
            read = json.loads(reply[begin:end].rstrip(" \n,") + "}")
        except ValueError:
            return None
        if not isinstance(read, dict) or list(read) != ["cards", "number", "formula"]:
            return None
        found = read["formula"]
    # Beyond these characters, and at edges where the verifier strips some, leniency begins.
    plain = isinstance(found, str) and re.fullmatch(r"[0-9(][-+*/()0-9 ]*(=[0-9 ]*)?", found)
    return found if plain and not re.search(r"=\s*0|=\s*$|= ?[0-9]+ +[0-9]", found) else None


def is_solution(hand: Hand, formula: str) -> bool:
    """Whether a formula uses the numbers of the hand, once each, and equals the target."""
    used = Counter(int(number) for number in re.findall("[0-9]+", formula))
    if used != Counter(hand.numbers):
        return False
    if re.search(r"[-+*/]\s*[-+]", formula):  # a sign after an operator: Python would read it
        return False
    # Python knows no 03; spaces between digits stay what they are, two numbers.
    text = re.sub(r"(?<![0-9])0+(?=[0-9])", "", formula.strip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of 3(5), "not callable"
            tree = ast.parse(text.replace("\n", " "), mode="eval")
        return value(tree.body) == hand.target
    except (SyntaxError, ValueError, ZeroDivisionError):
        return False


def value(node: ast.expr) -> Fraction:
    """The exact value of a tree; raises ValueError for a node that is no arithmetic."""
    match node:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return value(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return value(left) + value(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return value(left) - value(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return value(left) * value(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return value(left) / value(right)
    raise ValueError(ast.dump(node))


def holds_a_solution(hand: Hand, reply: str) -> bool:
    """Whether some stretch of characters of arithmetic in the reply is a solution."""
    for lenient, plain in LENIENT.items():
        reply = reply.replace(lenient, plain)
    reply = re.sub(r"(?<=[0-9) ])[xX](?=[0-9( ])", "*", reply)
    reply = reply.replace("\\/", "/")
    # A colon after a backslash is a space in LaTeX, or the end of what stands before it.
    ended = re.sub(r"\\[nrt ,;!]|\$", " ", reply)
    reply = ended.replace("\\:", " ")
    braces = reply.translate(str.maketrans("{}", "()"))  # which may be brackets of the formula
    return any(
        is_solution(hand, stretch.strip(" \n*"))
        for text in (reply, braces, ended)
        for stretch in re.findall(r"[-+*/()0-9\s]+", text)
    )


# --------------------------------------------------------------------------------------
# The replies


def replies(count: int, random: Random) -> Iterator[tuple[Hand, str]]:
    """Right replies to some hands, each changed in no to five places."""
    hands = [solvable_hand(random) for _ in range(HANDS)]
    for _ in range(count):
        hand = random.choice(hands)
        yield hand, wrong_or_right(hand, random)


def solvable_hand(random: Random) -> Hand:
    """A hand that can make 24 under one of the rules."""
    while True:
        hand = Hand(tuple(random.choices(RANKS, k=4)), random.choice(RULES), 24)
        if solutions(hand.numbers, hand.target):
            return hand


def wrong_or_right(hand: Hand, random: Random) -> str:
    """A solution, its formula and what stands around it changed at random."""
    formula = random.choice(solutions(hand.numbers, hand.target))
    if random.random() < 0.5:
        formula = formula.replace(" ", "")
    edits = random.choice((0, 1, 1, 1, 2, 2, 3, 5))
    around = sum(random.random() < 0.15 for _ in range(edits))
    changed = mutated(formula, edits - around, random)
    return mutated(random.choice(forms(hand, formula, changed)), around, random)


def forms(hand: Hand, right: str, formula: str) -> tuple[str, ...]:
    """Forms of a reply; in those with two objects the first one has the right formula."""
    asked = prompts.reply(hand, "FORMULA", "paper").replace
    equation = asked("FORMULA", formula)
    bare = equation.replace(f'={hand.target}"', '"')
    return (
        prompts.reply(hand, formula, "compact"),
        equation,
        equation,
        bare,
        bare,
        f"```json\n{equation}\n```",
        f"I think: {asked('FORMULA', right)}\n{equation}",
        equation.replace('"', "'"),
        f"<answer>{formula}</answer>",
        f"{hand.target} = {formula}",
        formula.replace("*", "×").replace("-", "−").replace("/", "÷"),
    )


def mutated(text: str, edits: int, random: Random) -> str:
    """The text after this many random edits."""
    for _ in range(edits if text else 0):
        place, other = (random.randrange(len(text) + 1) for _ in range(2))
        near = min(len(text), place + random.randrange(1, 4))
        match random.randrange(7):
            case 0:
                text = text[:place] + text[near:]
            case 1:
                text = text[:place] + random.choice(ALPHABET) + text[place:]
            case 2:
                text = text[:place] + random.choice(ALPHABET) + text[place + 1 :]
            case 3:
                text = exchanged(text, random.choice((r"[-+*/×÷−]", "[0-9]+")), random)
            case 4:  # a stretch once more, somewhere else
                text = text[:other] + text[place:near] + text[other:]
            case 5:
                text = text[:place] + text[place:near][::-1] + text[near:]
            case 6:
                text = random.choice((text[:place], text + text[place:], text[place:]))
        if not text:
            break
    return text


def exchanged(text: str, kind: str, random: Random) -> str:
    """The text with one match of a pattern in the place of another."""
    found = list(re.finditer(kind, text))
    if not found:
        return text
    match, other = random.choice(found), random.choice(found)[0]
    return text[: match.start()] + other + text[match.end() :]
