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
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from svdrift.live import OFF, LiveMetrics, Row
from svdrift.models import loading
from svdrift.models.backend import Generate
from svdrift.models.generation import generate as batched
from svdrift.scripting import Progress
from svdrift.tasks.base import Problem, Task
from svdrift.training import sharding, snapshots
from svdrift.training.device import in_bfloat16, on_gpu
from svdrift.training.draws import draw_noise, draw_problems
from svdrift.training.grpo import sampler
from svdrift.training.grpo.settings import Settings
from svdrift.training.grpo.trainer import SamplingTrainer
from svdrift.training.likelihood import k3
from svdrift.training.lora import adapt, merged
from svdrift.training.parameters import freeze
from svdrift.training.policy import evaluate_replies
from svdrift.training.prefixes import begin_replies, draw_quarters, solved_by_quarters
from svdrift.training.rollout import (
    Episode,
    as_tensors,
    outcomes,
    paid_faults,
    play_episodes,
    warnings_of,
    with_permuted_rewards,
)
from svdrift.training.run import Run, Trained, folder
from svdrift.training.trainer import (
    Keep,
    ShowMetrics,
    ShowProgress,
    StopWhereNotFinite,
    common_arguments,
    quiet,
)

OWN = "own/"  # before the names of what we measure, since TRL has a `reward_std` too

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
    - of the sampler, if there is one: see `sampler.measures`.

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
    game = _Game(reference, tokenizer, task, posed, settings, seed, max_new_tokens, generate)
    kept = Keep(model, tokenizer, keep, work, dtype, steps_each=each)
    arguments = _arguments(settings, processes=processes, seed=seed, work=work, dtype=dtype)
    sharding.let_accelerate_shard_on_cpu()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using 'rollout_func'", UserWarning)
        trainer_class = (
            GRPOTrainer
            if settings.sampler is None
            else partial(
                SamplingTrainer,
                places=lambda: game.places,
                minibatches=settings.trained // settings.minibatch_size,
            )
        )
        trainer = trainer_class(
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


class _Game:
    """What TRL asks of us: to play episodes, and to say what they earn."""

    def __init__(
        self,
        reference: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        problems: Sequence[Problem],
        settings: Settings,
        seed: int,
        max_new_tokens: int,
        generate: Generate,
    ) -> None:
        self.reference = reference
        self.tokenizer, self.task, self.problems = tokenizer, task, problems
        self.settings, self.seed, self.max_new_tokens = settings, seed, max_new_tokens
        self.generate = generate
        self.episodes: list[Episode] = []
        self.measured: dict[str, float] = {}
        self.logged: list[dict[str, float]] = []  # of TRL's state, which a snapshot keeps
        self.update = 0
        self.places = np.array([], dtype=int)  # of the episodes that the sampler drew

    def play(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """Play this process's episodes of an update, on the problems at the places `prompts`.

        Returns:
            Tokens of prompts and of all that follows; `env_mask` is 1 for what the policy sampled.
        """
        self.logged = trainer.state.log_history
        self.update = trainer.state.global_step // self.settings.steps_per_update + 1
        place = trainer.accelerator.process_index * len(prompts)
        shape = (self.settings.episodes, self.max_new_tokens)
        noise = draw_noise(self.settings.tries, shape, self.seed, self.update)
        problems = [self.problems[int(prompt)] for prompt in prompts]
        quarters = self._quarters()
        policy = trainer.accelerator.unwrap_model(trainer.model)
        with sharding.whole(policy), trainer.accelerator.autocast():
            self.episodes = play_episodes(
                policy,
                self.tokenizer,
                self.task,
                problems,
                temperature=self.settings.temperature,
                uniforms=[of_try[place : place + len(prompts)] for of_try in noise],
                begun=begin_replies(
                    self.tokenizer, self.task, problems, quarters[place : place + len(prompts)]
                ),
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
        """Sum over tries of the rewards of the episodes just played, or another episode's.

        They decide which episodes train, if there is a sampler.
        """
        state = PartialState()
        every = gather_object(self.episodes) if state.num_processes > 1 else self.episodes
        measured = outcomes(every, self.settings.tries, self.task.faults)
        after = solved_by_quarters(every, self._quarters(), self.settings.prefix_quarters)
        for name, value in (measured | after | self.measured).items():
            log_metric(OWN + name, value)
        if state.is_main_process:
            earlier = filter(None, map(_own, self.logged))
            for line in warnings_of([*earlier, measured], paid_faults(every)):
                print(line, flush=True)
        rewarded = every
        if self.settings.permute_rewards:
            rewarded = with_permuted_rewards(every, self.seed, self.update)
        rewards = [sum(episode.rewards) for episode in rewarded]
        if self.settings.sampler is not None:
            relative = np.array(rewards), self.settings.group_size
            self.places = sampler.draw_episodes(
                *relative, self.settings.sampler, self.seed, self.update
            )
            for name, value in sampler.measures(self.places, *relative).items():
                log_metric(OWN + name, value)
        first = state.process_index * len(self.episodes)
        return list(rewards[first : first + len(self.episodes)])

    def _quarters(self) -> np.ndarray:
        """Of the gold reply, that each episode of the update begins with; a group shares them."""
        settings = self.settings
        groups = settings.episodes // settings.group_size
        dealt = draw_quarters(settings.prefix_quarters, groups, self.seed, self.update)
        return np.repeat(dealt, settings.group_size)

    @torch.no_grad()
    def _measure(self, policy: PreTrainedModel, device: Any) -> dict[str, float]:
        """KL to the start and entropy on the replies, as PPO measures them."""
        rollouts = as_tensors(self.episodes).to(device)
        kl, entropy, tokens = 0.0, 0.0, 0
        for rows in torch.arange(len(self.episodes)).split(self.settings.micro_batch_size):
            batch = rollouts.select(rows.to(device))
            replied = batch.actions >= 0
            now, entropies, _ = evaluate_replies(policy, batch, self.settings.temperature)
            then, _, _ = evaluate_replies(self.reference, batch, self.settings.temperature)
            kl += k3(now, then)[replied].sum().item()
            entropy += entropies[replied].sum().item()
            tokens += int(replied.sum())
        return {"kl_to_start": kl / tokens, "entropy": entropy / tokens}


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
    if not (own := _own(entry)):
        return None
    return {
        "update": int(entry["step"]) // settings.steps_per_update,
        "reward_mean": own["reward_mean"],  # first, as in PPO; TRL sorts by name
        **own,
        **{ours: entry[name] for name, ours in LOGGED.items()},
    }


def _own(entry: Mapping[str, float]) -> dict[str, float]:
    """What we measured of an update; nothing in the entry that TRL adds at the end."""
    own = {name: value for name, value in entry.items() if name.startswith(OWN)}
    return {name.removeprefix(OWN): value for name, value in own.items()}
