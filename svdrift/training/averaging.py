"""The mean of the weights after each step so far: SWA (arXiv 1803.05407) from the first step on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from svdrift.errors import UserError
from svdrift.training import sharding, snapshots

FILE = "mean_weights.safetensors"


class AverageWeights(TrainerCallback):
    """Keeps the mean of the trained weights after each step so far, on one process.

    Of a model of n trained float32 parameters it holds 4 n bytes more. Snapshots hold the mean, so
    that a run that goes on from one ends with the same bytes.
    """

    def __init__(self, model: PreTrainedModel, work: Path) -> None:
        """`work` is the trainer's output folder; last snapshots there without a mean are removed.

        So the trainer should keep two: one that is cut off between its weights and its mean is no
        loss then.

        Raises:
            UserError: the launch shards models, whose weights are not whole here.
        """
        if sharding.kind() != "whole":
            raise UserError(f"average_weights: not of models that are sharded ({sharding.kind()})")
        self.model, self.work = model, work
        self.mean: dict[str, Tensor] = {}
        while (snapshot := snapshots.last_whole(work)) and not (snapshot / FILE).exists():
            shutil.rmtree(snapshot)

    @property
    def trained(self) -> dict[str, Tensor]:
        """The trained weights by name, as they lie in the model (which the trainer may move)."""
        return {name: p.data for name, p in self.model.named_parameters() if p.requires_grad}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Begin with the mean of the snapshot that training goes on from."""
        if state.global_step:
            found = load_file(self.work / f"checkpoint-{state.global_step}" / FILE)
            self.mean = {name: found[name].to(p.device) for name, p in self.trained.items()}
        else:
            self.mean = {name: torch.zeros_like(p) for name, p in self.trained.items()}

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Take in the weights after a step."""
        for name, parameter in self.trained.items():
            self.mean[name].lerp_(parameter, 1 / state.global_step)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Leave the mean in the snapshot."""
        save_file(self.mean, self.work / f"checkpoint-{state.global_step}" / FILE)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the mean, and afterwards its own weights again."""
        trained = self.trained
        own = {name: parameter.clone() for name, parameter in trained.items()}
        try:
            for name, parameter in trained.items():
                parameter.copy_(self.mean[name])
            yield
        finally:
            for name, parameter in trained.items():
                parameter.copy_(own[name])
