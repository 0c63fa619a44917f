"""What the checkpoints that a related paper compares took to train, from the configuration."""

from __future__ import annotations

from collections.abc import Mapping

from svdrift.checkpoints import Checkpoint
from svdrift.study.stages import Stage


def arm_cost(checkpoint: str, stages: Mapping[str, Stage]) -> dict[str, int]:
    """Samples that training read and episodes that it played, since the base.

    Where a stage ends early, it is the most that it may take.

    Args:
        checkpoint: its id.
        stages: of the study, by name.

    Returns:
        `samples`, each counted as often as it is read, and `episodes`.
    """
    found = {"samples": 0, "episodes": 0}
    for name, step in Checkpoint.parse(checkpoint).way:
        settings = stages[name].settings
        for what in found:
            found[what] += getattr(settings.work, what) * step // settings.total
    return found
