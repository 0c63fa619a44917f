"""What a command will work on, and about how long: told before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from svdrift.cli.text import duration
from svdrift.models.arguments import DTYPES
from svdrift.spectra.decomposition import decompose
from svdrift.spectra.matrices import Matrix

if TYPE_CHECKING:
    from svdrift.api.evaluating import Amount

TRIAL = 256  # rank of the matrix by which this machine's speed is measured: some 30 ms
OVERHEAD = 2.0  # of a repair over a decomposition

# Of a comparison, in the same unit, measured on SmolLM2-135M: products and the whole decomposition
# of the matrix before, and the leading directions of the matrix after or of a draw.
PRODUCTS, DECOMPOSITION, DRAW = 0.25, 1.0, 0.4

# Of a check, in the same unit, measured on matrices of its shapes: a weight that is read, and
# singular values alone (reduction to a square, and the square).
READ, REDUCTION, VALUES = 0.5, 0.13, 0.18

# Of an evaluation, measured on the shape of SmolLM2-135M: what a token takes over the products of
# large matrices alone. Writing long replies in small batches takes up to twice that.
TOKEN = 1.3
PRODUCT = 512, 1024  # rows, and rows and columns of the factor: some 30 ms

Shape = tuple[int, int]


def expectation(matrices: Sequence[Matrix], count: int, device: str) -> str:
    """One line: how many matrices, how many numbers they hold, and about how long they take.

    Args:
        matrices: those that are decomposed.
        count: decompositions of each.
        device: where.
    """
    work = OVERHEAD * count * sum(max(matrix.shape) * matrix.rank**2 for matrix in matrices)
    return _line(_shapes(matrices), f"{count} decompositions of each", work, 1, device)


def choice_expected(
    matrices: Sequence[Matrix], tried: int, weights: int, tokens: int, device: str
) -> str:
    """The same of a repair that is chosen by the loss of a text.

    Args:
        matrices: those that are repaired, of one model.
        tried: number of repairs.
        weights: of the model that multiply each token.
        tokens: of the text, all readings of it together.
        device: where.
    """
    unit = sum(max(matrix.shape) * matrix.rank**2 for matrix in matrices)
    reading = TOKEN * weights * tokens * _pace_of_products("float32", device)
    what = f"2 decompositions of each and {tried} repairs tried, {tokens:,} tokens of text in all"
    return _line(
        _shapes(matrices), what, (2 * OVERHEAD + PRODUCTS * tried) * unit, 1, device, reading
    )


def comparison_expected(
    matrices: Sequence[Matrix], draws: int, nulls: int, processes: int, device: str
) -> str:
    """The same of a comparison of two checkpoints.

    Args:
        matrices: those that are compared.
        draws: of each noise.
        nulls: how many noises there are.
        processes: that work side by side.
        device: where.
    """
    work = sum(
        PRODUCTS * max(matrix.shape) * matrix.rank**2
        + (DECOMPOSITION + DRAW * draws * nulls) * matrix.rank**3
        for matrix in matrices
    )
    noises = f"{draws} draws of each of {nulls} noises" if nulls > 1 else f"{draws} draws of noise"
    return _line(_shapes(matrices), noises, work, processes, device)


def checking_expected(tensors: Sequence[tuple[int, ...]], spectrum: bool) -> str:
    """The same of a check.

    Args:
        tensors: shapes of all tensors of the model; only matrices count.
        spectrum: whether their singular values are computed.
    """
    shapes = [(shape[0], shape[1]) for shape in tensors if len(shape) == 2]
    work = READ * sum(rows * columns for rows, columns in shapes)
    if spectrum:
        work += sum(
            REDUCTION * max(shape) * min(shape) ** 2 + VALUES * min(shape) ** 3 for shape in shapes
        )
    return _line(shapes, "singular values of each" if spectrum else "read once", work, 1, "cpu")


def evaluation_expected(amount: Amount, dtype: str, device: str) -> str:
    """One line: how many models, how large, what they read and write, and about how long it takes.

    Args:
        amount: of all that is read and written.
        dtype, device: in which and where models compute.
    """
    tokens = amount.read + amount.written
    seconds = TOKEN * sum(amount.weights) * tokens * _pace_of_products(dtype, device)
    what = f"{amount.read:,} tokens of text"
    if amount.problems:
        what = (
            f"{amount.problems:,} problems, {amount.read:,} tokens of prompts and up to "
            f"{amount.written:,} of replies"
        )
    several = "s" if len(amount.weights) > 1 else ""
    return (
        f"{len(amount.weights)} model{several} of up to {max(amount.weights) / 1e6:,.1f} million "
        f"weights, {what}{' each' * bool(several)}: {_about(seconds)} {_with(1, device)}"
    )


def _shapes(matrices: Sequence[Matrix]) -> list[Shape]:
    return [matrix.shape for matrix in matrices]


def _line(
    shapes: Sequence[Shape],
    what: str,
    work: float,
    processes: int,
    device: str,
    further: float = 0.0,
) -> str:
    """`work` is in units of a decomposition, `further` in seconds."""
    numbers = sum(rows * columns for rows, columns in shapes)
    rows, columns = max(shapes, key=lambda shape: shape[0] * shape[1], default=(0, 0))
    seconds = work * _pace(device) / processes + further
    return (
        f"{len(shapes)} matrices of up to {rows} × {columns}, {numbers / 1e6:,.1f} million "
        f"weights, {what}: {_about(seconds)} {_with(processes, device)}"
    )


def _about(seconds: float) -> str:
    return f"about {duration([max(1.0, seconds)])}"


def _with(processes: int, device: str) -> str:
    threads = torch.get_num_threads()
    cores = f"{threads} thread{'s' * (threads > 1)}" if processes == 1 else f"{processes} processes"
    return f"with {cores}{'' if device == 'cpu' else f' and {device}'}, if the machine is idle"


def _pace_of_products(dtype: str, device: str) -> float:
    """Seconds of a multiplication within a matrix product; the fastest of four trials counts."""
    rows, size = PRODUCT
    left, right = (torch.ones(n, size, dtype=DTYPES[dtype], device=device) for n in (rows, size))
    trials = []
    for _ in range(4):
        begun = time.perf_counter()
        (left @ right).sum().item()  # which waits for a GPU
        trials.append(time.perf_counter() - begun)
    return min(trials) / (rows * size * size)


def _pace(device: str) -> float:
    """Seconds that r³ of a decomposition takes on this machine; the second of two trials counts."""
    trial = torch.randn(TRIAL, TRIAL, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        begun = time.perf_counter()
        decompose(trial, device)
        seconds = time.perf_counter() - begun
    return seconds / TRIAL**3
