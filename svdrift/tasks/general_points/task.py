"""The game as a task: knows its settings and delegates to the other modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import pandas as pd

from svdrift.tasks.base import Verdict
from svdrift.tasks.general_points import prompts, verifier
from svdrift.tasks.general_points.decks import held_out_multisets
from svdrift.tasks.general_points.game import Hand, Look, Multiset, join
from svdrift.tasks.general_points.hands import (
    check_splits,
    make_split,
    solution_table,
    vary_table,
)
from svdrift.tasks.general_points.pretraining import Mixture
from svdrift.tasks.general_points.solver import canonical_solution

if TYPE_CHECKING:
    from svdrift.tasks.general_points.settings import DealSettings, PlaySettings, SkillsSettings


class Task:
    """The 24-point game under the settings' rules and prompt style."""

    faults: tuple[str, ...] = prompts.FAULTS
    words: tuple[str, ...] = prompts.COMPACT_WORDS

    def __init__(self, settings: PlaySettings) -> None:
        self._settings = settings
        self._style: prompts.Style = settings.prompt_style
        if self._style == "raster":
            self.words, self.faults = prompts.RASTER_WORDS, (*prompts.FAULTS, prompts.MISREAD)

    @staticmethod
    def make_split(
        split: str,
        settings: DealSettings,
        count: int,
        seed: int,
        training: Mapping[str, pd.DataFrame],
    ) -> pd.DataFrame:
        """See `svdrift.tasks.general_points.hands`, which documents splits and columns."""
        return make_split(split, settings, count, seed, training)

    @staticmethod
    def vary(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
        """See `svdrift.tasks.general_points.hands.vary_table`."""
        return vary_table(table, settings)

    @staticmethod
    def reference_table(settings: SkillsSettings) -> pd.DataFrame:
        """Every value multiset and its solutions."""
        return solution_table(settings.values, settings.hand_sizes, settings.target)

    @staticmethod
    def pretraining_examples(settings: SkillsSettings, count: int, seed: int) -> list[list[str]]:
        """See `svdrift.tasks.general_points.pretraining`."""
        mixture = Mixture(settings, held_out_of(settings, seed), seed)
        return [mixture.example() for _ in range(count)]

    def validate(self, problems: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Check the splits, that every gold reply is accepted, and that spoilt ones are rejected.

        Replies are spoilt for one hand of each value multiset in a split.

        Returns:
            The table of `check_splits` with further columns `accepted` (number of gold replies)
            and `rejected` (number of spoilt ones).

        Raises:
            RuntimeError: naming what failed.
        """
        summary = check_splits(problems).set_index("split")
        for split, table in problems.items():
            for hand in self.read(table):
                verdict = self.verify(hand, self.gold_reply(hand))
                if not (verdict.solved and verdict.translated):
                    raise RuntimeError(f"{split}: the gold reply to {hand} is not accepted")
            samples = table.drop_duplicates("group")
            rejected = 0
            for hand, formula in zip(self.read(samples), samples["gold"], strict=True):
                for spoilt in spoilt_formulas(hand, formula):
                    if self.verify(hand, prompts.reply(hand, spoilt, self._style)).solved:
                        raise RuntimeError(f"{split}: {spoilt!r} is accepted for {hand}")
                    rejected += 1
            summary.loc[split, ["accepted", "rejected"]] = len(table), rejected
        return summary.astype({"accepted": int, "rejected": int}).reset_index()

    def read(self, table: pd.DataFrame) -> list[Hand]:
        """The hands in the rows of a table, in order."""
        rules = self._settings.rules
        columns = table.reindex(columns=["cards", "rule", "target", "stated", "look"])
        return [
            Hand(
                tuple(cards.split()),
                rules[rule],
                int(target),
                rules[stated] if isinstance(stated, str) else None,  # null in a mixture
                cast("Look", look) if isinstance(look, str) else "black",
            )
            for cards, rule, target, stated, look in columns.itertuples(index=False)
        ]

    def first_turn(self, problem: Hand) -> str:
        """The user turn that deals the hand."""
        return prompts.first_turn(problem, self._style)

    def gold_reply(self, problem: Hand) -> str:
        """The reply with the canonical solution.

        Raises:
            ValueError: the hand has no solution.
        """
        formula = canonical_solution(problem.numbers, problem.target)
        if formula is None:
            raise ValueError(f"{problem} has no solution")
        return prompts.reply(problem, formula, self._style)

    def verify(self, problem: Hand, reply: str) -> Verdict:
        """Judge any text; see `svdrift.tasks.general_points.verifier`."""
        return verifier.verify(problem, reply, self._style, self._settings.partial_reward)


def held_out_of(settings: SkillsSettings, seed: int) -> set[Multiset]:
    """The value multisets of every number of cards that pretraining must not show."""
    values, share = settings.values, settings.holdout
    sets = [held_out_multisets(values, size, share, seed) for size in settings.hand_sizes]
    return set[Multiset]().union(*sets)


def spoilt_formulas(hand: Hand, formula: str) -> list[str]:
    """Near misses of a solution, each certainly wrong, which a careless verifier might accept."""
    tokens = formula.split()
    place = next(place for place, token in enumerate(tokens) if token.isdigit())
    foreign = max(hand.numbers) + 1
    return [
        join(tokens[:-1]),  # not finished
        join([*tokens[:place], foreign, *tokens[place + 1 :]]),  # a number that is not in the hand
        f"( {formula} ) * ( {tokens[place]} / {tokens[place]} )",  # right value, overused number
        f"( {formula} ) - ( {formula} )",  # zero, each number twice
        f"( {formula} ) / ( {tokens[place]} - {tokens[place]} )",  # division by zero
    ]
