"""Your own problems as a task: poses prompts as they are, and judges replies by the scorer."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from svdrift.tasks.base import Verdict
from svdrift.tasks.dataset.scorers import Unreadable, is_right
from svdrift.tasks.dataset.settings import overlaps
from svdrift.tasks.dataset.tables import Row, read_rows

if TYPE_CHECKING:
    from svdrift.tasks.dataset.settings import DealSettings, PlaySettings, SkillsSettings


@dataclass(frozen=True)
class Problem:
    """A row of a table."""

    prompt: str
    answer: str
    gold: str  # the reply to learn from
    row: Mapping[str, Any] = field(repr=False, compare=False)


class Task:
    """Prompts with reference answers."""

    faults: tuple[str, ...] = ("wrong", "unreadable")
    words: tuple[str, ...] = ()  # a model made from nothing does not know the prompts' words

    def __init__(self, settings: PlaySettings) -> None:
        self._settings = settings

    @staticmethod
    def make_split(
        split: str,
        settings: DealSettings,
        count: int,
        seed: int,
        training: Mapping[str, pd.DataFrame],
    ) -> pd.DataFrame:
        """All rows of the split's table in its order, or some at random.

        What the table has as `reply` is the gold reply.

        Raises:
            UserError: the table is wrong.
        """
        rows = read_rows(settings.path)
        if count < len(rows):
            rows = random.Random(f"{seed} {split}").sample(rows, count)
        table = pd.DataFrame([{k: v for k, v in row.items() if k != "reply"} for row in rows])
        names = [f"{split}-{number:06d}" for number in range(len(rows))]
        return table.assign(
            problem=names,
            group=[row.get("group") or name for row, name in zip(rows, names, strict=True)],
            subsets=[row.get("subsets") or "" for row in rows],
            gold=[row.get("reply") or row["answer"] for row in rows],
        )

    @staticmethod
    def vary(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
        """Nothing can vary."""
        return table

    @staticmethod
    def pretraining_examples(settings: SkillsSettings, count: int, seed: int) -> list[list[str]]:
        """There are none: the configuration refuses to pretrain (`Settings.TEACHES`)."""
        raise NotImplementedError

    @staticmethod
    def reference_table(settings: SkillsSettings) -> pd.DataFrame:
        """One row a split: `split`, `problems`, `commonest` (share of its commonest answer)."""
        rows = []
        for split, path in settings.tables.items():
            answers = pd.Series([row["answer"] for row in read_rows(path)])
            commonest = answers.value_counts(normalize=True).iloc[0]
            rows.append({"split": split, "problems": len(answers), "commonest": commonest})
        return pd.DataFrame(rows)

    def validate(self, problems: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """See the checks of `Settings.check_problems`, here of the dealt tables.

        Raises:
            RuntimeError: a promise is broken.
        """
        rows: dict[str, list[Row]] = {
            split: [{"prompt": prompt} for prompt in table["prompt"]]
            for split, table in problems.items()
        }
        for split, other, shared in overlaps(rows):
            raise RuntimeError(f"{split}: shares {len(shared)} problems with {other}")
        for split, table in problems.items():
            for problem in self.read(table):
                if not self.verify(problem, problem.gold).solved:
                    raise RuntimeError(f"{split}: the gold reply to {problem} is not accepted")
                if self.verify(problem, "").solved:
                    raise RuntimeError(f"{split}: an empty reply to {problem} is accepted")
        return pd.DataFrame(
            {"split": split, "problems": len(table), "groups": table["group"].nunique()}
            for split, table in problems.items()
        )

    def read(self, table: pd.DataFrame) -> list[Problem]:
        """The problems in the rows of a table, in order."""
        return [
            Problem(row["prompt"], row["answer"], row["gold"], row)
            for row in cast("list[Row]", table.to_dict("records"))
        ]

    def first_turn(self, problem: Problem) -> str:
        """The prompt."""
        return problem.prompt

    def gold_reply(self, problem: Problem) -> str:
        """The row's reply, or its answer."""
        return problem.gold

    def verify(self, problem: Problem, reply: str) -> Verdict:
        """Judge a reply by the scorer.

        Raises:
            UserError: a scorer of your own raised something.
        """
        settings = self._settings
        try:
            right = is_right(settings.scorer, settings.pattern, reply, problem.row)
            fault = "wrong"
        except Unreadable:
            right, fault = False, "unreadable"
        if right:
            return Verdict(True, settings.right, "none", "", True)
        said = "no answer was found in it" if fault == "unreadable" else "it is wrong"
        return Verdict(False, settings.wrong, fault, f"Not accepted: {said}. Try again.", False)
