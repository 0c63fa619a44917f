"""What a command will work on, and about how long: told before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from svdrift.cli.text import duration
from svdrift.spectra.decomposition import decompose
from svdrift.spectra.matrices import Matrix

TRIAL = 256  # rank of the matrix by which this machine's speed is measured: some 30 ms
OVERHEAD = 2.0  # of a draw over a decomposition: drawing, angles, energies (SmolLM2-135M)


def expectation(matrices: Sequence[Matrix], count: int, device: str) -> str:
    """One line: how many matrices, how many numbers they hold, and about how long they take.

    Args:
        matrices: those that are decomposed.
        count: decompositions of each.
        device: where.
    """
    numbers = sum(matrix.shape[0] * matrix.shape[1] for matrix in matrices)
    rows, columns = max((matrix.shape for matrix in matrices), key=lambda s: s[0] * s[1])
    seconds = OVERHEAD * count * _pace(device) * sum(map(_work, matrices))
    return (
        f"{len(matrices)} matrices of up to {rows} × {columns}, {numbers / 1e6:,.1f} million "
        f"weights, {count} decompositions of each: about {duration([max(1.0, seconds)])} "
        f"with {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
        f"{'' if device == 'cpu' else f' and {device}'}, if the machine is idle"
    )


def _work(matrix: Matrix) -> float:
    """A decomposition's time is proportional to it: larger side times the square of the smaller."""
    return float(max(matrix.shape)) * matrix.rank**2


def _pace(device: str) -> float:
    """Seconds a unit of `_work` takes on this machine; the second of two trials counts."""
    trial = torch.randn(TRIAL, TRIAL, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        begun = time.perf_counter()
        decompose(trial, device)
        seconds = time.perf_counter() - begun
    return seconds / TRIAL**3
