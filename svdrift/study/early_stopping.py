"""What keeps a stage from ending early, found before any job."""

from __future__ import annotations

from collections.abc import Sequence

from svdrift.compute import ComputeSettings
from svdrift.errors import UserError
from svdrift.study.stages import Stage
from svdrift.tasks.splits import ID, Split


def selection_splits(stage: Stage, splits: Sequence[Split]) -> tuple[str, ...]:
    """Names of the splits by whose problems training may end: those for selection, of ID alone."""
    if not stage.settings.reads_selection:
        return ()
    return tuple(split.name for split in splits if (split.role, split.shift) == ("selection", ID))


def check_early_stopping(stage: Stage, splits: Sequence[Split], compute: ComputeSettings) -> None:
    """Refuse to end a stage early where its accuracy cannot be measured.

    Raises:
        UserError: the task has no problems for it, or models are sharded.
    """
    if not stage.settings.reads_selection:
        return
    key = f"stages.{stage.name}.early_stopping"
    if not selection_splits(stage, splits):
        raise UserError(f"{key}: the task has no split of ID problems for selection")
    if compute.sharding != "none":
        raise UserError(
            f"{key}: sharded models are not played in SFT, and compute.sharding is "
            f"'{compute.sharding}' (allowed: 'none')"
        )
