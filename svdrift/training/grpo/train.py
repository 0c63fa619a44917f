"""Group relative policy optimisation (Shao et al. 2024) with TRL's trainer.

The comparison method to our own PPO, with the same task, verifier and episodes: TRL lets a
function of ours play them. Our code also decides the order of problems, the noise of sampling,
which checkpoints are kept and the metrics; advantages, loss and steps are TRL's
(docs/deviations.md).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedModel, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from svdrift.live import OFF, LiveMetrics, Row
from svdrift.models import loading
from svdrift.models.backend import Generate
from svdrift.models.generation import generate as batched
from svdrift.scripting import Progress
from svdrift.tasks.base import Task
from svdrift.training import sharding, snapshots
from svdrift.training.attention import suit_attention
from svdrift.training.device import in_bfloat16, on_gpu
from svdrift.training.draws import draw_problems
from svdrift.training.grpo.game import Game, own
from svdrift.training.grpo.settings import Settings
from svdrift.training.grpo.trainer import GuidedTrainer, SamplingTrainer
from svdrift.training.lora import adapt, merged
from svdrift.training.parameters import freeze
from svdrift.training.run import Run, Trained, folder
from svdrift.training.trainer import (
    Keep,
    ShowMetrics,
    ShowProgress,
    StopWhereNotFinite,
    common_arguments,
    quiet,
)

# TRL's name of what it logs for each update -> ours.
LOGGED = {
    "frac_reward_zero_std": "flat_group_share",
    "loss": "loss",
    "clip_ratio/region_mean": "clip_share",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}


def train(run: Run) -> Trained:
    """Train the model in `run.start` by GRPO; see `train_grpo`."""
    assert run.start is not None
    assert run.task is not None
    assert run.problems is not None
    state = PartialState(cpu=not on_gpu())
    result = train_grpo(
        run.start,
        run.task,
        run.problems,
        run.settings,
        keep=run.keep,
        processes=state.num_processes,
        seed=run.seed,
        max_new_tokens=run.max_reply_tokens,
        work=run.work,
        progress=run.progress,
        dtype=run.dtype,
        generate=run.generate,
        live=run.live,
    )
    return Trained(result.checkpoints, {"metrics": result.metrics})


class GRPORun(NamedTuple):
    """What training leaves.

    Attributes:
        policy: the trained model, its adapters merged; if it was sharded, with its weights on the
            main process only.
        metrics: one row an update, see `train_grpo`.
        checkpoints: folders of the kept checkpoints, by update.
    """

    policy: PreTrainedModel
    metrics: pd.DataFrame
    checkpoints: dict[int, Path]


def train_grpo(
    start: Path,
    task: Task,
    problems: pd.DataFrame,
    settings: Settings,
    *,
    keep: Sequence[int],
    processes: int,
    seed: int,
    max_new_tokens: int,
    work: Path,
    progress: Progress,
    dtype: torch.dtype = torch.float32,
    generate: Generate = batched,
    live: LiveMetrics = OFF,
) -> GRPORun:
    """Train the causal language model in the folder `start` on `problems` by GRPO.

    `metrics` has for each `update` (from 1)
    - of the policy that played, as in PPO: `reward_mean`, `reward_std`, `solved_by_try_1` ...,
      `fault_...`, with prefixes `solved_after_0_quarters` ..., `kl_to_start` and `entropy` (these
      two as means over processes); and `flat_group_share`, of groups in which all rewards are
      equal, so that nothing is learned from them;
    - of the training on these episodes, as TRL logs it: `loss` and `clip_share` (of reply tokens
      where the clip stops the gradient) as means over its steps, `grad_norm` (before clipping)
      and `learning_rate` of its last step;
    - of the sampler, if there is one: see `sampler.measures`; of guidance `guidance.measures`.

    Args:
        start: model folder. A frozen copy stays in memory for the KL.
        task: poses the problems and verifies replies.
        problems: to practise, as a table of the task.
        settings: see `Settings`.
        keep: updates whose checkpoints are kept; training ends after the last.
        processes: number of processes of this launch, between which episodes are shared.
        seed: of problems, sampling and minibatches.
        max_new_tokens: longest reply.
        work: folder for checkpoints and, written with them and on SIGTERM, a snapshot
            from which a later call continues.
        progress: wraps the updates, as `tqdm` does.
        dtype: in which checkpoints are saved; training keeps float32.
        generate: what writes the replies; it is given the policy of each update.
        live: takes each row of `metrics` as it comes.

    Raises:
        UserError: SIGTERM came, and a snapshot was kept; or the loss or a weight is not finite.
    """
    quiet()
    tokenizer = loading.load_tokenizer(start)
    with sharding.in_turn():
        model = loading.load_model(start)
        suit_attention(model)
        freeze(model, embeddings=settings.freeze_embeddings)
        adapt(model, settings.lora, seed)
        if sharding.wanted():
            sharding.shard(model)
        reference = loading.load_model(
            start, dtype=torch.bfloat16 if in_bfloat16(dtype) else torch.float32
        )
        sharding.place(reference.requires_grad_(False))
    posed = task.read(problems)
    each = settings.steps_per_update
    game = Game(reference, tokenizer, task, posed, settings, seed, max_new_tokens, generate)
    kept = Keep(model, tokenizer, keep, work, dtype, steps_each=each)
    arguments = _arguments(settings, processes=processes, seed=seed, work=work, dtype=dtype)
    sharding.let_accelerate_shard_on_cpu()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using 'rollout_func'", UserWarning)
        trainer = _trainer_class(settings, game)(
            model=model,
            args=arguments,
            train_dataset=_deal(len(posed), settings, seed),
            processing_class=tokenizer,
            rollout_func=game.play,
            reward_funcs=game.reward,
            callbacks=[
                StopWhereNotFinite("GRPO", work, each),
                ShowMetrics(live, lambda entry: _row(entry, settings)),
                ShowProgress(progress, "GRPO", keep[-1], each),
                kept,
            ],
        )
    kept.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    snapshots.train(trainer, work, every=each)
    return GRPORun(
        merged(sharding.ordinary(model.eval())),
        _metrics(trainer.state.log_history, settings),
        {update: folder(work, update) for update in keep},
    )


def _trainer_class(settings: Settings, game: Game) -> Callable[..., GRPOTrainer]:
    if settings.sampler is not None:
        return partial(
            SamplingTrainer,
            places=lambda: game.places,
            minibatches=settings.trained // settings.minibatch_size,
        )
    if settings.guidance is not None and settings.guidance.loss != "none":
        return partial(GuidedTrainer, lengths=lambda: game.learned, guidance=settings.guidance)
    return GRPOTrainer


def _arguments(
    settings: Settings, *, processes: int, seed: int, work: Path, dtype: torch.dtype
) -> GRPOConfig:
    per_process = settings.minibatch_size // processes
    micro = math.gcd(per_process, settings.micro_batch_size)
    # TRL cuts what trains into as many parts as it would make of all episodes.
    of_all = micro * (settings.episodes // settings.trained)
    return GRPOConfig(
        **common_arguments(work, seed, dtype, of_all),
        max_steps=settings.updates * settings.steps_per_update,
        generation_batch_size=settings.episodes,
        num_generations=settings.group_size,
        num_iterations=settings.epochs,
        gradient_accumulation_steps=per_process // micro,
        shuffle_dataset=False,  # the problems come in the order of `_deal`
        loss_type="dapo",  # mean over all reply tokens of a step, whatever the micro-batch
        scale_rewards="group",
        epsilon=settings.clip,
        beta=settings.kl_coefficient,
        use_bias_correction_kl=False,  # the plain k3, as in PPO
        temperature=settings.temperature,
        disable_dropout=True,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=settings.max_grad_norm,
        gradient_checkpointing=settings.gradient_checkpointing,
        logging_steps=settings.steps_per_update,
    )


def _deal(problems: int, settings: Settings, seed: int) -> Dataset:
    """The problems of all updates in order, each for a group; drawn as PPO draws them.

    TRL passes only prompts on to a rollout. So a prompt here is a problem's place in the table.
    """
    groups = settings.episodes // settings.group_size
    dealt = [
        draw_problems(problems, groups, seed, update) for update in range(1, settings.updates + 1)
    ]
    return Dataset.from_dict({"prompt": [str(place) for place in np.concatenate(dealt)]})


def _metrics(log_history: list[dict[str, float]], settings: Settings) -> pd.DataFrame:
    return pd.DataFrame([row for entry in log_history if (row := _row(entry, settings))])


def _row(entry: Mapping[str, float], settings: Settings) -> Row | None:
    """The row of `metrics` of an entry of TRL's log; None for the one at the end."""
    if not (ours := own(entry)):
        return None
    return {
        "update": int(entry["step"]) // settings.steps_per_update,
        "reward_mean": ours["reward_mean"],  # first, as in PPO; TRL sorts by name
        **ours,
        **{name: entry[theirs] for theirs, name in LOGGED.items()},
    }
