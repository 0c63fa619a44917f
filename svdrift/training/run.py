"""What every training method is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from svdrift import plugins
from svdrift.live import OFF, LiveMetrics
from svdrift.models.backend import Generate
from svdrift.scripting import Progress
from svdrift.tasks.base import Task, TaskPart
from svdrift.training.method import ROOM


@dataclass(frozen=True)
class Run:
    """One run of a stage, from one start.

    Attributes:
        start: model folder that training starts from; None for a root.
        task: poses the problems and verifies replies; None where the method learns from nothing.
        skills: what a model made from nothing is taught (the task's `SkillsSettings`), else None.
        problems: table of the problems to learn from, else None.
        selection: table of the task's ID problems for selection, where the settings read them
            (`MethodSettings.reads_selection`), else None.
        settings: the method's `Settings`.
        keep: rising steps whose checkpoints are wanted; training ends at the last of them. What is
            kept changes no checkpoint, unless training may end early by them: schedules count
            `settings.total`.
        seed: of everything that is drawn.
        work: folder for snapshots and checkpoints, kept between attempts of this very run.
        key: hash of all that the run depends on.
        dtype: in which checkpoints are saved; training keeps float32 weights.
        max_reply_tokens: longest reply.
        generate: writes the replies of episodes.
        progress: wraps the steps, as `tqdm` does; silent on all processes but the main one.
        device: where a method that is not launched by Accelerate computes.
        live: takes a row of metrics after each step; silent as `progress` is.
    """

    start: Path | None
    task: Task | None
    skills: TaskPart | None
    problems: pd.DataFrame | None
    settings: Any
    keep: tuple[int, ...]
    seed: int
    work: Path
    key: str
    dtype: torch.dtype
    max_reply_tokens: int
    generate: Generate
    progress: Progress
    device: str
    live: LiveMetrics = OFF
    selection: pd.DataFrame | None = None


@dataclass(frozen=True)
class Trained:
    """What a run leaves, the same on every process.

    Attributes:
        checkpoints: step -> model folder, complete with tokenizer, for each of `Run.keep`.
        tables: a table for each name of `Method.tables`.
        inputs: files beside the start and the problems that were read, for the provenance.
        notes: further plain values for the provenance.
    """

    checkpoints: Mapping[int, Path]
    tables: Mapping[str, pd.DataFrame]
    inputs: Mapping[str, Path] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


def folder(work: Path, step: int) -> Path:
    """Where a method keeps the checkpoint of a step below its work folder."""
    return work / f"step-{step}"


def load_train(name: str) -> Callable[[Run], Trained]:
    """The function that trains by the method of this name, or in a file of your own."""
    train: Callable[[Run], Trained] = plugins.load(ROOM, name, "train", ("train",)).train
    return train
