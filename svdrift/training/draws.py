"""What RL draws at random: by (seed, update), never from a running state.

A run that was cut off, or that is spread over another number of processes, draws the same.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

# Every kind of draw has its own stream of numbers.
PROBLEMS, SAMPLING, MINIBATCHES, REWARDS, EPISODES, PREFIXES = range(6)


def generator(*entropy: int) -> np.random.Generator:
    """Counter-based random numbers (Philox) of a stream named by non-negative integers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def draw_problems(problems: int, episodes: int, seed: int, update: int) -> np.ndarray:
    """Indices of the problems of an update (from 1), [episodes].

    All problems are shuffled and drawn to the end, then shuffled anew, across updates.
    """
    places = np.arange((update - 1) * episodes, update * episodes)
    rounds, within = np.divmod(places, problems)
    shuffled = {
        r: generator(seed, PROBLEMS, r).permutation(problems) for r in np.unique(rounds).tolist()
    }
    return np.array([shuffled[r][i] for r, i in zip(rounds.tolist(), within, strict=True)])


def draw_noise(tries: int, shape: tuple[int, int], seed: int, update: int) -> list[Tensor]:
    """Numbers in [0, 1) that decide the sampling of each try, [episodes, longest reply] each.

    Every process draws those of all episodes, so that the number of processes changes nothing.
    """
    streams = (generator(seed, SAMPLING, update, number) for number in range(tries))
    return [torch.from_numpy(stream.random(shape)) for stream in streams]


def share(rows: Tensor, processes: int, rank: int) -> tuple[Tensor, Tensor]:
    """Split `rows` evenly over processes, so that all run the same number of forwards.

    Returns:
        The rows of process `rank`, and which of them are real: the last row is repeated to fill up.
    """
    each = math.ceil(len(rows) / processes)
    places = torch.arange(rank * each, (rank + 1) * each, device=rows.device)
    return rows[places.clamp_max(len(rows) - 1)], places < len(rows)
