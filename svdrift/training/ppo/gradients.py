"""PPO's evaluation of episodes and the gradient of its loss, in parts that bound memory."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel

from svdrift.training import sharding
from svdrift.training.draws import share
from svdrift.training.likelihood import k3
from svdrift.training.policy import evaluate_replies
from svdrift.training.ppo import math as ppo_math
from svdrift.training.ppo.settings import Settings
from svdrift.training.rollout import Rollouts


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
    settings: Settings,
    accelerator: Accelerator,
) -> Behaviour:
    """Evaluate all episodes, each on one process, and gather the results on every process."""
    everything = torch.arange(len(rollouts.tokens), device=accelerator.device)
    mine, _ = share(everything, accelerator.num_processes, accelerator.process_index)
    width, actions = rollouts.tokens.shape[1], rollouts.mask.shape[1]
    order = rollouts.by_length(mine)
    parts = []
    for rows in mine[order].split(settings.micro_batch_size):
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
    columns = (torch.cat(column)[order.argsort()] for column in zip(*parts, strict=True))
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
    settings: Settings,
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
    order = rollouts.by_length(mine)
    micro_batches = list(
        zip(
            mine[order].split(settings.micro_batch_size),
            real[order].split(settings.micro_batch_size),
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
        # so that no process adds up gradients of all weights.
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
            kl = k3(log_probs, behaviour.start_log_probs[part, :width])
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
