"""Proximal policy optimisation with a verifier's reward, in the order in which it happens.

Each update: rollout, values, advantages, minibatches, update, log, snapshot. A process plays and
evaluates its share of the episodes; after that every process holds all of them, so advantages,
minibatches and metrics are the same as in one process. Randomness is drawn by (seed, update),
never from a running state: a run that was cut off, or is spread differently, draws the same.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from svdrift.errors import UserError
from svdrift.live import OFF, LiveMetrics
from svdrift.models import loading
from svdrift.models.backend import Generate
from svdrift.models.generation import generate as batched
from svdrift.scripting import Progress
from svdrift.tasks.base import Task
from svdrift.training import finite, sharding, snapshots
from svdrift.training.attention import suit_attention
from svdrift.training.device import in_bfloat16, on_gpu
from svdrift.training.draws import MINIBATCHES, draw_noise, draw_problems, generator
from svdrift.training.likelihood import k3
from svdrift.training.lora import merged
from svdrift.training.ppo import math as ppo_math
from svdrift.training.ppo.gradients import Behaviour, accumulate_gradients, evaluate
from svdrift.training.ppo.network import ActorCritic
from svdrift.training.ppo.settings import Settings
from svdrift.training.ppo.snapshot import load_snapshot, save_snapshot
from svdrift.training.prefixes import begin_replies, draw_quarters, solved_by_quarters
from svdrift.training.rollout import (
    Rollouts,
    as_tensors,
    outcomes,
    paid_faults,
    play_episodes,
    warnings_of,
    with_permuted_rewards,
)
from svdrift.training.run import Run, Trained, folder

HISTOGRAM_BIN = 0.25  # width of a bin of advantages, in units of the verifier's reward
SNAPSHOT_INTERVAL_S = 30.0
SNAPSHOT_SHARE = 0.05  # of the time that snapshots may take


def train(run: Run) -> Trained:
    """Train the model in `run.start` by PPO; see `train_ppo`."""
    assert run.start is not None
    assert run.task is not None
    assert run.problems is not None
    result = train_ppo(
        run.start,
        run.task,
        run.problems,
        run.settings,
        keep=run.keep,
        seed=run.seed,
        max_new_tokens=run.max_reply_tokens,
        accelerator=make_accelerator(run.dtype),
        work=run.work,
        key=run.key,
        dtype=run.dtype,
        progress=run.progress,
        generate=run.generate,
        live=run.live,
    )
    tables = {"metrics": result.metrics, "advantages": result.advantages}
    return Trained(result.checkpoints, tables)


class PPORun(NamedTuple):
    """What training leaves, the same on every process.

    Attributes:
        policy: the trained model, its adapters merged; if it was sharded, with its weights on the
            main process only.
        metrics: one row an update, see `train_ppo`.
        advantages: `update`, `bin_low`, `bin_high`, `count`: histogram before normalisation.
        timing: `update`, `seconds`, `tokens_per_second` (sampled tokens, all processes).
        checkpoints: folders of the kept checkpoints, by update.
    """

    policy: PreTrainedModel
    metrics: pd.DataFrame
    advantages: pd.DataFrame
    timing: pd.DataFrame
    checkpoints: dict[int, Path]


def train_ppo(
    start: Path,
    task: Task,
    problems: pd.DataFrame,
    settings: Settings,
    *,
    keep: Sequence[int],
    seed: int,
    max_new_tokens: int,
    accelerator: Accelerator,
    work: Path,
    key: str,
    progress: Progress,
    dtype: torch.dtype = torch.float32,
    generate: Generate = batched,
    live: LiveMetrics = OFF,
) -> PPORun:
    """Train the causal language model in the folder `start` on `problems` by PPO.

    `metrics` has for each `update` (from 1)
    - of the policy that played: `reward_mean` and `reward_std` (of an episode's sum over tries,
      unscaled), `solved_by_try_1` ... (shares of episodes), `fault_...` (shares of replies, by
      kind), with prefixes `solved_after_0_quarters` ... (`prefixes.solved_by_quarters`),
      `kl_to_start` and `entropy` (nats per reply token; the KL is the k3 estimate),
      `explained_variance` of its values;
    - of the training on these episodes, as means over minibatches: `policy_loss`, `value_loss`,
      `ratio_mean`, `clip_share` (of actions), `grad_norm` (before clipping); and `ratio_max`,
      `learning_rate`.

    Args:
        start: model folder. A frozen copy stays in memory for the KL: little beside the
            weights, gradients and two moments of the model in training. Sharded models lie in
            pieces, the copy too; while episodes are played, every process holds whole weights.
        task: poses the problems and verifies replies.
        problems: to practise, as a table of the task.
        settings: see `Settings`.
        keep: updates whose checkpoints are kept; training ends after the last.
        seed: of problems, sampling, minibatches and value head.
        max_new_tokens: longest reply.
        accelerator: from `make_accelerator`.
        work: folder for snapshots and checkpoints, kept between attempts.
        key: what the run depends on, hashed; a snapshot with another key is not resumed.
        progress: wraps the updates, as `tqdm` does.
        dtype: in which checkpoints are saved; training keeps float32.
        generate: what writes the replies; it is given the policy of each update.
        live: takes each row of `metrics` as it comes.

    Raises:
        UserError: SIGTERM came and a snapshot was kept; the loss or a weight is not finite; or
            DeepSpeed would hold the model.
    """
    _refuse_deepspeed(accelerator)
    device, processes = accelerator.device, accelerator.num_processes
    tokenizer = loading.load_tokenizer(start)
    posed = task.read(problems)
    weigh = partial(reply_weights, settings=settings)
    half = accelerator.mixed_precision == "bf16"
    with sharding.in_turn():
        reference = loading.load_model(start, dtype=torch.bfloat16 if half else torch.float32)
        sharding.place(reference.requires_grad_(False))
        actor = ActorCritic(loading.load_model(start), settings, seed)
        suit_attention(actor.policy)
        if sharding.wanted():
            actor.shard()
    model = actor if sharding.wanted() else accelerator.prepare_model(actor)
    parameters = [parameter for parameter in actor.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(
        parameters, lr=settings.learning_rate, eps=settings.adam_epsilon, fused=True
    )
    done, tables = load_snapshot(work, key, parameters, optimizer)
    if done and accelerator.is_main_process:
        print(f"goes on from the snapshot after update {done}", flush=True)
    live.begin(tables["metrics"])
    last_snapshot, wait = time.monotonic(), SNAPSHOT_INTERVAL_S

    updates = range(done + 1, keep[-1] + 1)
    with snapshots.terminated() as told:
        for update in progress(updates, len(updates), "PPO"):
            began = time.monotonic()

            # Rollout: play this process's share of the episodes, then share all of them.
            drawn = draw_problems(len(posed), settings.episodes, seed, update)
            mine = np.array_split(np.arange(len(drawn)), processes)[accelerator.process_index]
            shape = (settings.episodes, max_new_tokens)
            quarters = draw_quarters(settings.prefix_quarters, len(drawn), seed, update)
            with sharding.whole(actor.policy), accelerator.autocast():
                episodes = play_episodes(
                    actor.policy,
                    tokenizer,
                    task,
                    [posed[i] for i in drawn[mine]],
                    temperature=settings.temperature,
                    uniforms=[
                        noise[mine] for noise in draw_noise(settings.tries, shape, seed, update)
                    ],
                    begun=begin_replies(
                        tokenizer, task, [posed[i] for i in drawn[mine]], quarters[mine]
                    ),
                    weigh=weigh,
                    generate=generate,
                )
            if processes > 1:
                episodes = gather_object(episodes)
            rewarded = episodes
            if settings.permute_rewards:
                rewarded = with_permuted_rewards(episodes, seed, update)
            rollouts = as_tensors(
                rewarded,
                by_turn=settings.granularity == "turn",
                reward_scale=settings.reward_scale,
            ).to(device)

            # Values, and the log-probabilities before training, by the forward that trains.
            behaviour = evaluate(model, reference, rollouts, settings, accelerator)

            # Advantages, normalised over all actions of all processes.
            advantages, returns = ppo_math.gae(
                rollouts.rewards,
                behaviour.values,
                rollouts.mask,
                settings.gamma,
                settings.gae_lambda,
            )
            whitened = ppo_math.whiten(advantages, rollouts.mask)

            # Minibatches and update.
            learning_rate = ppo_math.cosine_learning_rate(
                update - 1, settings.updates, settings.learning_rate, settings.final_learning_rate
            )
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            steps = []
            for epoch in range(settings.epochs):
                order = generator(seed, MINIBATCHES, update, epoch).permutation(len(drawn))
                for rows in torch.from_numpy(order).to(device).split(settings.minibatch_size):
                    step = accumulate_gradients(
                        model, rollouts, behaviour, whitened, returns, rows, settings, accelerator
                    )
                    norm = clip_grad_norm_(parameters, settings.max_grad_norm)
                    step["grad_norm"] = sharding.gathered(norm).item()
                    for name in ("policy_loss", "value_loss", "grad_norm"):
                        if not math.isfinite(step[name]):  # the step would spoil every weight
                            raise _diverged(update, keep[-1], f"{name} is {step[name]}", work)
                    steps.append(step)
                    optimizer.step()
                    optimizer.zero_grad()

            # Log.
            tables["metrics"].append(
                {
                    "update": update,
                    **outcomes(episodes, settings.tries, task.faults),
                    **solved_by_quarters(episodes, quarters, settings.prefix_quarters),
                    **_of_behaviour(behaviour, returns, rollouts),
                    **_over_steps(steps),
                    "learning_rate": learning_rate,
                }
            )
            live.append(tables["metrics"][-1])
            if accelerator.is_main_process:
                for line in warnings_of(tables["metrics"], paid_faults(episodes)):
                    print(line, flush=True)
            tables["advantages"] += [
                {"update": update, "bin_low": low, "bin_high": high, "count": count}
                for low, high, count in ppo_math.histogram(
                    advantages[rollouts.mask], HISTOGRAM_BIN * settings.reward_scale
                )
            ]
            seconds = time.monotonic() - began
            speed = int((rollouts.actions >= 0).sum()) / seconds
            tables["timing"].append(
                {"update": update, "seconds": seconds, "tokens_per_second": speed}
            )

            # Checkpoint and snapshot: all processes hold the same or a piece, the first one writes.
            trained = (item for item in actor.named_parameters() if item[1].requires_grad)
            if (cause := finite.spoilt(trained)) is not None:
                raise _diverged(update, keep[-1], cause, work)
            if update in keep:
                policy = merged(sharding.ordinary(actor.policy))
                if accelerator.is_main_process:
                    loading.save_checkpoint(policy, tokenizer, folder(work, update), dtype)
            asked = time.monotonic()
            due = accelerator.is_main_process and asked - last_snapshot > wait
            asking = torch.tensor([told(), due], device=device).float()
            stop, due = (accelerator.reduce(asking) > 0).tolist()
            if stop or due:
                save_snapshot(work, key, update, parameters, optimizer, tables)
                last_snapshot = time.monotonic()
                wait = max(SNAPSHOT_INTERVAL_S, (last_snapshot - asked) / SNAPSHOT_SHARE)
            if stop:
                accelerator.wait_for_everyone()
                raise snapshots.stopped(f"update {update} of {keep[-1]}", work)

    return PPORun(
        merged(sharding.ordinary(actor.policy)),
        pd.DataFrame(tables["metrics"]),
        pd.DataFrame(tables["advantages"]),
        pd.DataFrame(tables["timing"]),
        {update: folder(work, update) for update in keep},
    )


def _diverged(update: int, last: int, cause: str, work: Path) -> UserError:
    snapshot = next(work.glob("snapshot-*"), None)  # there is one at most
    return finite.diverged(f"PPO: update {update} of {last}", cause, snapshot)


def reply_weights(
    tokenizer: PreTrainedTokenizerBase, reply: list[int], settings: Settings
) -> list[float]:
    """Weights of a reply's tokens in the log-probability of its turn (docs/deviations.md)."""
    weights = [1.0] * len(reply)
    if settings.reasoning_weight != 1:
        # The shortest beginning of the reply whose text holds the marker ends in the formula.
        first = bisect_left(
            range(1, len(reply) + 1),
            True,
            key=lambda length: settings.formula_marker in str(tokenizer.decode(reply[:length])),
        )
        weights[:first] = [settings.reasoning_weight] * first
    if settings.skip_first_token:
        weights[0] = 0.0
    return weights


