"""Group relative policy optimisation (Shao et al. 2024) with TRL's trainer.

The comparison method to our own PPO, with the same task, verifier and episodes: TRL lets a
function of ours play them. Ours are further the order of hands, the noise of sampling, the schedule
of checkpoints and the metrics; advantages, loss and steps are TRL's (docs/deviations.md).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from trl import GRPOConfig, GRPOTrainer

from svdrift.models import loading
from svdrift.models.backend import Generate
from svdrift.models.generation import generate as batched
from svdrift.scripting import Progress
from svdrift.settings.training import GRPOSettings, PPOSettings
from svdrift.tasks.base import Problem, Task
from svdrift.training import ppo, ppo_math, sharding, snapshots
from svdrift.training.device import in_bfloat16, on_gpu
from svdrift.training.parameters import freeze
from svdrift.training.rollout import Episode, as_tensors, play_episodes

# TRL's name of what it logs for each update -> ours.
LOGGED = {
    "frac_reward_zero_std": "flat_group_share",
    "loss": "loss",
    "clip_ratio/region_mean": "clip_share",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}


class GRPORun(NamedTuple):
    """What training leaves.

    Attributes:
        policy: the trained model; if it was sharded, with its weights on the main process only.
        metrics: one row an update, see `train_grpo`.
        checkpoints: folders of the intermediate checkpoints, by update.
    """

    policy: PreTrainedModel
    metrics: pd.DataFrame
    checkpoints: dict[int, Path]


def train_grpo(
    start: Path,
    task: Task,
    hands: pd.DataFrame,
    settings: GRPOSettings,
    *,
    processes: int,
    seed: int,
    max_new_tokens: int,
    work: Path,
    progress: Progress,
    dtype: torch.dtype = torch.float32,
    generate: Generate = batched,
) -> GRPORun:
    """Train the causal language model in the folder `start` on `hands` by GRPO.

    `metrics` has for each `update` (from 1)
    - of the policy that played, as in PPO: `reward_mean`, `solved_by_try_1` ..., `kl_to_start`
      and `entropy` (these two as means over processes); and `flat_group_share`, of groups in
      which all rewards are equal, so that nothing is learned from them;
    - of the training on these episodes, as TRL logs it: `loss` and `clip_share` (of reply tokens
      where the clip stops the gradient) as means over its steps, `grad_norm` (before clipping)
      and `learning_rate` of its last step.

    Args:
        start: model folder. A frozen copy stays in memory for the KL.
        task: poses the problems and verifies replies.
        hands: problems to practise, as a table of the task.
        settings: see `GRPOSettings`.
        processes: number of processes of this launch, between which episodes are shared.
        seed: of hands, sampling and minibatches.
        max_new_tokens: longest reply.
        work: folder for intermediate checkpoints and, written with them and on SIGTERM, a snapshot
            from which a later call continues.
        progress: wraps the updates, as `tqdm` does.
        dtype: in which intermediate checkpoints are saved; training keeps float32.
        generate: what writes the replies; it is given the policy of each update.

    Raises:
        UserError: SIGTERM came, and a snapshot was kept.
    """
    disable_progress_bars()  # of the data's preparation, which takes seconds,
    disable_progress_bar()  # and of writing models
    tokenizer = loading.load_tokenizer(start)
    with sharding.in_turn():
        model = loading.load_model(start)
        freeze(model, embeddings=settings.freeze_embeddings)
        if sharding.wanted():
            sharding.shard(model)
        reference = loading.load_model(
            start, dtype=torch.bfloat16 if in_bfloat16(dtype) else torch.float32
        )
        sharding.place(reference.requires_grad_(False))
    problems = task.read(hands)
    game = _Game(reference, tokenizer, task, problems, settings, seed, max_new_tokens, generate)
    schedule = _Schedule(model, tokenizer, settings, work, progress, dtype)
    arguments = _arguments(settings, processes=processes, seed=seed, work=work, dtype=dtype)
    sharding.let_accelerate_shard_on_cpu()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using 'rollout_func'", UserWarning)
        trainer = GRPOTrainer(
            model=model,
            args=arguments,
            train_dataset=_deal(len(problems), settings, seed),
            processing_class=tokenizer,
            rollout_func=game.play,
            reward_funcs=game.reward,
            callbacks=[schedule],
        )
    trainer.remove_callback(PrinterCallback)
    snapshots.train(trainer, work, every=steps_per_update(settings))
    return GRPORun(
        sharding.ordinary(model.eval()),
        _metrics(trainer.state.log_history, settings),
        {update: work / f"update-{update}" for update in settings.checkpoint_updates},
    )


def steps_per_update(settings: GRPOSettings) -> int:
    """Optimizer steps of an update."""
    return settings.epochs * settings.episodes // settings.minibatch_size


class _Game:
    """What TRL asks of us: to play episodes, and to say what they earn."""

    def __init__(
        self,
        reference: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        problems: Sequence[Problem],
        settings: GRPOSettings,
        seed: int,
        max_new_tokens: int,
        generate: Generate,
    ) -> None:
        self.reference = reference
        self.tokenizer, self.task, self.problems = tokenizer, task, problems
        self.settings, self.seed, self.max_new_tokens = settings, seed, max_new_tokens
        self.generate = generate
        # All that playing reads of PPO's settings; in the others the published quirks are off.
        self.rules = PPOSettings(tries=settings.tries, temperature=settings.temperature)
        self.episodes: list[Episode] = []
        self.measured: dict[str, float] = {}

    def play(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """Play this process's episodes of an update, on the problems at the places `prompts`.

        Returns:
            Tokens of prompts and of all that follows; `env_mask` is 1 for what the policy sampled.
        """
        update = trainer.state.global_step // steps_per_update(self.settings) + 1
        place = trainer.accelerator.process_index * len(prompts)
        noise = ppo.draw_noise(
            self.rules, (self.settings.episodes, self.max_new_tokens), self.seed, update
        )
        policy = trainer.accelerator.unwrap_model(trainer.model)
        with sharding.whole(policy), trainer.accelerator.autocast():
            self.episodes = play_episodes(
                policy,
                self.tokenizer,
                self.task,
                [self.problems[int(prompt)] for prompt in prompts],
                self.rules,
                uniforms=[of_try[place : place + len(prompts)] for of_try in noise],
                generate=self.generate,
            )
            self.measured = self._measure(policy, trainer.accelerator.device)
        begins = [episode.replies[0][0] for episode in self.episodes]
        played = list(zip(self.episodes, begins, strict=True))
        return {
            "prompt_ids": [episode.tokens[:begin] for episode, begin in played],
            "completion_ids": [episode.tokens[begin:] for episode, begin in played],
            "env_mask": [list(map(int, episode.weights[begin:])) for episode, begin in played],
            "logprobs": None,  # TRL computes them anew, by the forward that trains
        }

    def reward(
        self, *, log_metric: Callable[[str, float], None], **_: object
    ) -> list[float | None]:
        """Sum over tries of the rewards of the episodes just played."""
        measured = ppo.outcomes(self.episodes, self.settings.tries) | self.measured
        for name, value in measured.items():
            log_metric(name, value)
        return [sum(episode.rewards) for episode in self.episodes]

    @torch.no_grad()
    def _measure(self, policy: PreTrainedModel, device: Any) -> dict[str, float]:
        """KL to the start and entropy on the replies, as PPO measures them."""
        rollouts = as_tensors(self.episodes, self.rules).to(device)
        kl, entropy, tokens = 0.0, 0.0, 0
        for rows in torch.arange(len(self.episodes)).split(self.settings.micro_batch_size):
            batch = rollouts.select(rows.to(device))
            replied = batch.actions >= 0
            now, entropies, _ = ppo.evaluate_replies(policy, batch, self.settings.temperature)
            then, _, _ = ppo.evaluate_replies(self.reference, batch, self.settings.temperature)
            kl += ppo_math.k3(now, then)[replied].sum().item()
            entropy += entropies[replied].sum().item()
            tokens += int(replied.sum())
        return {"kl_to_start": kl / tokens, "entropy": entropy / tokens}


class _Schedule(TrainerCallback):
    """Tell how far training is; keep a checkpoint and a snapshot at the listed updates."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: GRPOSettings,
        work: Path,
        progress: Progress,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.work, self.progress, self.dtype = work, progress, dtype
        self.updates: Iterator[int] = iter(())

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if state.is_world_process_zero:
            done = state.global_step // steps_per_update(self.settings)
            remaining = range(done + 1, self.settings.updates + 1)
            self.updates = iter(self.progress(remaining, len(remaining), "GRPO"))
            next(self.updates, None)  # begins; each further one ends an update

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> TrainerControl:
        update, within = divmod(state.global_step, steps_per_update(self.settings))
        if within == 0:
            next(self.updates, None)
            if update in self.settings.checkpoint_updates:
                control.should_save = True  # on every process, for each has its random state
                policy = sharding.ordinary(self.model)
                if state.is_world_process_zero:
                    folder = self.work / f"update-{update}"
                    loading.save_checkpoint(policy, self.tokenizer, folder, self.dtype)
        return control


