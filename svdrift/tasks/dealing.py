"""The problems of a task's splits, dealt without a workflow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from svdrift.errors import UserError, explain, shown
from svdrift.tasks import load_settings, task_class
from svdrift.tasks.base import TaskSettings
from svdrift.tasks.splits import Split

if TYPE_CHECKING:
    import pandas as pd


def read_task(name: str, given: Mapping[str, Any]) -> TaskSettings:
    """A task's settings; keys that are left out take their defaults.

    Raises:
        UserError: there is no such task, or a key is wrong.
    """
    model: type[TaskSettings] = load_settings(name).Settings
    try:
        return model.model_validate({"name": name, **given})
    except ValidationError as error:
        raise UserError(f"task: {explain(error, model)}") from None


def chosen_splits(settings: TaskSettings, names: Collection[str]) -> list[Split]:
    """The splits with these names, or for none those on which results are reported.

    Raises:
        UserError: the task has no such split.
    """
    allowed = [split.name for split in settings.splits]
    for name in names:
        if name not in allowed:
            raise UserError(f"splits: {shown(name)} is none of {', '.join(allowed)}")
    return [
        split
        for split in settings.splits
        if (split.name in names if names else split.role == "test")
    ]


def deal(
    settings: TaskSettings, splits: Collection[Split], seed: int, count: int | None = None
) -> dict[str, pd.DataFrame]:
    """Deal splits, and before them the training splits that they must not share problems with.

    Args:
        settings: of the task.
        splits: those that are wanted.
        seed: of the deal; a study deals the same problems from it.
        count: problems of each split; None for as many as the settings ask for.

    Returns:
        The table of each split that is wanted, by its name.

    Raises:
        UserError: there are fewer problems than are asked for.
    """
    make = task_class(settings.name).make_split
    before = {name for split in splits for name in split.after}
    training: dict[str, pd.DataFrame] = {}
    for split in settings.splits:
        if split.name in before:
            asked, after = settings.count(split.name), {n: training[n] for n in split.after}
            training[split.name] = make(split.name, settings.deal(split.name), asked, seed, after)
    dealt = {}
    for split in splits:
        asked, after = count or settings.count(split.name), {n: training[n] for n in split.after}
        dealt[split.name] = make(split.name, settings.deal(split.name), asked, seed, after)
    return dealt
