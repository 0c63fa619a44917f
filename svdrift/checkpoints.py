"""Checkpoint ids: the one name of a checkpoint in paths, tables and legends.

An id is the checkpoint's way from the base model: `base`, `sft-64` (SFT, step 64),
`sft-64.ppo-60` (60 updates of PPO from there). A study may have other models that no stage starts
from (`other`); what comes from one begins with its name: `other.sft-64`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from svdrift.errors import UserError
from svdrift.scripting import damaged, read_json

BASE = "base"
"""The stage whose checkpoint is left out of the ids of what comes from it."""
ANCHOR = "anchor"
"""Stands for the id of the OOD peak of the story's path, which is chosen while a study runs."""
LAST = "last"
"""Stands for the last checkpoint of the story's path."""
RESERVED = (ANCHOR, LAST, "start", "end", "starts")
"""Words with a meaning of their own in references to checkpoints, so no names of stages."""

STAGE = r"[a-z][a-z0-9_]*"
_PART = re.compile(rf"({STAGE})-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """What an id says.

    Attributes:
        root: the stage that the way begins at, which starts from no checkpoint.
        way: the (stage, step) pairs passed since; empty for the root itself.
    """

    root: str = BASE
    way: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an id.

        Raises:
            UserError: `text` is not a checkpoint id.
        """
        first, *rest = text.split(".")
        rooted = re.fullmatch(STAGE, first) is not None
        parts = [_PART.fullmatch(part) for part in (rest if rooted else [first, *rest])]
        way = tuple((part[1], int(part[2])) for part in parts if part)
        checkpoint = cls(first if rooted else BASE, way)
        if str(checkpoint) != text:  # also where a part is malformed, or the base is spelt out
            raise UserError(
                f"{text!r} is not a checkpoint id (such as base, sft-64, sft-64.ppo-60)"
            )
        return checkpoint

    def __str__(self) -> str:
        root = [self.root] if self.root != BASE or not self.way else []
        return ".".join([*root, *(f"{stage}-{step}" for stage, step in self.way)])

    @property
    def stage(self) -> str:
        """The stage that made it."""
        return self.way[-1][0] if self.way else self.root

    @property
    def step(self) -> int:
        """The stage's step at which it was kept; 0 for a root."""
        return self.way[-1][1] if self.way else 0

    @property
    def start(self) -> Self | None:
        """The checkpoint that its stage started from; None for a root."""
        return type(self)(self.root, self.way[:-1]) if self.way else None

    @property
    def run(self) -> str:
        """Name of the training run that made it: its id without the last step."""
        return run_name(self.start, self.stage)

    def then(self, stage: str, step: int) -> Self:
        """The checkpoint that a stage from here leaves at a step."""
        return type(self)(self.root, (*self.way, (stage, step)))


def run_name(start: Checkpoint | None, stage: str) -> str:
    """Name of the run of a stage from a start: `base`, `sft`, `sft-64.ppo`."""
    if start is None or start == Checkpoint():
        return stage
    return f"{start}.{stage}"


def labels(checkpoint: str) -> dict[str, object]:
    """Columns that name a checkpoint in tables: `checkpoint`, `stage`, `step`, `start`.

    `start` is the id of the checkpoint that the stage started from, and empty for a root.
    """
    read = Checkpoint.parse(checkpoint)
    start = "" if read.start is None else str(read.start)
    return {"checkpoint": checkpoint, "stage": read.stage, "step": read.step, "start": start}


def resolve(name: str, choice: Path | None) -> str:
    """Id of a checkpoint that may be named `anchor`.

    Args:
        name: an id, or `anchor`.
        choice: the JSON file that `scripts/choose_anchor.py` writes.

    Raises:
        UserError: the anchor is asked for without such a file, or the file is damaged.
    """
    if name != ANCHOR:
        return name
    if choice is None:
        raise UserError(f"{ANCHOR}: needs the file of the choice (--anchor-choice)")
    chosen = read_json(choice).get("checkpoint")
    if not isinstance(chosen, str):
        raise damaged(choice, "names no checkpoint")
    return chosen
