"""Supervised fine-tuning on expert replies, with TRL's trainer.

Ours are only the kept checkpoints and the table of losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig

from svdrift.live import OFF, LiveMetrics, Row
from svdrift.models import loading
from svdrift.models.chat import as_messages
from svdrift.scripting import Progress
from svdrift.tasks.base import demonstrations
from svdrift.training import sharding, snapshots
from svdrift.training.attention import suit_attention
from svdrift.training.averaging import AverageWeights
from svdrift.training.device import in_bfloat16, on_gpu
from svdrift.training.lora import adapt
from svdrift.training.parameters import freeze
from svdrift.training.run import Run, Trained, folder
from svdrift.training.sft.early_stopping import StopEarly, first_try_accuracy, held
from svdrift.training.sft.experts import expert_log_probs
from svdrift.training.sft.settings import Settings
from svdrift.training.sft.trainer import MEASURED, make_trainer
from svdrift.training.trainer import (
    Keep,
    ShowMetrics,
    ShowProgress,
    StopWhereNotFinite,
    common_arguments,
    quiet,
)

WINDOW = 4  # steps over which a row of losses is the mean
OTHERS = ("grad_norm", "learning_rate", *MEASURED)  # that live metrics show beside the loss


def train(run: Run) -> Trained:
    """Fine-tune the model in `run.start` on demonstrations of the problems; see `train_sft`."""
    assert run.start is not None
    assert run.task is not None
    assert run.problems is not None
    state = PartialState(cpu=not on_gpu())
    with sharding.in_turn():
        model = loading.load_model(run.start)
        if sharding.wanted():
            sharding.shard(model)
    pairs = demonstrations(run.task, run.problems)
    tokenizer = loading.load_tokenizer(run.start)
    stop = None if run.settings.early_stopping is None else _stop_early(run, model, tokenizer)
    losses = train_sft(
        model,
        tokenizer,
        pairs,
        run.settings,
        keep=run.keep,
        processes=state.num_processes,
        seed=run.seed,
        work=run.work,
        progress=run.progress,
        dtype=run.dtype,
        live=run.live,
        stop=stop,
        expert=expert_log_probs(tokenizer, run.problems, pairs)
        if run.settings.reads_expert
        else None,
    )
    examples = pd.DataFrame(pairs, columns=["prompt", "reply"])
    tables = {"losses": losses, "examples": examples}
    if stop is None:
        return Trained({step: folder(run.work, step) for step in run.keep}, tables)
    holds = held(run.keep, stop.accuracies)
    notes = {
        "selection_accuracy": stop.accuracies,
        "stopped_at": None if run.keep[-1] in stop.accuracies else max(stop.accuracies),
        "holds": holds,  # kept step -> the step whose checkpoint it holds
    }
    checkpoints = {step: folder(run.work, source) for step, source in holds.items()}
    return Trained(checkpoints, tables, notes={"early_stopping": notes})


def _stop_early(run: Run, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> StopEarly:
    assert run.task is not None
    assert run.selection is not None
    accuracy = partial(
        first_try_accuracy,
        model,
        tokenizer,
        run.task,
        run.task.read(run.selection),
        max_new_tokens=run.max_reply_tokens,
        generate=run.generate,
        half=in_bfloat16(run.dtype),
    )
    return StopEarly(run.keep, run.settings.early_stopping.patience, accuracy)


def train_sft(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[tuple[str, str]],
    settings: Settings,
    *,
    keep: Sequence[int],
    processes: int,
    seed: int,
    work: Path,
    progress: Progress,
    dtype: torch.dtype = torch.float32,
    live: LiveMetrics = OFF,
    stop: StopEarly | None = None,
    expert: Sequence[Sequence[float]] | None = None,
) -> pd.DataFrame:
    """Fine-tune `model` on (prompt, reply) pairs; the loss is on the reply.

    A checkpoint is saved in `work` at each step in `keep`, and training ends at the last of them.
    Which steps are kept changes no checkpoint. A snapshot is left in `work` at those steps and on
    SIGTERM, from which a later call continues.

    Args:
        model: whole, or sharded by `svdrift.training.sharding`; trained in place.
        processes: number of processes of this launch, between which batches are shared.
        progress: wraps the steps, as `tqdm` does.
        dtype: in which checkpoints are saved; training keeps the model's own.
        live: takes the loss, gradient norm and learning rate of each step.
        stop: may end training at an earlier step of `keep`.
        expert: log-probabilities (nats) of the tokens of each reply under who wrote it, where the
            loss reads them.

    Returns:
        Columns `step` and `train_loss` (nats per reply token, mean over the last 4 steps). Of
        another loss than the negative log-likelihood also `grad_norm` and those of `MEASURED` that
        it has.

    Raises:
        UserError: SIGTERM came, and a snapshot was kept; the loss or a weight is not finite; or
            the model or the data does not suit the loss.
    """
    quiet()
    suit_attention(model)
    freeze(model, embeddings=settings.freeze_embeddings)
    adapt(model, settings.lora, seed)
    arguments = _arguments(settings, processes=processes, seed=seed, work=work, dtype=dtype)
    if settings.average_weights:
        arguments.save_total_limit = 2  # see `AverageWeights`
    sharding.let_accelerate_shard_on_cpu()
    trainer = make_trainer(
        settings.loss,
        seed,
        expert,
        model=model,
        args=arguments,
        train_dataset=_dataset(demonstrations),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StopWhereNotFinite("SFT", work))
    trainer.add_callback(ShowMetrics(live, _row))
    trainer.add_callback(ShowProgress(progress, "fine-tuning", keep[-1]))
    average = AverageWeights(model, work) if settings.average_weights else None
    if average is not None:
        trainer.add_callback(average)
    weights = nullcontext if average is None else average.in_place
    kept = Keep(model, tokenizer, keep, work, dtype, weights=weights)
    kept.trainer = trainer
    trainer.add_callback(kept)
    if stop is not None:
        trainer.add_callback(stop)
        before = snapshots.history(work)
        if stop.has_ended(before):  # and only the handing over was cut off
            return _losses(before)
    snapshots.train(trainer, work)
    return _losses(trainer.state.log_history)


def _arguments(
    settings: Settings, *, processes: int, seed: int, work: Path, dtype: torch.dtype
) -> SFTConfig:
    per_process = settings.batch_size // processes
    micro = math.gcd(per_process, settings.micro_batch_size)
    return SFTConfig(
        **common_arguments(work, seed, dtype, micro),
        max_steps=settings.steps,
        gradient_accumulation_steps=per_process // micro,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=("constant_with_warmup" if settings.schedule == "constant" else "cosine"),
        warmup_steps=settings.warmup_steps,
        max_length=settings.max_length,
        gradient_checkpointing=settings.gradient_checkpointing,
        logging_steps=1,
    )


def _dataset(pairs: Sequence[tuple[str, str]]) -> Dataset:
    """Pairs in TRL's conversational prompt-completion form."""
    turns = [as_messages(pair) for pair in pairs]
    return Dataset.from_dict(
        {"prompt": [t[:1] for t in turns], "completion": [t[1:] for t in turns]}
    )


def _row(entry: dict[str, float]) -> Row | None:
    """What live metrics show of an entry of the trainer's log; None for the one at the end."""
    if "loss" not in entry:
        return None
    row = {"step": entry["step"], "train_loss": entry["loss"]}
    return row | {name: entry[name] for name in OTHERS if name in entry}


def _losses(log_history: list[dict[str, float]]) -> pd.DataFrame:
    """Means over windows of steps. The trainer's own forget what was before a snapshot."""
    logged = [entry for entry in log_history if "loss" in entry]  # one a step
    measured = [name for name in MEASURED if logged and name in logged[0]]
    columns = {"train_loss": "loss"} | {
        name: name for name in ["grad_norm"] * bool(measured) + measured
    }
    whole = len(logged) // WINDOW * WINDOW
    steps = np.arange(1, whole // WINDOW + 1) * WINDOW
    means = {
        column: np.array([entry[name] for entry in logged[:whole]]).reshape(-1, WINDOW).mean(axis=1)
        for column, name in columns.items()
    }
    return pd.DataFrame({"step": steps, **means})
