"""What probes ask of the game: all right replies, their parts, help, and other judgements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.forms import sides
from svdrift.tasks.general_points.formula import FormulaError, tokenise
from svdrift.tasks.general_points.game import Hand, Multiset, multiset
from svdrift.tasks.general_points.normal_form import Form, normal_form
from svdrift.tasks.general_points.reading import read_reply
from svdrift.tasks.general_points.solver import canonical_solution, solutions
from svdrift.tasks.probing import Help

if TYPE_CHECKING:
    from svdrift.tasks.general_points.settings import PlaySettings

_NUMBER = re.compile(r"[0-9]+")
FORMULA = {
    "compact": ":",
    "raster": ":",
    "paper": '"formula": "',
}  # what stands before the formula of a reply


OPERATIONS = ("one_operation", "two_operations", "three_operations")


class Probing:
    """See `svdrift.tasks.probing.Probing`."""

    def __init__(self, settings: PlaySettings) -> None:
        self._rules = settings.rules
        self._style: prompts.Style = settings.prompt_style

    def replies(self, problem: Hand) -> Sequence[str]:
        """One with each solution that the solver knows: no needless parentheses or signs."""
        found = solutions(problem.numbers, problem.target)
        return [prompts.reply(problem, formula, self._style) for formula in found]

    def parts(self, problem: Hand, reply: str) -> Mapping[str, tuple[int, int]]:
        """The cards' values, which are the `translation`, and the `formula`; and before them the
        cards, where they are drawn, which are the `recognition`.
        """  # noqa: D205
        start = self._formula_start(reply)
        parts = {"translation": (0, start), "formula": (start, len(reply))}
        if self._style != "raster":
            return parts
        named = reply.index("numbers")
        return {"recognition": (0, named)} | parts | {"translation": (named, start)}

    def helped(self, problem: Hand) -> Mapping[str, Help]:
        """With `nothing` given; the `values` of the cards in the prompt; and, as a begun reply,
        the `translation`, then the gold formula up to each of its operations but the last: of four
        cards, up to its first and its second.

        An operation ends with its second number, so that the next sign is the model's own.
        """  # noqa: D205
        turn = prompts.first_turn(problem, self._style)
        gold = canonical_solution(problem.numbers, problem.target)
        if gold is None:
            raise ValueError(f"{problem} has no solution")
        reply = prompts.reply(problem, gold, self._style)
        start = self._formula_start(reply)
        ends = [match.end() for match in _NUMBER.finditer(reply, start)]
        begun = zip(OPERATIONS, ends[1 : len(problem.cards) - 1], strict=False)
        return {
            "nothing": Help(turn, ""),
            "values": Help(
                self._turn_with_values(problem),
                reply[: reply.index("numbers") + len("numbers")] if self._style == "raster" else "",
            ),
            "translation": Help(turn, reply[:start]),
            **{name: Help(turn, reply[:end]) for name, end in begun},
        }

    def scores(self, problem: Hand, reply: str) -> Mapping[str, bool]:
        """`expert_match`: the formula is the demonstrated one, token by token; `same_form`: it says
        the same (`normal_form`).
        """  # noqa: D205
        gold = canonical_solution(problem.numbers, problem.target)
        assert gold is not None
        tokens = self._tokens(reply)
        try:
            same = bool(tokens) and normal_form(tokens) == normal_form(tokenise(gold))
        except FormulaError:
            same = False
        return {"expert_match": tokens == tokenise(gold), "same_form": same}

    def solutions(self, problem: Hand) -> Mapping[str, int]:
        """`formulas`: as texts; `forms`: by what they say."""
        found = multiset(problem.numbers), problem.target
        return {"formulas": len(solutions(*found)), "forms": len(_forms(*found))}

    def under_other_rules(self, problem: Hand) -> Mapping[str, Hand]:
        """Where the other rule gives the cards other values."""
        found = {name: replace(problem, rule=rule) for name, rule in self._rules.items()}
        return {name: hand for name, hand in found.items() if hand.numbers != problem.numbers}

    def _formula_start(self, reply: str) -> int:
        before = FORMULA[self._style]
        return reply.index(before) + len(before)

    def _turn_with_values(self, hand: Hand) -> str:
        """The prompt of pretraining that gives values; in the other style, values for cards."""
        if self._style != "paper":
            return prompts.compact_prompt(
                hand.stated_rule, hand.target, "numbers", hand.numbers, prompts.SOLVE
            )
        return prompts.first_turn(replace(hand, cards=tuple(map(str, hand.numbers))), self._style)

    def _tokens(self, reply: str) -> list[str]:
        """The tokens of the formula in any reply; none where there is no formula."""
        _, formula = read_reply(reply)
        try:
            return tokenise(sides(formula or "")[0])
        except FormulaError:
            return []


@cache
def _forms(numbers: Multiset, target: int) -> frozenset[Form]:
    return frozenset(normal_form(tokenise(text)) for text in solutions(numbers, target))
