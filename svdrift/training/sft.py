"""Supervised fine-tuning on expert replies, with TRL's trainer.

Ours are only the schedule of checkpoints and the table of losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset, disable_progress_bars
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig, SFTTrainer

from svdrift.models import loading
from svdrift.models.chat import as_messages
from svdrift.scripting import Progress
from svdrift.settings.training import SFTSettings
from svdrift.training import sharding, snapshots
from svdrift.training.device import in_bfloat16, on_gpu
from svdrift.training.parameters import freeze

WINDOW = 4  # steps over which a row of losses is the mean


def train_sft(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[tuple[str, str]],
    settings: SFTSettings,
    *,
    processes: int,
    seed: int,
    work: Path,
    progress: Progress,
    dtype: torch.dtype = torch.float32,
) -> pd.DataFrame:
    """Fine-tune `model` on (prompt, reply) pairs; the loss is on the reply.

    A checkpoint is written to `work/sft-{step}` at each of `settings.checkpoints`, and training
    ends at the last of them. Which are kept changes none of them. A snapshot is left in `work` at
    those steps and on SIGTERM, from which a later call continues.

    Args:
        model: whole, or sharded by `svdrift.training.sharding`; trained in place.
        processes: number of processes of this launch, between which batches are shared.
        progress: wraps the steps, as `tqdm` does.
        dtype: in which checkpoints are saved; training keeps the model's own.

    Returns:
        Columns `step` and `train_loss` (nats per reply token, mean over the last 4 steps).

    Raises:
        UserError: SIGTERM came, and a snapshot was kept.
    """
    disable_progress_bars()  # of the data's preparation, which takes seconds,
    disable_progress_bar()  # and of writing models
    freeze(model, embeddings=settings.freeze_embeddings)
    arguments = _arguments(settings, processes=processes, seed=seed, work=work, dtype=dtype)
    sharding.let_accelerate_shard_on_cpu()
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=_dataset(demonstrations),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_ShowProgress(progress))
    keep = _KeepCheckpoints(trainer, model, tokenizer, settings.checkpoints, work, dtype)
    trainer.add_callback(keep)
    snapshots.train(trainer, work)
    return _losses(trainer.state.log_history)


class _KeepCheckpoints(TrainerCallback):
    """Write a model folder and a snapshot at the listed steps; stop at the last of them."""

    def __init__(
        self,
        trainer: SFTTrainer,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        steps: Sequence[int],
        work: Path,
        dtype: torch.dtype,
    ) -> None:
        self.trainer, self.model, self.tokenizer = trainer, model, tokenizer
        self.steps, self.work, self.dtype = steps, work, dtype

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> TrainerControl:
        if state.global_step in self.steps:
            self._keep(self.work / f"sft-{state.global_step}")
            control.should_save = True
            control.should_training_stop = state.global_step == self.steps[-1]
        return control

    def _keep(self, folder: Path) -> None:
        if sharding.kind() == "deepspeed":  # which alone knows where its weights are
            self.trainer.save_model(str(folder))
            return
        model = sharding.ordinary(self.model)  # for the trainer would write tied weights twice
        if self.trainer.is_world_process_zero():
            loading.save_checkpoint(model, self.tokenizer, folder, self.dtype)


class _ShowProgress(TrainerCallback):
    """Tell how far training is, in the one way in which every stage does."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.steps: Iterator[int] = iter(())

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if state.is_world_process_zero:
            remaining = range(state.global_step, state.max_steps)
            self.steps = iter(self.progress(remaining, len(remaining), "fine-tuning"))

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        next(self.steps, None)


def _arguments(
    settings: SFTSettings, *, processes: int, seed: int, work: Path, dtype: torch.dtype
) -> SFTConfig:
    gpu = on_gpu()
    per_process = settings.batch_size // processes
    micro = math.gcd(per_process, settings.micro_batch_size)
    return SFTConfig(
        output_dir=str(work),
        max_steps=settings.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=per_process // micro,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=("constant_with_warmup" if settings.schedule == "constant" else "cosine"),
        warmup_steps=settings.warmup_steps,
        max_length=settings.max_length,
        gradient_checkpointing=settings.gradient_checkpointing,
        bf16=in_bfloat16(dtype),
        use_cpu=not gpu,
        save_strategy="no",  # the callback asks for snapshots at the listed steps
        save_total_limit=1,
        logging_steps=1,
        logging_strategy="steps",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        dataloader_pin_memory=gpu,
        accelerator_config={
            # Of sharded models with each micro-batch, lest each process add up whole gradients.
            "gradient_accumulation_kwargs": {"sync_each_batch": sharding.wanted()}
        },
    )


def _dataset(pairs: Sequence[tuple[str, str]]) -> Dataset:
    """Pairs in TRL's conversational prompt-completion form."""
    turns = [as_messages(pair) for pair in pairs]
    return Dataset.from_dict(
        {"prompt": [t[:1] for t in turns], "completion": [t[1:] for t in turns]}
    )


def _losses(log_history: list[dict[str, float]]) -> pd.DataFrame:
    """Means over windows of steps. The trainer's own forget what was before a snapshot."""
    logged = [entry["loss"] for entry in log_history if "loss" in entry]  # one a step
    whole = len(logged) // WINDOW * WINDOW
    means = np.array(logged[:whole]).reshape(-1, WINDOW).mean(axis=1)
    steps = np.arange(1, len(means) + 1) * WINDOW
    return pd.DataFrame({"step": steps, "train_loss": means})
