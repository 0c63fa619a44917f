"""Proximal policy optimisation with a verifier's reward, in the order in which it happens.

Each update: rollout, values, advantages, minibatches, update, log, snapshot. A process plays and
evaluates its share of the episodes; after that every process holds all of them, so advantages,
minibatches and metrics are the same as in one process. Randomness is drawn by (seed, update),
never from a running state: a run that was cut off, or is spread differently, draws the same.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from accelerate import (
    Accelerator,
    DistributedDataParallelKwargs,
    DistributedType,
    PartialState,
)
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer
from transformers.modeling_layers import GradientCheckpointingLayer

from svdrift.errors import UserError
from svdrift.models import loading
from svdrift.models.backend import Generate
from svdrift.models.generation import generate as batched
from svdrift.scripting import Progress
from svdrift.settings.training import PPOSettings
from svdrift.tasks.base import Task
from svdrift.training import ppo_math, sharding, snapshots
from svdrift.training.device import in_bfloat16, on_gpu
from svdrift.training.parameters import freeze
from svdrift.training.rollout import Episode, Rollouts, as_tensors, play_episodes

# What is drawn at random, so that no two draws share a stream of numbers.
HANDS, SAMPLING, MINIBATCHES = range(3)

HISTOGRAM_BIN = 0.25  # width of a bin of advantages, in units of the verifier's reward
SNAPSHOT_INTERVAL_S = 30.0
SNAPSHOT_SHARE = 0.05  # of the time that snapshots may take

Rows = dict[str, list[dict[str, Any]]]  # table name -> its rows so far


class PPORun(NamedTuple):
    """What training leaves, the same on every process.

    Attributes:
        policy: the trained model; if it was sharded, with its weights on the main process only.
        metrics: one row an update, see `train_ppo`.
        advantages: `update`, `bin_low`, `bin_high`, `count`: histogram before normalisation.
        timing: `update`, `seconds`, `tokens_per_second` (sampled tokens, all processes).
        checkpoints: folders of the intermediate checkpoints, by update.
    """

    policy: PreTrainedModel
    metrics: pd.DataFrame
    advantages: pd.DataFrame
    timing: pd.DataFrame
    checkpoints: dict[int, Path]


def train_ppo(
    start: Path,
    task: Task,
    hands: pd.DataFrame,
    settings: PPOSettings,
    *,
    seed: int,
    max_new_tokens: int,
    accelerator: Accelerator,
    work: Path,
    key: str,
    progress: Progress,
    dtype: torch.dtype = torch.float32,
    generate: Generate = batched,
) -> PPORun:
    """Train the causal language model in the folder `start` on `hands` by PPO.

    `metrics` has for each `update` (from 1)
    - of the policy that played: `reward_mean` (an episode's sum over tries, unscaled),
      `solved_by_try_1` ... (shares of episodes), `kl_to_start` and `entropy` (nats per reply
      token; the KL is the k3 estimate), `explained_variance` of its values;
    - of the training on these episodes, as means over minibatches: `policy_loss`, `value_loss`,
      `ratio_mean`, `clip_share` (of actions), `grad_norm` (before clipping); and `ratio_max`,
      `learning_rate`.

    Args:
        start: model folder. A frozen copy stays in memory for the KL: little beside the
            weights, gradients and two moments of the model in training. Sharded models lie in
            pieces, the copy too; while episodes are played, every process holds whole weights.
        task: poses the problems and verifies replies.
        hands: problems to practise, as a table of the task.
        settings: see `PPOSettings`.
        seed: of hands, sampling, minibatches and value head.
        max_new_tokens: longest reply.
        accelerator: from `make_accelerator`.
        work: folder for snapshots and intermediate checkpoints, kept between attempts.
        key: what the run depends on, hashed; a snapshot with another key is not resumed.
        progress: wraps the updates, as `tqdm` does.
        dtype: in which intermediate checkpoints are saved; training keeps float32.
        generate: what writes the replies; it is given the policy of each update.

    Raises:
        UserError: SIGTERM came and a snapshot was kept, or DeepSpeed would hold the model.
    """
    _refuse_deepspeed(accelerator)
    device, processes = accelerator.device, accelerator.num_processes
    tokenizer = loading.load_tokenizer(start)
    problems = task.read(hands)
    half = accelerator.mixed_precision == "bf16"
    with sharding.in_turn():
        reference = loading.load_model(start, dtype=torch.bfloat16 if half else torch.float32)
        sharding.place(reference.requires_grad_(False))
        actor = ActorCritic(loading.load_model(start), settings, seed)
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
    last_snapshot, wait = time.monotonic(), SNAPSHOT_INTERVAL_S

    updates = range(done + 1, settings.updates + 1)
    with snapshots.terminated() as told:
        for update in progress(updates, len(updates), "PPO"):
            began = time.monotonic()

            # Rollout: play this process's share of the episodes, then share all of them.
            drawn = draw_hands(len(problems), settings.episodes, seed, update)
            mine = np.array_split(np.arange(len(drawn)), processes)[accelerator.process_index]
            shape = (settings.episodes, max_new_tokens)
            with sharding.whole(actor.policy), accelerator.autocast():
                episodes = play_episodes(
                    actor.policy,
                    tokenizer,
                    task,
                    [problems[i] for i in drawn[mine]],
                    settings,
                    uniforms=[noise[mine] for noise in draw_noise(settings, shape, seed, update)],
                    generate=generate,
                )
            if processes > 1:
                episodes = gather_object(episodes)
            rollouts = as_tensors(episodes, settings).to(device)

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
                    # Not finite: the step would spoil every weight, so fail instead.
                    norm = clip_grad_norm_(
                        parameters, settings.max_grad_norm, error_if_nonfinite=True
                    )
                    step["grad_norm"] = sharding.gathered(norm).item()
                    steps.append(step)
                    optimizer.step()
                    optimizer.zero_grad()

            # Log.
            tables["metrics"].append(
                {
                    "update": update,
                    **outcomes(episodes, settings.tries),
                    **_of_behaviour(behaviour, returns, rollouts),
                    **_over_steps(steps),
                    "learning_rate": learning_rate,
                }
            )
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
            if update in settings.checkpoint_updates:
                policy = sharding.ordinary(actor.policy)
                if accelerator.is_main_process:
                    loading.save_checkpoint(policy, tokenizer, _checkpoint(work, update), dtype)
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
                raise snapshots.stopped(f"update {update} of {settings.updates}", work)

    return PPORun(
        sharding.ordinary(actor.policy),
        pd.DataFrame(tables["metrics"]),
        pd.DataFrame(tables["advantages"]),
        pd.DataFrame(tables["timing"]),
        {update: _checkpoint(work, update) for update in settings.checkpoint_updates},
    )


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


def _checkpoint(work: Path, update: int) -> Path:
    return work / f"update-{update}"


def _refuse_deepspeed(accelerator: Accelerator) -> None:
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise UserError(
            "accelerate: distributed_type DEEPSPEED holds the model and steps itself; PPO needs "
            "both (allowed: fsdp2 to shard the model, or no sharding)"
        )


# --------------------------------------------------------------------------------------
# Draws


def generator(*entropy: int) -> np.random.Generator:
    """Counter-based random numbers (Philox) of a stream named by non-negative integers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def draw_hands(hands: int, episodes: int, seed: int, update: int) -> np.ndarray:
    """Indices of the hands of an update (from 1), [episodes].

    All hands are shuffled and dealt to the end, then shuffled anew, across updates.
    """
    places = np.arange((update - 1) * episodes, update * episodes)
    rounds, within = np.divmod(places, hands)
    shuffled = {r: generator(seed, HANDS, r).permutation(hands) for r in np.unique(rounds).tolist()}
    return np.array([shuffled[r][i] for r, i in zip(rounds.tolist(), within, strict=True)])


def draw_noise(
    settings: PPOSettings, shape: tuple[int, int], seed: int, update: int
) -> list[Tensor]:
    """Numbers in [0, 1) that decide the sampling of each try, [episodes, longest reply] each.

    Every process draws those of all episodes, so that sharing them out changes nothing.
    """
    streams = (generator(seed, SAMPLING, update, number) for number in range(settings.tries))
    return [torch.from_numpy(stream.random(shape)) for stream in streams]


def share(rows: Tensor, processes: int, rank: int) -> tuple[Tensor, Tensor]:
    """Split `rows` evenly over processes, so that all run the same number of forwards.

    Returns:
        The rows of process `rank`, and which of them are real: the last row is repeated to fill up.
    """
    each = math.ceil(len(rows) / processes)
    places = torch.arange(rank * each, (rank + 1) * each, device=rows.device)
    return rows[places.clamp_max(len(rows) - 1)], places < len(rows)


# --------------------------------------------------------------------------------------
# Networks


class ActorCritic(nn.Module):
    """Policy and value head in one module, so that one wrapper averages every gradient.

    Dropout stays off, in training too: rollout and update must see the same policy.
    """

    def __init__(self, policy: PreTrainedModel, settings: PPOSettings, seed: int) -> None:
        super().__init__()
        self.temperature = settings.temperature
        self.policy = policy
        if settings.gradient_checkpointing:
            policy.gradient_checkpointing_enable({"use_reentrant": False})
        freeze(policy, embeddings=settings.freeze_embeddings)
        separate = settings.value_model == "separate"
        self.critic = copy.deepcopy(policy.base_model) if separate else None
        width = int(policy.config.get_text_config().hidden_size)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.value_head = nn.Sequential(
                nn.Linear(width, width // 4),
                nn.ReLU(),
                nn.Linear(width // 4, width // 8),
                nn.ReLU(),
                nn.Linear(width // 8, 1),
            )
        self.eval()

    def shard(self) -> None:
        """Keep only this process's pieces of the networks, each of them gathered on its own."""
        for network in (self.policy, self.critic, self.value_head):
            if network is not None:
                sharding.shard(network)

    def forward(self, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate what was sampled.

        Returns:
            Log-probabilities of the sampled tokens and entropies of their distributions, both
            [N, T] and 0 elsewhere; values before the actions, [N, A], 0 outside the mask.
        """
        with _checkpointing(self, torch.is_grad_enabled()):
            log_probs, entropy, hidden = evaluate_replies(self.policy, rollouts, self.temperature)
            if self.critic is not None:
                inputs = rollouts.tokens[:, :-1]
                hidden = self.critic(input_ids=inputs, use_cache=False).last_hidden_state
        rows = torch.arange(len(hidden), device=hidden.device).unsqueeze(1)
        values = self.value_head(hidden[rows, rollouts.states]).squeeze(-1)
        return log_probs, entropy, values.float() * rollouts.mask


def evaluate_replies(
    policy: PreTrainedModel, rollouts: Rollouts, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities and entropies as `ActorCritic` returns them, and last hidden states.

    The hidden states [N, T - 1, H] are 0 in a beginning that all episodes share.

    No attention mask is needed: padding stands on the right, where causal attention never looks.
    """
    replied = rollouts.actions >= 0
    places = replied.any(dim=0).nonzero().squeeze(1)  # where some episode has a reply
    inputs = rollouts.tokens[:, :-1]  # the state before a token predicts it; after the last, none
    skipped, cache = _shared_prefix(policy, inputs[:, : places[0] - 1])
    output = policy(
        input_ids=inputs[:, skipped:],
        past_key_values=cache,
        use_cache=cache is not None,
        logits_to_keep=places - 1 - skipped,
        output_hidden_states=True,
    )
    log_probs, entropy = (
        torch.zeros_like(rollouts.weights).index_copy(1, places, found) * replied
        for found in ppo_math.sampled_log_probs(
            output.logits, rollouts.tokens[:, places], temperature
        )
    )
    hidden = nn.functional.pad(output.hidden_states[-1], (0, 0, skipped, 0))
    return log_probs, entropy, hidden


def _shared_prefix(policy: PreTrainedModel, inputs: Tensor) -> tuple[int, Cache | None]:
    """Compute once what all rows of `inputs` begin with; gradients pass through the cache.

    Prompts of a task differ late, so this saves a good part of the forward and backward pass.

    Returns:
        Length of the beginning and its cache for all rows; 0 and None where there is none to share.
    """
    length = int((inputs == inputs[:1]).all(dim=0).cumprod(dim=0).sum())
    recomputing = any(
        part.training for part in policy.modules() if isinstance(part, GradientCheckpointingLayer)
    )  # which excludes a cache
    # All processes must run a sharded model equally often, and another may have nothing to share.
    if length == 0 or len(inputs) == 1 or recomputing or sharding.is_sharded(policy):
        return 0, None
    output = policy(input_ids=inputs[:1, :length], use_cache=True, logits_to_keep=1)
    cache = output.get("past_key_values")
    # Only full attention can go on from a cache without regard to what kind of layer it is.
    if cache is None or not all(type(layer) is DynamicLayer for layer in cache.layers):
        return 0, None
    cache.batch_repeat_interleave(len(inputs))
    return length, cache


@contextmanager
def _checkpointing(module: nn.Module, active: bool) -> Iterator[None]:
    """Let layers recompute their activations; only their own mode counts, dropout keeps its own."""
    layers = [part for part in module.modules() if isinstance(part, GradientCheckpointingLayer)]
    for layer in layers:
        layer.training = active
    yield
    for layer in layers:
        layer.training = False


# --------------------------------------------------------------------------------------
# Evaluation and gradients, in parts that bound memory


class Behaviour(NamedTuple):
    """What the policy that played says about all episodes; 0 where nothing was sampled.

    Attributes:
        log_probs: [N, T] of each sampled token.
        start_log_probs: [N, T] of the same under the model that training started from.
        entropy: [N, T] of the distribution of each sampled token.
        action_log_probs: [N, A].
        values: [N, A] before each action.
    """

    log_probs: Tensor
    start_log_probs: Tensor
    entropy: Tensor
    action_log_probs: Tensor
    values: Tensor


@torch.no_grad()
def evaluate(
    model: nn.Module,
    reference: PreTrainedModel,
    rollouts: Rollouts,
    settings: PPOSettings,
    accelerator: Accelerator,
) -> Behaviour:
    """Evaluate all episodes, each on one process, and gather the results on every process."""
    everything = torch.arange(len(rollouts.tokens), device=accelerator.device)
    mine, _ = share(everything, accelerator.num_processes, accelerator.process_index)
    width, actions = rollouts.tokens.shape[1], rollouts.mask.shape[1]
    parts = []
    for rows in mine.split(settings.micro_batch_size):
        batch = rollouts.select(rows)
        log_probs, entropy, values = model(batch)
        with accelerator.autocast():
            start_log_probs, _, _ = evaluate_replies(reference, batch, settings.temperature)
        action_log_probs = ppo_math.sum_by_action(
            log_probs * batch.weights, batch.actions, batch.mask.shape[1]
        )
        by_token = [_widen(found, width) for found in (log_probs, start_log_probs, entropy)]
        by_action = [_widen(found, actions) for found in (action_log_probs, values)]
        parts.append(by_token + by_action)
    columns = (torch.cat(column) for column in zip(*parts, strict=True))
    return Behaviour(*(accelerator.gather(column)[: len(everything)] for column in columns))


def _widen(found: Tensor, width: int) -> Tensor:
    return nn.functional.pad(found, (0, width - found.shape[1]))


def accumulate_gradients(
    model: nn.Module,
    rollouts: Rollouts,
    behaviour: Behaviour,
    advantages: Tensor,
    returns: Tensor,
    rows: Tensor,
    settings: PPOSettings,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Add the gradient of the loss of one minibatch, all processes together.

    The loss is a mean over the minibatch's actions (its reply tokens, for entropy and KL),
    wherever they are computed: neither the micro-batches nor the processes change it.

    Args:
        model: an `ActorCritic`, wrapped by Accelerate.
        rollouts: all episodes.
        behaviour: the policy that played them.
        advantages: [N, A], normalised.
        returns: [N, A].
        rows: the minibatch, as rows of all these.
        settings: coefficients and clips.
        accelerator: that wrapped the model.

    Returns:
        `policy_loss`, `value_loss`, `ratio_mean`, `clip_share` and `ratio_max` of the minibatch.
    """
    processes = accelerator.num_processes
    actions = rollouts.mask[rows].sum()
    tokens = (rollouts.actions[rows] >= 0).sum()
    mine, real = share(rows, processes, accelerator.process_index)
    micro_batches = list(
        zip(
            mine.split(settings.micro_batch_size),
            real.split(settings.micro_batch_size),
            strict=True,
        )
    )
    sums, ratio_max = torch.zeros(4, device=rows.device), torch.zeros(1, device=rows.device)
    for number, (part, counts) in enumerate(micro_batches, start=1):
        batch = rollouts.select(part)
        width, count = batch.tokens.shape[1], batch.mask.shape[1]
        mask = batch.mask & counts.unsqueeze(1)
        replied = (batch.actions >= 0) & counts.unsqueeze(1)
        # Processes exchange gradients once, with the last micro-batch; of sharded models with each,
        # lest every process add up gradients of all weights.
        exchange = number == len(micro_batches) or sharding.is_sharded(model)
        with nullcontext() if exchange else accelerator.no_sync(model):
            log_probs, entropy, values = model(batch)
            action_log_probs = ppo_math.sum_by_action(
                log_probs * batch.weights, batch.actions, count
            )
            ratios = (action_log_probs - behaviour.action_log_probs[part, :count]).exp()
            policy_loss = ppo_math.policy_losses(
                ratios, advantages[part, :count], settings.clip, settings.only_clipped_above
            )
            value_loss = ppo_math.value_losses(
                values, behaviour.values[part, :count], returns[part, :count], settings.value_clip
            )
            kl = ppo_math.k3(log_probs, behaviour.start_log_probs[part, :width])
            per_action = policy_loss + settings.value_coefficient * value_loss
            per_token = settings.kl_coefficient * kl - settings.entropy_coefficient * entropy
            loss = per_action[mask].sum() / actions + per_token[replied].sum() / tokens
            # Gradients are averaged over processes, and are to be summed.
            accelerator.backward(loss * processes)
        with torch.no_grad():
            held = ratios[mask]
            clipped = ((held - 1).abs() > settings.clip).float()
            quantities = (policy_loss[mask], value_loss[mask], held, clipped)
            sums += torch.stack([quantity.sum() for quantity in quantities]) / actions
            ratio_max = torch.maximum(ratio_max, (ratios * mask).max())
    every = accelerator.gather(torch.cat([sums, ratio_max]).unsqueeze(0))
    names = ("policy_loss", "value_loss", "ratio_mean", "clip_share", "ratio_max")
    found = torch.cat([every[:, :4].sum(dim=0), every[:, 4:].amax(dim=0)])
    return dict(zip(names, found.tolist(), strict=True))


# --------------------------------------------------------------------------------------
# Log


def outcomes(episodes: Sequence[Episode], tries: int) -> dict[str, float]:
    """Mean reward of an episode (sum over tries), and shares solved by each try."""
    return {
        "reward_mean": sum(sum(episode.rewards) for episode in episodes) / len(episodes),
        **{
            f"solved_by_try_{number}": sum(
                episode.solved and len(episode.rewards) <= number for episode in episodes
            )
            / len(episodes)
            for number in range(1, tries + 1)
        },
    }


def _of_behaviour(behaviour: Behaviour, returns: Tensor, rollouts: Rollouts) -> dict[str, float]:
    replied, mask = rollouts.actions >= 0, rollouts.mask
    kl = ppo_math.k3(behaviour.log_probs, behaviour.start_log_probs)
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


# --------------------------------------------------------------------------------------
# Snapshots: a file with weights and moments for each parameter, all else as JSON


def save_snapshot(
    work: Path,
    key: str,
    update: int,
    parameters: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    tables: Rows,
) -> None:
    """Keep the state after `update` in `work`, complete or not at all, in place of older ones.

    To be called by every process; the first one writes. It holds one whole parameter at a time.
    """
    main = PartialState().is_main_process
    partial = work / ".snapshot.partial"
    if main:
        shutil.rmtree(partial, ignore_errors=True)  # left over from a run that was killed
        partial.mkdir(parents=True)
    for number, parameter in enumerate(parameters):
        held = {"weight": parameter.detach(), **optimizer.state[parameter]}
        tensors = {name: sharding.gathered(tensor).contiguous() for name, tensor in held.items()}
        if main:
            safetensors.torch.save_file(tensors, _file(partial, number))
    if not main:
        return
    state = {"key": key, "update": update, "tables": tables}
    (partial / "state.json").write_text(json.dumps(state), encoding="utf-8")
    older = list(work.glob("snapshot-*"))
    folder = work / f"snapshot-{update}"
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    for other in older:
        if other != folder:
            shutil.rmtree(other)


def load_snapshot(
    work: Path, key: str, parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer
) -> tuple[int, Rows]:
    """Restore the last snapshot in `work` that has this key, whatever the processes that left it.

    Returns:
        The number of updates done and the rows of the tables; 0 and none without a snapshot.
    """
    states = {
        folder: json.loads((folder / "state.json").read_text(encoding="utf-8"))
        for folder in work.glob("snapshot-*")
    }
    own = {folder: state for folder, state in states.items() if state["key"] == key}
    if not own:
        return 0, {"metrics": [], "advantages": [], "timing": []}
    folder = max(own, key=lambda found: int(own[found]["update"]))
    moments: dict[int, dict[str, Tensor]] = {}
    for number, parameter in enumerate(parameters):
        held = safetensors.torch.load_file(_file(folder, number))
        pieces = {
            name: sharding.piece(tensor, parameter) if tensor.ndim else tensor  # the count of steps
            for name, tensor in held.items()
        }
        with torch.no_grad():
            parameter.copy_(pieces.pop("weight"))
        moments[number] = pieces
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return own[folder]["update"], own[folder]["tables"]


def _file(snapshot: Path, parameter: int) -> Path:
    return snapshot / f"parameter-{parameter}.safetensors"
