"""Which of an update's episodes train, as pure functions of their rewards.

Shuffle-R1 (arXiv 2508.05612) pairs the best episode of a group with its worst, the second best with
the second worst and so on, trains on the first pairs of each group, and draws these in proportion
to their advantages. Its controls draw as many episodes at random, or from groups whose rewards
differ, or take those with the largest advantages, paired or not.

N counts the episodes of an update over all processes; those of a group are neighbours. What is
drawn depends on rewards, seed and update alone, so every process draws the same.
"""

from __future__ import annotations

import numpy as np

from svdrift.training.draws import EPISODES, generator
from svdrift.training.grpo.settings import SamplerSettings

SMALL = 0.1  # an advantage below it, in either direction, hardly trains


def advantages(rewards: np.ndarray, group_size: int) -> np.ndarray:
    """Rewards relative to their group's mean, in its standard deviations, as TRL computes them.

    Args:
        rewards: [N], finite.
        group_size: G, which divides N.

    Returns:
        [N]; exactly 0 in a group whose rewards are equal.
    """
    groups = rewards.reshape(-1, group_size)
    scaled = (groups - groups.mean(axis=1, keepdims=True)) / (
        groups.std(axis=1, ddof=1, keepdims=True) + 1e-4
    )
    return np.where(_mixed(groups), scaled, 0.0).reshape(-1)


def best_with_worst(rewards: np.ndarray, group_size: int, kept: int) -> np.ndarray:
    """The first `kept` pairs of each group: best and worst, second best and second worst, ...

    Returns:
        [N / G * kept, 2] places of episodes, the better one first; of equal ones the earlier one.
    """
    groups = rewards.reshape(-1, group_size)
    order = np.argsort(-groups, axis=1, kind="stable")
    order += np.arange(0, len(rewards), group_size)[:, None]
    return np.stack([order[:, :kept], order[:, ::-1][:, :kept]], axis=2).reshape(-1, 2)


def weighted_rounds(weights: np.ndarray, rounds: int, random: np.random.Generator) -> np.ndarray:
    """Draw as many places as there are, in rounds of equal size.

    Within a round none is drawn twice; of those with weight, a larger one is likelier. Where fewer
    have weight than a round takes, all of them are drawn and the others fill it up, uniformly:
    their advantages are 0, so they add nothing to the gradient.

    Args:
        weights: [P], not negative.
        rounds: S, which divides P.
        random: decides.

    Returns:
        [P] places, round after round.
    """
    size = len(weights) // rounds
    some, none = np.flatnonzero(weights > 0), np.flatnonzero(weights == 0)
    likely = weights[some] / weights[some].sum() if len(some) else None
    drawn = []
    for _ in range(rounds):
        first = random.choice(some, min(size, len(some)), replace=False, p=likely)
        drawn += [first, random.choice(none, size - len(first), replace=False)]
    return np.concatenate(drawn)


def draw_episodes(
    rewards: np.ndarray, group_size: int, settings: SamplerSettings, seed: int, update: int
) -> np.ndarray:
    """Draw the episodes that train.

    Args:
        rewards: [N], finite.
        group_size: G, which divides N.
        settings: what is drawn, and how many.
        seed, update: decide, with the rewards.

    Returns:
        [settings.count] places in the order in which minibatches take them; the two of a pair are
        neighbours.
    """
    random = generator(seed, EPISODES, update)
    if settings.select == "random":
        return random.permutation(len(rewards))[: settings.count]
    if settings.select == "mixed_groups":
        mixed = np.repeat(_mixed(rewards.reshape(-1, group_size)), group_size)
        places = np.flatnonzero(mixed if mixed.any() else ~mixed)
        passes = -(-settings.count // len(places))  # all of them before any comes again
        return np.concatenate([random.permutation(places) for _ in range(passes)])[: settings.count]
    if settings.select == "top":
        sizes = np.abs(advantages(rewards, group_size))
        largest = np.argsort(-sizes, kind="stable")[: settings.count]  # of equal ones the first
        return random.permutation(largest)
    groups = len(rewards) // group_size
    pairs = best_with_worst(rewards, group_size, settings.count // (2 * groups))
    if settings.rounds is None:
        order = random.permutation(len(pairs))
    else:
        weights = np.abs(advantages(rewards, group_size))[pairs].sum(axis=1)
        order = weighted_rounds(weights, settings.rounds, random)
    return pairs[order].reshape(-1)


def measures(places: np.ndarray, rewards: np.ndarray, group_size: int) -> dict[str, float]:
    """What was drawn, in numbers.

    Returns:
        `distinct_episodes` that train, `most_repeats` of one of them, and
        `small_advantage_share`, of all N episodes: those with an advantage below SMALL.
    """
    _, counts = np.unique(places, return_counts=True)
    small = np.abs(advantages(rewards, group_size)) < SMALL
    return {
        "distinct_episodes": float(len(counts)),
        "most_repeats": float(counts.max()),
        "small_advantage_share": float(small.mean()),
    }


def _mixed(groups: np.ndarray) -> np.ndarray:
    """[N / G, 1] whether the rewards of a group [N / G, G] differ."""
    mixed: np.ndarray = groups.max(axis=1, keepdims=True) > groups.min(axis=1, keepdims=True)
    return mixed
