"""How checkpoints are evaluated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from svdrift.settings.section import Section

EvaluatedSplit = Literal["demonstrated", "id_selection", "ood_selection", "id_test", "ood_test"]


REPAIRED_SPLITS: tuple[EvaluatedSplit, ...] = ("demonstrated", "id_test", "ood_test")
"""Splits that repaired models play."""


class EvaluationSettings(Section):
    """How checkpoints are evaluated on the saved hands."""

    UNTRACKED = frozenset({"batch_size"})

    tries: int = Field(5, ge=1, le=5, description="Tries per hand in the multi-try sets.")
    multi_try_splits: tuple[EvaluatedSplit, ...] = Field(
        (),
        description="Splits evaluated with several tries, at about six times the cost; all "
        "others with one.",
    )
    temperature: float = Field(0.0, ge=0, description="0 is greedy decoding.")
    batch_size: int = Field(512, gt=0, description="Hands decoded at once.")
