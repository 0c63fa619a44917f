"""What every group of settings has in common."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings: immutable, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    UNTRACKED: ClassVar[frozenset[str]] = frozenset()
    """Keys that never change a result, so that changing them reruns nothing."""


def check_steps(key: str, steps: tuple[int, ...], last: int) -> None:
    """Refuse steps that do not rise, or that lie outside 1 to `last`.

    Raises:
        ValueError: naming the key.
    """
    if not steps or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(f"{key}: must be a rising list of steps: {list(steps)}")
    if steps[0] < 1 or steps[-1] > last:
        wrong = steps[0] if steps[0] < 1 else steps[-1]
        raise ValueError(f"{key}: step {wrong} is not between 1 and {last}, the stage's last step")
