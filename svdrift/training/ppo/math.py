"""The mathematics of PPO, as pure functions of tensors.

An *action* is a whole reply or a single token, whichever the settings say. N counts episodes,
T tokens of the padded episodes, A actions of an episode at most; `mask` [N, A] is true where an
action exists, which is a prefix of each row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sum_by_action(values: Tensor, actions: Tensor, count: int) -> Tensor:
    """Sum what belongs to tokens over the tokens of each action.

    Args:
        values: [N, T].
        actions: [N, T], the action that each token belongs to, or -1.
        count: number of actions A.

    Returns:
        [N, A].
    """
    bins = torch.where(actions < 0, count, actions)  # one bin more, for tokens of no action
    sums = values.new_zeros(len(values), count + 1).scatter_add(1, bins, values)
    return sums[:, :count]


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates of whole episodes (Schulman et al. 2016, equation 16).

    An episode ends after its last action, so nothing is bootstrapped.

    Args:
        rewards: [N, A], reward after each action.
        values: [N, A], value estimate before each action.
        mask: [N, A].
        gamma: discount per action.
        lam: lambda per action.

    Returns:
        Advantages and returns (advantage + value), each [N, A] and 0 outside the mask.
    """
    advantages = torch.zeros_like(rewards)
    next_advantage = next_value = torch.zeros_like(rewards[:, 0])
    for action in reversed(range(rewards.shape[1])):
        delta = rewards[:, action] + gamma * next_value - values[:, action]
        next_advantage = (delta + gamma * lam * next_advantage) * mask[:, action]
        next_value = values[:, action] * mask[:, action]
        advantages[:, action] = next_advantage
    return advantages, (advantages + values) * mask


def whiten(values: Tensor, mask: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Shift and scale what the mask holds to mean 0 and (population) variance 1; 0 elsewhere."""
    held = values[mask]
    return (values - held.mean()) / (held.std(correction=0) + epsilon) * mask


def policy_losses(
    ratios: Tensor, advantages: Tensor, clip: float, only_clipped_above: float | None = None
) -> Tensor:
    """PPO's clipped objective per action, negated (Schulman et al. 2017, equation 7).

    Args:
        ratios: probability of each action under the new policy over that under the old one.
        advantages: same shape.
        clip: ratios are clipped to 1 -+ this.
        only_clipped_above: where a ratio exceeds it, the clipped branch alone counts, whichever
            is smaller. It bounds the loss of an action that has become far more probable although
            it was bad.
    """
    clipped = ratios.clamp(1 - clip, 1 + clip) * advantages
    objective = torch.minimum(ratios * advantages, clipped)
    if only_clipped_above is not None:
        objective = torch.where(ratios > only_clipped_above, clipped, objective)
    return -objective


def value_losses(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Half the squared error of each value, the larger of unclipped and clipped (as in CleanRL).

    Args:
        values: new estimates; the other tensors have the same shape.
        old_values: estimates when the episodes were played.
        returns: what is to be estimated.
        clip: bound on the change of an estimate, in units of reward; None for no clipping.
    """
    errors = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        errors = torch.maximum(errors, (near - returns).square())
    return 0.5 * errors


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns): 1 is perfect, 0 a constant.

    NaN where returns do not vary, but for the rounding of float32.
    """
    values, returns = values.double(), returns.double()
    variance = returns.var(correction=0)
    if variance.sqrt() <= 1e-6 * returns.abs().max():
        return math.nan
    return float(1 - (returns - values).var(correction=0) / variance)


def cosine_learning_rate(update: int, updates: int, start: float, end: float | None) -> float:
    """Learning rate of an update (0-based): half a cosine from `start` to `end`; None: constant."""
    if end is None:
        return start
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * update / updates))


def histogram(values: Tensor, width: float) -> list[tuple[float, float, int]]:
    """Count `values` (one dimension, not empty) in bins of one width, one edge of which is 0.

    Returns:
        (low, high, count) of every bin from the lowest to the highest that holds a value.
    """
    bins = torch.floor(values.double() / width).long()
    lowest = int(bins.min())
    counts = torch.bincount(bins - lowest).tolist()
    return [
        ((lowest + i) * width, (lowest + i + 1) * width, count) for i, count in enumerate(counts)
    ]
