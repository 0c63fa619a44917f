"""What a task is to the rest of the library: data, prompts, verifier and reward in one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import pandas

    from svdrift.settings.task import DealSettings, SkillsSettings

Problem: TypeAlias = Any
"""One problem of a task; only the task itself looks inside."""


@dataclass(frozen=True)
class Verdict:
    """What the verifier makes of one reply.

    Attributes:
        solved: the reply is a correct solution.
        reward: the reply's reward for RL.
        fault: "none" when solved, else one of the task's `faults`.
        feedback: the user turn that asks for the next try; "" when solved.
        translated: the reply restates the problem rightly, solved or not.
    """

    solved: bool
    reward: float
    fault: str
    feedback: str
    translated: bool


class Task(Protocol):
    """A family of problems whose replies can be verified."""

    faults: tuple[str, ...]
    """Every kind of fault that a verdict can name."""

    words: tuple[str, ...]
    """The words of a word-level vocabulary: all that compact prompts, replies, feedback and
    pretraining examples consist of."""

    @staticmethod
    def make_split(
        split: str,
        settings: DealSettings,
        count: int,
        seed: int,
        training: Mapping[str, pandas.DataFrame],
    ) -> pandas.DataFrame:
        """Deal one split: a table with one row a problem.

        `training` holds the splits for training that are dealt before it.
        Raises: UserError if the settings ask for more than there is.
        """
        ...

    def validate(self, hands: Mapping[str, pandas.DataFrame]) -> pandas.DataFrame:
        """Check that splits are disjoint, gold replies accepted and spoilt ones rejected.

        Returns one row a split, for the report. Raises: RuntimeError naming what breaks a promise.
        """
        ...

    def read(self, table: pandas.DataFrame) -> list[Problem]:
        """The problems in the rows of a table of `make_hands`, in order."""
        ...

    def first_turn(self, problem: Problem) -> str:
        """The user turn that poses the problem."""
        ...

    def gold_reply(self, problem: Problem) -> str:
        """A reply that solves the problem: the demonstration for SFT."""
        ...

    def verify(self, problem: Problem, reply: str) -> Verdict:
        """Judge a reply of any text. Raises nothing, and takes a bounded time."""
        ...

    @staticmethod
    def pretraining_examples(settings: SkillsSettings, count: int, seed: int) -> list[list[str]]:
        """Examples for a model trained from nothing: the skills of the task, not the task.

        Each is a list of turns [user, reply, user, reply, ...]; only the last reply is to be
        learned, since earlier ones are spoilt on purpose. `seed` is the seed of `make_split`,
        so that what that holds out of pretraining does not appear.
        """
        ...


def demonstrations(task: Task, table: pandas.DataFrame) -> list[tuple[str, str]]:
    """The first turn and the gold reply of each problem in the table: what SFT learns from."""
    return [(task.first_turn(problem), task.gold_reply(problem)) for problem in task.read(table)]