def make_accelerator(dtype: torch.dtype = torch.float32) -> Accelerator:
    """Set up processes as `accelerate launch` says; else one process.

    Args:
        dtype: in which checkpoints are kept.
    """
    return Accelerator(
        cpu=not on_gpu(),  # else several processes without a GPU would not find each other
        mixed_precision="bf16" if in_bfloat16(dtype) else "no",
        # The only buffers are constants; sending them at each forward is waste.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def _refuse_deepspeed(accelerator: Accelerator) -> None:
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise UserError(
            "accelerate: distributed_type DEEPSPEED holds the model and steps itself; PPO needs "
            "both (allowed: fsdp2 to shard the model, or no sharding)"
        )


# --------------------------------------------------------------------------------------
# Log


def _of_behaviour(behaviour: Behaviour, returns: Tensor, rollouts: Rollouts) -> dict[str, float]:
    replied, mask = rollouts.actions >= 0, rollouts.mask
    kl = k3(behaviour.log_probs, behaviour.start_log_probs)
    return {
        "kl_to_start": kl[replied].mean().item(),
        "entropy": behaviour.entropy[replied].mean().item(),
        "explained_variance": ppo_math.explained_variance(behaviour.values[mask], returns[mask]),
    }


def _over_steps(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    return {
        name: max(values) if name == "ratio_max" else sum(values) / len(values)
        for name in steps[0]
        for values in [[step[name] for step in steps]]
    }
