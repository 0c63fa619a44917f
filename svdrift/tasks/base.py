"""What a task is to the rest of the library: its settings, and problems with verifiable replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, TypeAlias

from pydantic import Field

from svdrift.errors import UserError
from svdrift.section import Section
from svdrift.tasks.splits import Split

if TYPE_CHECKING:
    import pandas

Problem: TypeAlias = Any
"""One problem of a task; only the task itself looks inside."""


class TaskPart(Section):
    """A part of a task's settings that a script is given; each task derives its own."""

    REWARDS: ClassVar[frozenset[str]] = frozenset()
    """Keys that say what a reply earns and nothing else: jobs that earn nothing do not get them."""

    name: str = Field(description="The task: a folder of `svdrift/tasks`, or the path of a file.")


class Tokens(NamedTuple):
    """Lengths in tokens, chat template included."""

    prompt: int  # the first user turn
    reply: int  # a solution
    feedback: int  # the user turn after a wrong reply


class TaskSettings(TaskPart):
    """The section `task:`; each task's `Settings` derives from it.

    A subclass must define `splits`, `play`, `deal`, `count`, `skills` and `summary`. The rest has
    defaults: no files of the user's own, nothing held out, nothing that can vary.
    """

    TEACHES: ClassVar[bool] = True
    """Whether a model made from nothing can learn the task's skills (`pretraining_examples`)."""

    max_reply_tokens: int = Field(gt=0, description="Longest reply in tokens.")

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the task deals, in the order of tables and figures."""
        raise NotImplementedError

    def play(self, *splits: str) -> TaskPart:
        """The `PlaySettings` for problems of these splits: what posing and verifying takes."""
        raise NotImplementedError

    def deal(self, split: str) -> TaskPart:
        """The `DealSettings` of a split, without the number of problems."""
        raise NotImplementedError

    def count(self, split: str) -> int:
        """How many problems of a split are asked for."""
        raise NotImplementedError

    @property
    def skills(self) -> TaskPart:
        """The `SkillsSettings`: what pretraining examples and the reference table take."""
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """The task in a few words, for captions."""
        raise NotImplementedError

    @property
    def tokens(self) -> Tokens:
        """Typical lengths of turns, from which a study's cost is estimated."""
        return Tokens(self.max_reply_tokens, self.max_reply_tokens, self.max_reply_tokens)

    @property
    def held_out(self) -> float:
        """Share of the problems that pretraining must not show; 0 for an imported model."""
        return 0.0

    def files(self, split: str) -> tuple[str, ...]:
        """Paths of the user's own files that dealing a split reads."""
        return ()

    def check_problems(self) -> None:
        """Read the user's own files, so that mistakes in them are found before any job runs.

        Raises:
            UserError: naming the file and what is wrong in it.
        """

    def check_supply(self, seeds: Sequence[int]) -> None:
        """Refuse settings that ask for more problems than there are, before any job runs.

        It is asked once at the start of a workflow, so it must not take long.

        Args:
            seeds: of the study.

        Raises:
            UserError: naming the key.
        """

    def vary(self, **changes: Any) -> Self:
        """The same task with other settings, for data derived from a split.

        `Task.vary` makes the derived problems, from the `deal` of the settings returned here.

        Raises:
            UserError: a change that the task does not support, naming those that it does.
        """
        if changes:
            raise UserError(f"{sorted(changes)[0]!r} cannot vary in task {self.name!r}")
        return self


@dataclass(frozen=True)
class Verdict:
    """The verifier's judgement of one reply.

    Attributes:
        solved: the reply is a correct solution.
        reward: the reply's reward for RL.
        fault: "none" when solved, else one of the task's `faults`.
        feedback: the user turn that asks for the next try; "" when solved.
        translated: the reply restates the problem correctly, solved or not.
    """

    solved: bool
    reward: float
    fault: str
    feedback: str
    translated: bool


class Task(Protocol):
    """A family of problems whose replies can be verified.

    A table of problems has one row a problem. Three of its columns are read by the rest of the
    library; all others are the task's own:

    - `problem`: id, unique within the study;
    - `group`: what clusters similar problems, which statistics treat as dependent;
    - `subsets`: names of the task's own subsets that the problem belongs to, joined by commas.
    """

    faults: tuple[str, ...]
    """Every kind of fault that a verdict can name."""

    words: tuple[str, ...]
    """The words of a word-level vocabulary: every word of prompts, replies, feedback and
    pretraining examples for a model made from nothing."""

    def __init__(self, settings: Any) -> None:
        """Make the task from its `PlaySettings`."""
        ...

    @staticmethod
    def make_split(
        split: str,
        settings: Any,
        count: int,
        seed: int,
        training: Mapping[str, pandas.DataFrame],
    ) -> pandas.DataFrame:
        """Deal one split.

        Args:
            split: its name.
            settings: its `DealSettings`.
            count: how many problems are asked for.
            seed: of everything that is drawn.
            training: tables of the splits in its `Split.after`.

        Raises:
            UserError: the settings ask for more problems than exist.
        """
        ...

    @staticmethod
    def vary(table: pandas.DataFrame, settings: Any) -> pandas.DataFrame:
        """The problems of a table under other settings, with the same ids.

        Problems that the settings make unsolvable are left out.

        Args:
            table: of `make_split`.
            settings: the `DealSettings` of the varied settings (`TaskSettings.vary`).
        """
        ...

    @staticmethod
    def pretraining_examples(settings: Any, count: int, seed: int) -> list[list[str]]:
        """Examples for a model made from nothing: the skills of the task, not the task.

        Each example is a list of turns [user, reply, user, reply, ...]. Only the last reply is to
        be learned; earlier ones are wrong on purpose. `seed` is the seed of `make_split`, so that
        problems held out of pretraining do not appear. `settings` are the `SkillsSettings`.
        """
        ...

    @staticmethod
    def reference_table(settings: Any) -> pandas.DataFrame:
        """What is known about the task before any model runs, such as all solutions.

        `settings` are the `SkillsSettings`.
        """
        ...

    def validate(self, problems: Mapping[str, pandas.DataFrame]) -> pandas.DataFrame:
        """Check that splits are disjoint, gold replies accepted and spoilt ones rejected.

        Returns:
            One row a split, for the report.

        Raises:
            RuntimeError: a promise is broken; the message names it.
        """
        ...

    def read(self, table: pandas.DataFrame) -> list[Problem]:
        """The problems in the rows of a table, in order."""
        ...

    def first_turn(self, problem: Problem) -> str:
        """The user turn that poses the problem."""
        ...

    def gold_reply(self, problem: Problem) -> str:
        """A reply that solves the problem."""
        ...

    def verify(self, problem: Problem, reply: str) -> Verdict:
        """Judge a reply, whatever its text. Raises nothing and takes bounded time."""
        ...


def demonstrations(task: Task, table: pandas.DataFrame) -> list[tuple[str, str]]:
    """The first turn of each problem in the table, and the reply to learn from.

    That is the row's text in the column `reply`. Without that column, or where it is null (in a
    mixture), it is the task's gold reply.
    """
    problems = task.read(table)
    given = list(table["reply"]) if "reply" in table.columns else [None] * len(problems)
    return [
        (task.first_turn(problem), reply if isinstance(reply, str) else task.gold_reply(problem))
        for problem, reply in zip(problems, given, strict=True)
    ]