def _arguments(
    settings: GRPOSettings, *, processes: int, seed: int, work: Path, dtype: torch.dtype
) -> GRPOConfig:
    gpu = on_gpu()
    per_process = settings.minibatch_size // processes
    micro = math.gcd(per_process, settings.micro_batch_size)
    return GRPOConfig(
        output_dir=str(work),
        max_steps=settings.updates * steps_per_update(settings),
        generation_batch_size=settings.episodes,
        num_generations=settings.group_size,
        num_iterations=settings.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=per_process // micro,
        shuffle_dataset=False,  # the hands are dealt in their order
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
        bf16=in_bfloat16(dtype),
        use_cpu=not gpu,
        save_strategy="no",  # the callback asks for snapshots at the listed updates
        save_total_limit=1,
        logging_steps=steps_per_update(settings),
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


def _deal(problems: int, settings: GRPOSettings, seed: int) -> Dataset:
    """The problems of all updates in order, each for a group; dealt as PPO deals its hands.

    TRL passes only prompts on to a rollout. So a prompt here is a problem's place in the table.
    """
    groups = settings.episodes // settings.group_size
    dealt = [
        ppo.draw_hands(problems, groups, seed, update) for update in range(1, settings.updates + 1)
    ]
    return Dataset.from_dict({"prompt": [str(place) for place in np.concatenate(dealt)]})


def _metrics(log_history: list[dict[str, float]], settings: GRPOSettings) -> pd.DataFrame:
    solved = [f"solved_by_try_{number}" for number in range(1, settings.tries + 1)]
    own = {name: name for name in ("reward_mean", *solved, "kl_to_start", "entropy")}
    return pd.DataFrame(
        [
            {
                "update": int(entry["step"]) // steps_per_update(settings),
                **{ours: entry[name] for name, ours in (own | LOGGED).items()},
            }
            for entry in log_history
            if "reward_mean" in entry
        ]
    )
