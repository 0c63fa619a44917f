"""Judges a reply: lenient about its form, strict about its mathematics.

docs/verifier.md lists the forms that are accepted and those that are not. The formula may be an
equation; then its other side must be the target itself, otherwise its value counts as wrong.

Whether the reply is a *solution* depends on its formula alone. Whether the hand was *translated*
depends on its list of numbers alone: it must give the cards' values in the order of the deal.

In the style `raster` a reply must name the cards first. If it names others, nothing else counts,
as published for images of cards; so a reply that is not misread, but has wrong numbers, recognised
the cards and did not translate them.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from svdrift.tasks.base import Verdict
from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.forms import numeral, sides
from svdrift.tasks.general_points.formula import FormulaError, evaluate, numbers_in, tokenise
from svdrift.tasks.general_points.game import Hand, join
from svdrift.tasks.general_points.raster import split_reply
from svdrift.tasks.general_points.reading import MAX_REPLY_CHARACTERS, read_reply
from svdrift.tasks.general_points.solver import solutions

SOLVED_REWARD = 5.0
FAULT_REWARDS = {
    "wrong_number": -2.0,  # the formula uses a number that is not in the hand
    "overused": -2.0,  # ... a number of the hand more often than it occurs there
    "unused": -2.0,  # ... a number of the hand less often than it occurs there
    "wrong_value": -1.0,  # right numbers, but not the target
    "illegal_formula": -3.0,  # not a formula, or division by zero
    "unreadable": -3.0,  # no formula in the reply
}
"""Reward for each fault (arXiv 2508.16546); faults of the three number kinds add up. That for
`partial`, the unfinished beginning of a solution, is a setting."""

MISREAD_REWARD = -1.5  # other cards than those drawn (arXiv 2501.17161)


@dataclass(frozen=True)
class Fault:
    """One fault of a reply: its kind, the offending number if any, and the reason."""

    kind: str
    offender: Fraction | int | None
    reason: str


def verify(hand: Hand, reply: str, style: prompts.Style, partial_reward: float) -> Verdict:
    """Judge any text as a reply to the hand, with feedback in the given style.

    The reward is SOLVED_REWARD, or the sum of FAULT_REWARDS (and `partial_reward`) over the
    faults; the verdict names the first fault. Takes milliseconds at most.
    """
    cards: tuple[str, ...] | None = hand.cards
    if style == "raster":
        cards, reply = split_reply(reply)
    numbers, formula = read_reply(reply)
    translated = numbers == hand.numbers
    if cards is not None and sorted(cards) != sorted(hand.cards):
        feedback = prompts.compact_feedback(prompts.MISREAD, None, prompts.ANSWER)
        return Verdict(False, MISREAD_REWARD, prompts.MISREAD, feedback, translated)
    faults, tokens = find_faults(hand.numbers, hand.target, None if cards is None else formula)
    if not faults:
        return Verdict(True, SOLVED_REWARD, "none", "", translated)
    if style != "paper":
        feedback = prompts.compact_feedback(faults[0].kind, faults[0].offender, prompts.ANSWER)
    else:
        matched = join(tokens[: _matching_tokens(hand.numbers, hand.target, tokens)])
        feedback = prompts.paper_feedback([fault.reason for fault in faults], matched)
    rewards = FAULT_REWARDS | {"partial": partial_reward}
    reward = sum(rewards[fault.kind] for fault in faults)
    return Verdict(False, reward, faults[0].kind, feedback, translated)


def find_faults(
    numbers: Sequence[int], target: int, formula: str | None
) -> tuple[list[Fault], list[str]]:
    """The faults of a formula or equation (none if it solves the hand), and its tokens.

    There are no tokens if the formula is missing or contains illegal characters.
    """
    left, *right = sides(formula or "")
    if not left and not right:
        reason = (
            f"no formula was found in your reply (of {MAX_REPLY_CHARACTERS} characters at most)"
        )
        return [Fault("unreadable", None, reason)], []
    tokens: list[str] = []
    try:
        tokens = tokenise(left)
        value = evaluate(tokens)
        stated = [_stated(side) for side in right]
        if len(right) > 1:
            raise FormulaError("malformed", "it has several '='")
    except FormulaError as error:
        begins = len(tokens) == _matching_tokens(numbers, target, tokens) and not right
        if begins and numbers_in(tokens):
            return [Fault("partial", None, "your formula is not finished")], tokens
        return [Fault("illegal_formula", None, f"your formula is illegal: {error}")], tokens
    if faults := number_faults(numbers_in(tokens), numbers):
        return faults, tokens
    if value != target:
        return [Fault("wrong_value", value, f"your formula equals {value}, not {target}")], tokens
    if right and numeral(right[0]) != target:
        reason = f"your formula equals {target}, but you state something else"
        return [Fault("wrong_value", stated[0], reason)], tokens
    return [], tokens


def number_faults(used: Sequence[int], wanted: Sequence[int]) -> list[Fault]:
    """How the numbers used differ from those wanted, as multisets: at most one fault per kind."""
    surplus = Counter(used) - Counter(wanted)
    missing = list((Counter(wanted) - Counter(used)).elements())
    foreign = [number for number in surplus.elements() if number not in wanted]
    repeated = [number for number in surplus.elements() if number in wanted]
    return [
        Fault(kind, offenders[0], f"{complaint} {offenders}")
        for kind, offenders, complaint in (
            ("wrong_number", foreign, "your formula uses the invalid numbers"),
            ("overused", repeated, "your formula uses too often the numbers"),
            ("unused", missing, "your formula does not use the numbers"),
        )
        if offenders
    ]


def _stated(side: str) -> Fraction:
    number = numeral(side)
    return evaluate(tokenise(side)) if number is None else Fraction(number)


def _matching_tokens(numbers: Sequence[int], target: int, tokens: Sequence[str]) -> int:
    """Length of the longest beginning that these tokens share with a solution."""
    texts = solutions(numbers, target)
    # The solution with the longest common beginning is a neighbour in sorted order.
    place = bisect(texts, join(tokens))
    neighbours = texts[max(place - 1, 0) : place + 1]
    return max((_common(tokens, text.split()) for text in neighbours), default=0)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count
