"""Determinants as a task: knows its settings and delegates to the other modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from svdrift.tasks.base import Verdict
from svdrift.tasks.determinant import prompts, verifier
from svdrift.tasks.determinant.dealing import chance_table, check_splits, make_split, vary_table
from svdrift.tasks.determinant.matrices import Matrix, parse
from svdrift.tasks.determinant.pretraining import Mixture

if TYPE_CHECKING:
    from svdrift.tasks.determinant.settings import DealSettings, PlaySettings, SkillsSettings


class Task:
    """The determinant, or the permanent, of a matrix that is posed."""

    faults: tuple[str, ...] = prompts.FAULTS
    words: tuple[str, ...] = prompts.COMPACT_WORDS

    def __init__(self, settings: PlaySettings) -> None:
        self._style: prompts.Style = settings.prompt_style

    @staticmethod
    def make_split(
        split: str,
        settings: DealSettings,
        count: int,
        seed: int,
        training: Mapping[str, pd.DataFrame],
    ) -> pd.DataFrame:
        """See `svdrift.tasks.determinant.dealing`, which documents splits and columns."""
        return make_split(split, settings, count, seed, training)

    @staticmethod
    def vary(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
        """See `svdrift.tasks.determinant.dealing.vary_table`."""
        return vary_table(table, settings)

    @staticmethod
    def reference_table(settings: SkillsSettings) -> pd.DataFrame:
        """What constant answers score under each form."""
        return chance_table(settings.forms)

    @staticmethod
    def pretraining_examples(settings: SkillsSettings, count: int, seed: int) -> list[list[str]]:
        """See `svdrift.tasks.determinant.pretraining`."""
        sizes = [(form.size, form.low, form.high) for form in settings.forms]
        mixture = Mixture(list(dict.fromkeys(sizes)), seed)
        return [mixture.example() for _ in range(count)]

    def validate(self, problems: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Check the splits, that gold replies are accepted, and wrong answers rejected.

        Returns:
            The table of `check_splits`.

        Raises:
            RuntimeError: naming what failed.
        """
        summary = check_splits(problems)
        for split, table in problems.items():
            for matrix in self.read(table):
                gold = self.gold_reply(matrix)
                verdict = self.verify(matrix, gold)
                if not (verdict.solved and verdict.translated):
                    raise RuntimeError(f"{split}: the gold reply to {matrix} is not accepted")
                if self.verify(matrix, gold.replace(_answer(matrix, self._style), "")).solved:
                    raise RuntimeError(f"{split}: a reply without an answer is accepted")
        return summary

    def read(self, table: pd.DataFrame) -> list[Matrix]:
        """The matrices in the rows of a table, in order."""
        return [
            Matrix(parse(text), rule)
            for text, rule in zip(table["matrix"], table["rule"], strict=True)
        ]

    def first_turn(self, problem: Matrix) -> str:
        """The user turn that poses the matrix."""
        return prompts.first_turn(problem, self._style)

    def gold_reply(self, problem: Matrix) -> str:
        """The reply with the right value."""
        return prompts.reply(problem, self._style)

    def verify(self, problem: Matrix, reply: str) -> Verdict:
        """Judge any text; see `svdrift.tasks.determinant.verifier`."""
        return verifier.verify(problem, reply, self._style)


def _answer(matrix: Matrix, style: prompts.Style) -> str:
    """The end of a gold reply that holds its answer."""
    return f": {prompts.spelt(matrix.value)}" if style == "compact" else f": {matrix.value}\n"
