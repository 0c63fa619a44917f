"""Verifiable tasks, found by name: a folder of this package, or a .py file of your own.

A task's folder has two modules, and a file of your own has the contents of both:

- `settings.py`: `Settings` (a `TaskSettings`, the section `task:` of the configuration) and the
  parts of it that scripts are given, `PlaySettings`, `DealSettings` and `SkillsSettings` (each a
  `TaskPart`). The Snakefile imports it, so it loads neither pandas nor torch;
- `task.py`: the class `Task`, as `svdrift.tasks.base.Task` describes it.
"""

from __future__ import annotations

import argparse
import json
from types import ModuleType
from typing import Any, Literal

from pydantic import ValidationError

from svdrift import plugins
from svdrift.errors import UserError, explain
from svdrift.tasks.base import Problem, Task, TaskPart, Verdict

__all__ = [
    "Problem",
    "Task",
    "Verdict",
    "load_settings",
    "make_task",
    "task_argument",
    "task_class",
]

ROOM = "svdrift.tasks"
DEFAULT = "general_points"
Part = Literal["PlaySettings", "DealSettings", "SkillsSettings"]


def load_settings(name: str) -> ModuleType:
    """The module with the settings of a task.

    Raises:
        UserError: there is no such task; the message names those that exist.
    """
    return plugins.load(ROOM, name, "settings", ("Settings",))


def task_class(name: str) -> type[Task]:
    """The class of a task. It deals problems and examples without an instance.

    Raises:
        UserError: there is no such task; the message names those that exist.
    """
    found: type[Task] = plugins.load(ROOM, name, "task", ("Task",)).Task
    return found


def make_task(play: TaskPart) -> Task:
    """The task that its `PlaySettings` describe, ready to pose problems and verify replies."""
    return task_class(play.name)(play)


def task_argument(
    parser: argparse.ArgumentParser,
    part: Part = "PlaySettings",
    flag: str = "--task",
    *,
    optional: bool = False,
) -> None:
    """Add `flag`, which takes part of a task's settings as JSON.

    Its key `name` says which task's class reads it. Keys left out take their defaults; so does the
    whole argument if that part of the default task has a default for every key, unless it is
    `optional`: then it is None.

    Raises:
        UserError: (when parsing) the JSON is wrong; the message names each wrong key.
    """

    def parse(text: str) -> TaskPart:
        try:
            given: dict[str, Any] = dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise UserError(f"{flag}: not a JSON object: {text!r} ({error})") from None
        model: type[TaskPart] = getattr(load_settings(str(given.get("name", DEFAULT))), part)
        try:
            return model.model_validate(given)
        except ValidationError as error:
            raise UserError(f"{flag}: {explain(error, model)}") from None

    fields = getattr(load_settings(DEFAULT), part).model_fields.values()
    required = any(field.is_required() for field in fields)
    parser.add_argument(
        flag,
        type=parse,
        required=required and not optional,
        default=None if required or optional else "{}",
        metavar="JSON",
        help=f"{part} of the task named in it; keys left out take their defaults",
    )
