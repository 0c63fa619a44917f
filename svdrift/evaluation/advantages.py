"""What group-relative RL would learn from sampled replies: advantages, before any training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from svdrift.evaluation.accuracy import Floats

GROUP = 8  # replies of a group: the default of GRPO
BINS, REACH = 32, 3.0  # of the histogram, in standard deviations


def grouped(rewards: Sequence[float], size: int = GROUP) -> Floats:
    """Rewards of a problem's samples in groups of `size` in a row; a rest is left out.

    Returns:
        Shape (groups, size).
    """
    values = np.asarray(rewards, dtype=float)
    return values[: len(values) // size * size].reshape(-1, size)


def flat_share(rewards: pd.Series, size: int = GROUP) -> pd.Series[float]:
    """The share of groups whose rewards are all alike, by problem."""

    def one(values: Sequence[float]) -> float:
        groups = grouped(values, size)
        return float((groups == groups[:, :1]).all(axis=1).mean())

    return rewards.map(one)


def advantages(rewards: Iterable[Sequence[float]], size: int = GROUP) -> Floats:
    """Each reply's reward minus the mean of its group, of all problems together."""
    groups = np.concatenate([grouped(of_problem, size) for of_problem in rewards])
    relative: Floats = (groups - groups.mean(axis=1, keepdims=True)).ravel()
    return relative


def advantage_entropy(rewards: Iterable[Sequence[float]], size: int = GROUP) -> float:
    """Entropy (bits) of the histogram of advantages, in units of their standard deviation.

    32 bins on [-3, 3]; what lies beyond counts in the outermost ones. It is 0 where all groups are
    flat and at most 5. arXiv 2509.12235 shows such distributions, and notes about it give a
    threshold of 2.55 without a definition, so only the order of checkpoints can be compared.
    """
    found = advantages(rewards, size)
    spread = found.std()
    if spread == 0:
        return 0.0
    scaled = np.clip(found / spread, -REACH, REACH)
    counts, _ = np.histogram(scaled, bins=BINS, range=(-REACH, REACH))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0
