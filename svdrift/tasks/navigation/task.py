"""Navigation as a task: knows its settings and delegates to the other modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from svdrift.tasks.base import Verdict
from svdrift.tasks.navigation import prompts, verifier
from svdrift.tasks.navigation.baselines import baseline_table
from svdrift.tasks.navigation.dealing import check_splits, make_split, read_steps, vary_table
from svdrift.tasks.navigation.pretraining import Mixture
from svdrift.tasks.navigation.routes import Step

if TYPE_CHECKING:
    from svdrift.tasks.navigation.settings import DealSettings, PlaySettings, SkillsSettings


class Task:
    """The next action on a route that written directions describe."""

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
        """See `svdrift.tasks.navigation.dealing`, which documents splits and columns."""
        return make_split(split, settings, count, seed, training)

    @staticmethod
    def vary(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
        """See `svdrift.tasks.navigation.dealing.vary_table`."""
        return vary_table(table, settings)

    @staticmethod
    def reference_table(settings: SkillsSettings) -> pd.DataFrame:
        """What policies score that do not read the directions."""
        return baseline_table(settings.worlds, settings.wrap)

    @staticmethod
    def pretraining_examples(settings: SkillsSettings, count: int, seed: int) -> list[list[str]]:
        """See `svdrift.tasks.navigation.pretraining`."""
        worlds = list(settings.worlds.values())
        mixture = Mixture(worlds, settings.words, settings.wrap, seed)
        return [mixture.example() for _ in range(count)]

    def validate(self, problems: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Check the splits, that gold replies are accepted, and wrong actions rejected.

        Returns:
            The table of `check_splits`.

        Raises:
            RuntimeError: naming what failed.
        """
        summary = check_splits(problems)
        for split, table in problems.items():
            for step in self.read(table):
                gold = self.gold_reply(step)
                verdict = self.verify(step, gold)
                if not (verdict.solved and verdict.translated):
                    raise RuntimeError(f"{split}: the gold reply to {step} is not accepted")
                wrong = "stop" if step.gold == "forward" else "forward"
                done, spoilt = step.gold, wrong
                if self._style == "paper":
                    done, spoilt = prompts.paper_action(done), prompts.paper_action(wrong)
                if self.verify(step, gold.replace(done, spoilt)).solved:
                    raise RuntimeError(f"{split}: a wrong reply to {step} is accepted")
        return summary

    def read(self, table: pd.DataFrame) -> list[Step]:
        """The steps in the rows of a table, in order."""
        return read_steps(table)

    def first_turn(self, problem: Step) -> str:
        """The user turn that poses a step, with the history before it."""
        return prompts.first_turn(problem, self._style)

    def gold_reply(self, problem: Step) -> str:
        """The reply with the expert's action."""
        return prompts.reply(problem, self._style)

    def verify(self, problem: Step, reply: str) -> Verdict:
        """Judge any text; see `svdrift.tasks.navigation.verifier`."""
        return verifier.verify(problem, reply, self._style)
