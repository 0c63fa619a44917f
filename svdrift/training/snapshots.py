"""What training does when it is told to end: leave a snapshot, from which the same call goes on."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from svdrift.artefacts import link_tree, write_checksums
from svdrift.errors import UserError


@contextmanager
def terminated() -> Iterator[Callable[[], bool]]:
    """Note SIGTERM instead of ending at once; what is yielded says whether it came."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, previous)


def stopped(done: str, work: Path) -> UserError:
    """The error that ends a run which was told to end, after `done`, such as "step 7 of 9"."""
    return UserError(
        f"stopped by SIGTERM after {done}: the same command goes on from the snapshot in {work}"
    )


def hand_over(kept: Path, folder: Path) -> Path:
    """Put a checkpoint that was kept in the work folder in its place, and return that.

    With checksums. As links, since two copies of a large model take twice the room. Without the
    pickle of arguments that DeepSpeed's trainer adds: it holds the path of the run.
    """
    (kept / "training_args.bin").unlink(missing_ok=True)
    write_checksums(kept)
    return link_tree(kept, folder)


def train(trainer: Trainer, work: Path, *, every: int = 1) -> None:
    """Let a trainer train, from the last whole snapshot in `work` if there is one.

    Args:
        trainer: its callbacks say when it has finished.
        work: the trainer's output folder.
        every: steps after which training can be left; SIGTERM is heeded at a multiple of them.

    Raises:
        UserError: SIGTERM came to one of the processes, and a snapshot was kept.
    """
    snapshot = last_whole(work, trainer.is_world_process_zero())
    trainer.accelerator.wait_for_everyone()
    if snapshot is not None and trainer.is_world_process_zero():
        print(f"goes on from the snapshot {snapshot}", flush=True)
    with terminated() as told:
        end = _EndWhenTold(told, trainer.accelerator, every)
        trainer.add_callback(end)  # the last one, so that it knows what the others want
        trainer.train(resume_from_checkpoint=None if snapshot is None else str(snapshot))
    if end.early:
        raise stopped(f"step {trainer.state.global_step} of {trainer.state.max_steps}", work)


def last_whole(work: Path, main: bool = False) -> Path | None:
    """The last snapshot that a trainer has written to the end; the main process removes others."""
    for folder in work.glob("checkpoint-*"):
        if main and not (folder / TRAINER_STATE_NAME).exists():  # what the trainer writes last
            shutil.rmtree(folder)
    found = get_last_checkpoint(str(work)) if work.is_dir() else None
    return None if found is None else Path(found)


def history(work: Path) -> list[dict[str, float]]:
    """The log of the last snapshot in `work` that was written to the end; empty without one."""
    states = work.glob(f"checkpoint-*/{TRAINER_STATE_NAME}")
    last = max(states, key=lambda file: int(file.parent.name.split("-")[1]), default=None)
    if last is None:
        return []
    found: list[dict[str, float]] = TrainerState.load_from_json(str(last)).log_history
    return found


class _EndWhenTold(TrainerCallback):
    """Leave a snapshot and end, unless training ends anyway."""

    def __init__(self, told: Callable[[], bool], accelerator: Accelerator, every: int) -> None:
        self.told, self.accelerator, self.every = told, accelerator, every
        self.early = False

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> TrainerControl:
        if state.global_step % self.every:
            return control
        told = torch.tensor(float(self.told()), device=self.accelerator.device)
        if self.accelerator.reduce(told).item() and not control.should_training_stop:
            self.early = state.global_step < state.max_steps
            control.should_save = control.should_training_stop = True
        return control
