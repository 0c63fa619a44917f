"""A tiny task in one file: add two numbers. In distribution both are small; OOD one is large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from svdrift.tasks.base import TaskPart, TaskSettings, Verdict
from svdrift.tasks.splits import Split

if TYPE_CHECKING:
    import pandas as pd

SMALL, LARGE = 12, 24  # small numbers lie below SMALL, large ones between both
COUNTS = {
    "lessons": 30,
    "exercises": 40,
    "lessons_again": 20,
    "small_trial": 20,
    "large_trial": 20,
    "small_exam": 30,
    "large_exam": 30,
}
POOLS = {"lessons": 0, "exercises": 0, "small_trial": 1, "large_trial": 1}  # others: 2


class PlaySettings(TaskPart):
    """What posing and verifying sums takes."""

    praise: float = 1.0


class DealSettings(TaskPart):
    """What dealing sums takes."""

    largest: int


class SkillsSettings(TaskPart):
    """What pretraining takes."""

    largest: int


class Settings(TaskSettings):
    """Sums of two numbers."""

    max_reply_tokens: int = 4
    praise: float = 1.0
    largest: int = LARGE

    @property
    def splits(self) -> tuple[Split, ...]:
        training = ("lessons", "exercises")
        return (
            Split(name="lessons", role="training", label="Lessons"),
            Split(name="exercises", role="training", label="Exercises", after=("lessons",)),
            Split(name="lessons_again", role="fit", label="Lessons again", after=training),
            Split(name="small_trial", role="selection", label="Small trial"),
            Split(name="large_trial", role="selection", shift="ood", label="Large trial"),
            Split(name="small_exam", role="test", label="Small exam", after=training),
            Split(name="large_exam", role="test", shift="ood", label="Large exam", after=training),
        )

    def play(self, *splits: str) -> PlaySettings:
        return PlaySettings(name=self.name, praise=self.praise)

    def deal(self, split: str) -> DealSettings:
        return DealSettings(name=self.name, largest=self.largest)

    def count(self, split: str) -> int:
        return COUNTS[split]

    @property
    def skills(self) -> SkillsSettings:
        return SkillsSettings(name=self.name, largest=self.largest)

    @property
    def summary(self) -> str:
        return "sums of two numbers"


class Task:
    """Poses `3 plus 4`, expects `7`."""

    faults = ("wrong", "unreadable")
    words = (*map(str, range(2 * LARGE)), "plus", "next", *faults, "again")

    def __init__(self, settings: PlaySettings) -> None:
        self._praise = settings.praise

    @staticmethod
    def make_split(
        split: str,
        settings: DealSettings,
        count: int,
        seed: int,
        training: Mapping[str, pd.DataFrame],
    ) -> pd.DataFrame:
        import numpy as np
        import pandas as pd

        if split == "lessons_again":
            sums = list(training["lessons"][["a", "b"]].itertuples(index=False, name=None))
        else:
            large = split.startswith("large")
            sums = [
                (a, b)
                for a in range(SMALL)
                for b in (range(SMALL, settings.largest) if large else range(SMALL))
                if (min(a, b) + 2 * max(a, b)) % 3 == POOLS.get(split, 2)
            ]
        order = np.random.default_rng([seed, *split.encode()]).permutation(len(sums))
        chosen = [sums[place] for place in order[:count]]
        return pd.DataFrame(
            {
                "problem": [f"{split}-{row:03d}" for row in range(len(chosen))],
                "group": [f"{min(pair)}+{max(pair)}" for pair in chosen],
                "subsets": ["even" if sum(pair) % 2 == 0 else "odd" for pair in chosen],
                "a": [a for a, _ in chosen],
                "b": [b for _, b in chosen],
            }
        )

    @staticmethod
    def vary(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
        return table

    @staticmethod
    def pretraining_examples(settings: SkillsSettings, count: int, seed: int) -> list[list[str]]:
        from random import Random

        random = Random(seed)
        numbers = [random.randrange(2 * settings.largest - 1) for _ in range(count)]
        return [[f"next {number}", str(number + 1)] for number in numbers]

    @staticmethod
    def reference_table(settings: SkillsSettings) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame({"sum": range(2 * settings.largest - 1)})

    def validate(self, problems: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        import pandas as pd

        trained = {*problems["lessons"]["group"], *problems["exercises"]["group"]}
        for split in ("small_trial", "large_trial", "small_exam", "large_exam"):
            if trained & set(problems[split]["group"]):
                raise RuntimeError(f"{split}: shares sums with training")
        for split, table in problems.items():
            for problem in self.read(table):
                if not self.verify(problem, self.gold_reply(problem)).solved:
                    raise RuntimeError(f"{split}: the gold reply to {problem} is not accepted")
                if self.verify(problem, str(sum(problem) + 1)).solved:
                    raise RuntimeError(f"{split}: a wrong reply to {problem} is accepted")
        return pd.DataFrame(
            {"split": split, "problems": len(table)} for split, table in problems.items()
        )

    def read(self, table: pd.DataFrame) -> list[Any]:
        return [(int(a), int(b)) for a, b in zip(table["a"], table["b"], strict=True)]

    def first_turn(self, problem: Any) -> str:
        return f"{problem[0]} plus {problem[1]}"

    def gold_reply(self, problem: Any) -> str:
        return str(sum(problem))

    def verify(self, problem: Any, reply: str) -> Verdict:
        words = reply.split()
        if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()):
            return Verdict(False, -self._praise, "unreadable", "unreadable again", False)
        if words[0] != str(sum(problem)):
            return Verdict(False, 0.0, "wrong", "wrong again", True)
        return Verdict(True, self._praise, "none", "", True)
