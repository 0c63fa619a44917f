"""Verifiable tasks. A new one is a new folder beside `general_points`, named in `make_task`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.tasks.base import Problem, Task, Verdict

if TYPE_CHECKING:
    from svdrift.settings import TaskSettings

__all__ = ["Problem", "Task", "Verdict", "make_task"]


def make_task(settings: TaskSettings) -> Task:
    """The task that the settings describe."""
    # Imported here because it loads pandas, which readers of a hands file can do without.
    from svdrift.tasks.general_points.task import GeneralPoints

    return {"general_points": GeneralPoints}[settings.name](settings)
