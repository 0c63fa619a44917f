"""Verifiable tasks. A new one is a new folder beside `general_points`, named in `task_class`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.tasks.base import Problem, Task, Verdict

if TYPE_CHECKING:
    from svdrift.settings.task import GameSettings
    from svdrift.tasks.general_points.task import GeneralPoints

__all__ = ["Problem", "Task", "Verdict", "make_task", "task_class"]


def make_task(settings: GameSettings) -> Task:
    """The task that the settings describe, ready to be played."""
    return task_class(settings.name)(settings)


def task_class(name: str) -> type[GeneralPoints]:
    """The class of a task, which deals problems and examples without knowing how it is played."""
    # Imported here because it loads pandas, which readers of a hands file can do without.
    from svdrift.tasks.general_points.task import GeneralPoints

    return {"general_points": GeneralPoints}[name]
