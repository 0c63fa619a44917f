"""What methods that use transformers' Trainer share: progress, kept checkpoints, arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import disable_progress_bars
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.logging import disable_progress_bar

from svdrift.errors import UserError
from svdrift.live import LiveMetrics, Row
from svdrift.models import loading
from svdrift.models.finite import require_finite_files
from svdrift.scripting import Progress
from svdrift.training import finite, sharding, snapshots
from svdrift.training.device import in_bfloat16, on_gpu
from svdrift.training.lora import merged
from svdrift.training.run import folder


def quiet() -> None:
    """Switch off the libraries' own progress bars; stages report progress in one way."""
    disable_progress_bars()
    disable_progress_bar()


def common_arguments(work: Path, seed: int, dtype: torch.dtype, micro: int) -> dict[str, Any]:
    """Arguments of a trainer that are the same for every method.

    Args:
        work: folder of its snapshots.
        seed: of the order of the data.
        dtype: in which checkpoints are saved.
        micro: sequences per forward pass and process.
    """
    gpu = on_gpu()
    return {
        "output_dir": str(work),
        "per_device_train_batch_size": micro,
        "bf16": in_bfloat16(dtype),
        "use_cpu": not gpu,
        "save_strategy": "no",  # callbacks ask for snapshots
        "save_total_limit": 1,
        "logging_strategy": "steps",
        "logging_nan_inf_filter": False,  # which would log another loss in place of NaN
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
        "dataloader_pin_memory": gpu,
        "accelerator_config": {
            # Sharded models exchange gradients with each micro-batch, so that no process has to
            # accumulate the gradients of all weights.
            "gradient_accumulation_kwargs": {"sync_each_batch": sharding.wanted()}
        },
    }


class Keep(TrainerCallback):
    """Save a model folder and a snapshot at the kept steps, and stop at the last of them."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        keep: Sequence[int],
        work: Path,
        dtype: torch.dtype,
        steps_each: int = 1,
        weights: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """A step of the stage is `steps_each` optimizer steps of the trainer.

        While a model folder is saved, the model has those `weights`: its own, if none are named.
        """
        self.model, self.tokenizer, self.weights = model, tokenizer, weights
        self.keep, self.work, self.dtype, self.steps_each = keep, work, dtype, steps_each
        self.trainer: Trainer | None = None  # set once it exists

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> TrainerControl:
        """Save at a kept step, and stop at the last of them."""
        step, within = divmod(state.global_step, self.steps_each)
        if within == 0 and step in self.keep:
            with self.weights():
                self._save(folder(self.work, step), state.is_world_process_zero)
            control.should_save = True  # on every process: each has its own random state
            control.should_training_stop = step == self.keep[-1]
        return control

    def _save(self, path: Path, main: bool) -> None:
        if sharding.kind() == "deepspeed" and self.trainer is not None:
            self.trainer.save_model(str(path))  # DeepSpeed alone can gather its weights
            if main:
                require_finite_files(path)
            return
        model = merged(sharding.ordinary(self.model))  # the trainer would write tied weights twice
        if main:
            loading.save_checkpoint(model, self.tokenizer, path, self.dtype)


class StopWhereNotFinite(TrainerCallback):
    """End training, before anything is saved, at the step that spoils a weight or the loss."""

    def __init__(self, what: str, work: Path, steps_each: int = 1) -> None:
        """`what` is trained, for the error; see `Keep` for `steps_each`."""
        self.what, self.work, self.steps_each = what, work, steps_each

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look at the weights that the step has changed, while gradients are still there."""
        trained = (item for item in kwargs["model"].named_parameters() if item[1].requires_grad)
        if (cause := finite.spoilt(trained)) is not None:
            raise self._diverged(state.global_step + 1, state.max_steps, cause)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look at the loss, which every process is given."""
        for name in ("loss", "grad_norm"):
            value = kwargs.get("logs", {}).get(name)
            if value is not None and not math.isfinite(float(value)):
                raise self._diverged(state.global_step, state.max_steps, f"{name} is {value}")

    def _diverged(self, step: int, last: int, cause: str) -> UserError:
        unit = "step" if self.steps_each == 1 else "update"
        number, total = (-(-count // self.steps_each) for count in (step, last))
        return finite.diverged(
            f"{self.what}: {unit} {number} of {total}", cause, snapshots.last_whole(self.work)
        )


class ShowProgress(TrainerCallback):
    """Report progress in the way of every stage."""

    def __init__(self, progress: Progress, what: str, last: int, steps_each: int = 1) -> None:
        """`last` is the stage's step at which training ends; see `Keep` for `steps_each`."""
        self.progress, self.what, self.last, self.steps_each = progress, what, last, steps_each
        self.steps: Iterator[int] = iter(())

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Begin the first step."""
        if state.is_world_process_zero:
            remaining = range(state.global_step // self.steps_each + 1, self.last + 1)
            self.steps = iter(self.progress(remaining, len(remaining), self.what))
            next(self.steps, None)  # begins; each further one ends a step

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """End a step and begin the next one."""
        if state.global_step % self.steps_each == 0:
            next(self.steps, None)


class ShowMetrics(TrainerCallback):
    """Show what the trainer logs as it logs it."""

    def __init__(self, live: LiveMetrics, row: Callable[[dict[str, float]], Row | None]) -> None:
        """`row` makes a row of an entry of the trainer's log; None of one that is not a step's."""
        self.live, self.row = live, row

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Begin with the log of the snapshot."""
        self.live.begin(row for entry in state.log_history if (row := self.row(entry)))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Show the last entry."""
        if row := self.row(state.log_history[-1]):
            self.live.append(row)
