"""Whether a study and its task fit together."""

from __future__ import annotations

from svdrift.errors import UserError
from svdrift.study.stages import Stage
from svdrift.tasks.base import TaskSettings
from svdrift.tasks.splits import ID, OOD

NEEDED = (
    ("fit", ID),
    ("selection", ID),
    ("selection", OOD),
    ("test", ID),
    ("test", OOD),
)
"""Roles and shifts that choices, figures and claims read."""


def check_splits(task: TaskSettings) -> None:
    """Refuse a task without a split that figures and claims need.

    Raises:
        UserError: naming the role and the shift.
    """
    there = {(split.role, split.shift) for split in task.splits}
    for role, shift in NEEDED:
        if (role, shift) not in there:
            raise UserError(
                f"task: {task.name!r} has no split of role {role!r} and shift {shift!r} (needed: "
                f"{', '.join(' '.join(one) for one in NEEDED)})"
            )


def check_root(stage: Stage, task: TaskSettings) -> None:
    """Refuse a root that does not fit the task.

    Raises:
        UserError: it learns the skills of a task that has none, or problems are held out of the
            pretraining of a model that was pretrained elsewhere.
    """
    if stage.record.learns_from == "skills" and not task.TEACHES:
        raise UserError(
            f"stages.{stage.name}.method: {stage.record.label} learns the skills of the task, and "
            f"task {task.name!r} has none to teach (allowed: import_model, or a task that has)"
        )
    elsewhere = not stage.record.starts and stage.record.learns_from == "nothing"
    if task.held_out and not stage.record.launched and elsewhere:
        raise UserError(
            f"task: holds out {task.held_out:g} of its problems from pretraining, and nobody knows "
            f"what the model of stages.{stage.name} was pretrained on; set that share to 0"
        )
