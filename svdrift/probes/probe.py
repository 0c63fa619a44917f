"""What the rest of the project knows of a kind of probe.

A kind is a file of `svdrift/probes/kinds/`, or a .py file of your own. It has

- `PROBE`, a `Probe`;
- `Settings`, a `ProbeSettings`: its own keys;
- `measure(probed: Probed) -> DataFrame`: one row a problem (or whatever it measures), for one
  checkpoint and one split.

Settings read the first two on every start of the workflow, so what is slow is imported inside
functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Literal, cast

from svdrift import plugins
from svdrift.section import Section

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from svdrift.models.backend import Generate
    from svdrift.tasks import Task
    from svdrift.tasks.base import TaskPart

ROOM = "svdrift.probes.kinds"
HOLDS = ("PROBE", "Settings", "measure")
LABELS = ["problem", "group", "subsets"]  # columns that a row about a problem has


@dataclass(frozen=True)
class Probe:
    """Everything that the workflow needs to know of a kind.

    Attributes:
        label: what it measures, in words.
        reads: what it looks at: the `model` itself, or the first tries of the `episodes` that the
            checkpoint has played already.
        asks_task: whether it needs the task's `Probing`.
        with_start: whether it also reads the checkpoint's own start, as `others["start"]`; then it
            measures only checkpoints that have one.
    """

    label: str
    reads: Literal["model", "episodes"] = "model"
    asks_task: bool = False
    with_start: bool = False


class ProbeSettings(Section):
    """The settings of a kind; each kind's `Settings` derives from it."""

    @property
    def others(self) -> Mapping[str, str]:
        """Further checkpoints that it reads: references by the keys that name them."""
        return {}

    @property
    def data_sets(self) -> Mapping[str, str]:
        """Splits or named data that it reads besides, by the names that its table gives them."""
        return {}


@dataclass(kw_only=True)
class Probed:
    """What a kind is given.

    Attributes:
        settings: of the kind.
        task: whose prompts are posed and whose verifier judges.
        play: the task's `PlaySettings`.
        problems: one row each.
        seed: of all that is drawn.
        max_new_tokens: longest reply.
        batch_size: most rows computed together; it changes no result.
        model, tokenizer, generate: of the checkpoint; None where the kind reads episodes.
        episodes: first tries of the checkpoint at these problems; None where it reads the model.
        others: folders of the further checkpoints, by the keys of the settings.
        data: rows of the data that it reads besides, by the names that the settings give them.
        device, dtype: on which and in which further models are loaded.
    """

    settings: ProbeSettings
    task: Task
    play: TaskPart
    problems: pd.DataFrame
    seed: int
    max_new_tokens: int
    batch_size: int = 256
    model: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    generate: Generate | None = None
    episodes: pd.DataFrame | None = None
    others: Mapping[str, Path] = field(default_factory=dict)
    data: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    device: torch.device | str = "cpu"
    dtype: torch.dtype

    @property
    def writer(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Generate]:
        """The model, its tokenizer, and what lets it write."""
        assert self.model is not None
        assert self.tokenizer is not None
        assert self.generate is not None
        return self.model, self.tokenizer, self.generate


def load(name: str) -> ModuleType:
    """The module of a kind, by its name or the path of a file.

    Raises:
        UserError: there is no such kind; the message lists the known ones.
    """
    return plugins.load(ROOM, name, holds=HOLDS)


def record(name: str) -> Probe:
    """The record of a kind; see `load`."""
    return cast(Probe, load(name).PROBE)


def settings_class(name: str) -> type[ProbeSettings]:
    """The class of a kind's settings; see `load`."""
    return cast("type[ProbeSettings]", load(name).Settings)
