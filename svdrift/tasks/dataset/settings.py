"""Settings of your own problems. Light, because the Snakefile imports it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from svdrift.errors import PROBLEMS, UserError, listed, shown
from svdrift.tasks.base import TaskPart, TaskSettings, Tokens
from svdrift.tasks.dataset.scorers import Unreadable, check_scorer, is_right, own_file
from svdrift.tasks.dataset.tables import Row, read_rows
from svdrift.tasks.splits import Split
from svdrift.tasks.usual import ROLES, usual_splits

NEEDED = ("demonstrations", "id_selection", "id_test", "ood_selection", "ood_test")
FITTED = 500
"""Most demonstrations on which the fit of SFT is measured, where `demonstrated` has no table."""


class PlaySettings(TaskPart):
    """What posing and verifying takes."""

    REWARDS: ClassVar[frozenset[str]] = frozenset({"right", "wrong"})

    scorer: str = Field(
        "exact",
        description="What makes a reply right: `exact`, `number`, `pattern`, or a function of your "
        "own, `path/to/file.py:function` (docs/extending.md).",
    )
    pattern: str | None = Field(
        None,
        description="For the scorer `pattern`: a regular expression with one group, the answer, "
        "such as `Answer: (.*)`. The last match counts.",
    )
    right: float = Field(5.0, description="Reward of a right reply.")
    wrong: float = Field(-1.0, description="Reward of any other reply.")
    code: str = Field("", description="Hash of the scorer's own file; set by itself.")


class SkillsSettings(TaskPart):
    """What the reference table takes: the files by split."""

    tables: dict[str, str]


class DealSettings(TaskPart):
    """What dealing a split takes."""

    path: str


class Settings(PlaySettings, TaskSettings):
    """Prompts with reference answers, in tables of your own."""

    TEACHES: ClassVar[bool] = False

    max_reply_tokens: int = Field(64, gt=0, le=2**20, description="Longest reply in tokens.")
    tables: dict[str, str] = Field(
        description="Split to a table (JSON lines or Parquet) with the columns `prompt` and "
        "`answer`, and if you like `reply` (the text to learn from; without it the answer), "
        "`group` (problems that are alike) and `subsets` (names, joined by commas).",
    )

    @model_validator(mode="after")
    def _known_splits(self) -> Self:
        check_scorer(self.scorer, self.pattern)
        for split in self.tables:
            if split not in ROLES:
                raise ValueError(f"tables: {split!r} is no split (allowed: {', '.join(ROLES)})")
        missing = [split for split in NEEDED if split not in self.tables]
        if missing:
            raise ValueError(f"tables: has no {missing[0]} (needed: {', '.join(NEEDED)})")
        if self.code:
            raise ValueError("code: is set by itself")
        return self

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those that have a table, and `demonstrated`, without one of its own."""
        there = (*self.tables, "demonstrated")
        return tuple(split for split in usual_splits("problems") if split.name in there)

    def table_of(self, split: str) -> str:
        """The table of a split."""
        return self.tables.get(split) or self.tables["demonstrations"]

    def play(self, *splits: str) -> PlaySettings:
        """What playing problems of any split takes."""
        own = own_file(self.scorer)
        keys = {key: getattr(self, key) for key in PlaySettings.model_fields if key != "code"}
        code = hashlib.sha256(Path(own).read_bytes()).hexdigest()[:16] if own else ""
        return PlaySettings(**keys, code=code)

    def deal(self, split: str) -> DealSettings:
        """What dealing a split takes."""
        return DealSettings(name=self.name, path=self.table_of(split))

    def count(self, split: str) -> int:
        """All problems of its table, or FITTED of the demonstrations'."""
        count = len(read_rows(self.table_of(split)))
        return count if split in self.tables else min(count, FITTED)

    def files(self, split: str) -> tuple[str, ...]:
        """The split's table."""
        return (self.table_of(split),)

    def check_problems(self) -> None:
        """Read all tables; see the base class.

        Raises:
            UserError: a table is wrong, a gold reply is not accepted, or an empty reply is; or two
                splits that must not share a prompt do.
        """
        rows = {split: read_rows(path) for split, path in self.tables.items()}
        for split, of_split in rows.items():
            for fault in self._rejected(of_split):
                raise UserError(f"{self.tables[split]}: {fault}")
        for split, other, shared in overlaps(rows):
            raise UserError(
                f"task.tables.{split}: shares problems with {other}: "
                f"{listed(map(shown, shared), PROBLEMS, '; ')}"
            )

    def _rejected(self, rows: list[Row]) -> Iterator[str]:
        for row in rows:
            gold = row.get("reply") or row["answer"]
            if not self._accepts(gold, row):
                yield (
                    f"the scorer {self.scorer!r} does not accept the reply {shown(gold)} to "
                    f"{shown(row['prompt'])}, whose answer is {shown(row['answer'])}"
                )
            if self._accepts("", row):
                yield f"the scorer {self.scorer!r} accepts an empty reply to {shown(row['prompt'])}"

    def _accepts(self, reply: str, row: Row) -> bool:
        try:
            return is_right(self.scorer, self.pattern, reply, row)
        except Unreadable:
            return False

    @property
    def skills(self) -> SkillsSettings:
        """What the reference table takes."""
        return SkillsSettings(name=self.name, tables=self.tables)

    @property
    def tokens(self) -> Tokens:
        """By the mean lengths of the demonstrations, at four characters a token."""
        rows = read_rows(self.tables["demonstrations"])
        prompt = sum(len(row["prompt"]) for row in rows) // (4 * len(rows)) + 1
        reply = sum(len(row.get("reply") or row["answer"]) for row in rows) // (4 * len(rows)) + 1
        return Tokens(prompt, min(reply, self.max_reply_tokens), 12)

    @property
    def summary(self) -> str:
        """Where the problems come from."""
        return f"problems of {', '.join(dict.fromkeys(self.tables.values()))}"


def overlaps(rows: dict[str, list[Row]]) -> Iterator[tuple[str, str, list[str]]]:
    """Splits that share prompts and must not: a split, the other one, and the prompts.

    Training splits may share theirs, and `demonstrated` is meant to share the demonstrations'. ID
    and OOD splits of one role may not.
    """
    for first, second in combinations(rows, 2):
        roles = {ROLES[first], ROLES[second]}
        if roles <= {"training", "fit"}:
            continue
        seen: set[Any] = {row["prompt"] for row in rows[first]}
        if shared := [row["prompt"] for row in rows[second] if row["prompt"] in seen]:
            yield second, first, shared
