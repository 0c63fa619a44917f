"""Checkpoint ids: the one name of a checkpoint in paths, tables and legends.

`base`, `sft-140`, `ppo-from-140`, `ppo-from-140-update-20`, `continued-from-140`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from svdrift.errors import UserError

ANCHOR = "anchor"
"""Stands for the id of the OOD peak of SFT, which is chosen while a study runs."""

_SFT = re.compile(r"sft-(\d+)")
_RUN = re.compile(r"([a-z][a-z-]*?)-from-(\d+)(?:-update-(\d+))?")


@dataclass(frozen=True)
class Checkpoint:
    """What an id says: which run, the SFT step it is or started from, and the RL update."""

    run: str  # "sft", or the name of the method that started from an SFT checkpoint
    sft_step: int  # 0 is the base model, where SFT starts
    update: int | None = None  # of an intermediate checkpoint; None at the end of a run

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an id.

        Raises:
            UserError: `text` is not a checkpoint id.
        """
        if text == "base":
            return cls("sft", 0)
        if match := _SFT.fullmatch(text):
            return cls("sft", int(match[1]))
        if match := _RUN.fullmatch(text):
            return cls(match[1], int(match[2]), int(match[3]) if match[3] else None)
        raise UserError(
            f"{text!r} is not a checkpoint id (such as base, sft-140, ppo-from-140, "
            "ppo-from-140-update-20)"
        )

    def __str__(self) -> str:
        if self.run == "sft":
            return f"sft-{self.sft_step}" if self.sft_step else "base"
        update = "" if self.update is None else f"-update-{self.update}"
        return f"{self.run}-from-{self.sft_step}{update}"


def resolve(name: str, choice: Path | None) -> str:
    """Id of a checkpoint that may be named `anchor`.

    Args:
        name: an id, or `anchor`.
        choice: the JSON file that `scripts/choose_anchor.py` writes.

    Raises:
        UserError: the anchor is asked for without such a file.
    """
    if name != ANCHOR:
        return name
    if choice is None:
        raise UserError(f"{ANCHOR}: needs the file of the choice (--anchor-choice)")
    try:
        return str(json.loads(choice.read_text(encoding="utf-8"))["checkpoint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{choice}: not a choice of an anchor: {error!r}") from None
