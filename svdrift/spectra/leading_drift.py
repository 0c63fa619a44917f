"""What turned between two checkpoints and what noise turns: only what `svdrift compare` tells.

A study measures more, in `svdrift.spectra.drift`, from whole decompositions of every draw.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from svdrift.models.finite import require_finite
from svdrift.spectra.angles import angles_from_cosines, rank_count
from svdrift.spectra.decomposition import Decomposed, require_same_matrices
from svdrift.spectra.drift import Drift
from svdrift.spectra.leading import (
    Basis,
    Turned,
    Update,
    basis,
    beside,
    draw,
    in_basis,
    seen,
    turned,
)
from svdrift.spectra.matrices import Key, Matrix
from svdrift.spectra.nulls import generator, random_basis
from svdrift.spectra.on_demand import FactorsOnDemand
from svdrift.spectra.regions import Region, Values, check, check_nulls, compared, place_of
from svdrift.spectra.tables import with_nullable_layer

SMALL = 2**22  # entries up to which matrices are worked on side by side, each in some 100 MB
CANCELS = 0.25  # of the energy of the matrix before, above which the later one is decomposed, too
WORTH = 1e9  # rank³ of all matrices together, some seconds, from which on processes are forked


class Found(NamedTuple):
    """What was measured on one matrix."""

    before: Tensor  # singular values, falling, (r,), float32
    after: Tensor
    observed: dict[Region, float]
    nulls: dict[str, Values]


def leading_drift(
    anchor: Decomposed,
    target: Decomposed,
    *,
    share: float,
    nulls: Sequence[str],
    draws: int,
    seed: int,
    device: torch.device | str = "cpu",
    processes: int = 1,
    on_done: Callable[[str], None] = lambda name: None,
) -> Drift:
    """Measure what moved from anchor to target, beside nulls.

    Of the measures of `svdrift.spectra.drift.drift_tables` these: `mean_angle` between the top k
    directions, `value_change`, `update_norm`, `energy_top` (both sides) and `energy_off_diagonal`.
    Draws are others than there. A matrix has no angle where a singular value of its k directions
    is below `svdrift.spectra.leading.LEAST` of its largest. `gap` is empty. Both checkpoints
    remember the singular values.

    Args:
        anchor: the checkpoint before.
        target: the checkpoint after.
        share: k, as a share of the rank.
        nulls: names of `svdrift.spectra.nulls.NULLS`, `isotropic` among them.
        draws: of each null, at least 2.
        seed: of the nulls.
        device: where to compute.
        processes: that work side by side, each on one matrix; forked, so on Linux and the CPU.
        on_done: is given the name of each of the anchor's matrices when it is done.

    Raises:
        UserError: different architectures, impossible sizes or nulls, or a matrix holds NaN.
    """
    require_same_matrices(anchor, target)
    check([share], 1, draws)
    check_nulls(nulls)
    measure = partial(
        _measure, anchor, target, share=share, nulls=nulls, draws=draws, seed=seed, device=device
    )
    matrices = anchor.factors.matrices
    # By shape, since draws share what depends on it; the largest first, so that all end together.
    order = sorted(matrices, key=lambda key: (-math.prod(matrices[key].shape), matrices[key].shape))
    found: dict[Key, Found] = {}
    with _mapping(measure, processes) as mapped:
        for key, one in zip(order, mapped(order), strict=True):
            found[key] = one
            _remember(anchor, key, one.before)
            _remember(target, key, one.after)
            on_done(matrices[key].name)
    unrelated = {
        shape: _unrelated(shape, rank_count(share, min(shape)), draws, seed, device)
        for shape in {matrix.shape for matrix in matrices.values()}
    }
    rows, drawn = [], []
    for key, matrix in matrices.items():
        own = found[key].nulls
        beside = {"random": unrelated[matrix.shape], **own}
        rows += compared(matrix, found[key].observed, beside, lambda _: math.nan)
        drawn += [
            place_of(matrix, region)
            | {"draw": number}
            | {null: values[region][number] for null, values in own.items()}
            for region in next(iter(own.values()))
            for number in range(draws)
        ]
    return Drift(*(with_nullable_layer(pd.DataFrame(table)) for table in (rows, drawn)))


def _remember(checkpoint: Decomposed, key: Key, values: Tensor) -> None:
    if isinstance(checkpoint.factors, FactorsOnDemand):
        checkpoint.factors.remember(key, values)


def _measure(
    anchor: Decomposed,
    target: Decomposed,
    key: Key,
    *,
    share: float,
    nulls: Sequence[str],
    draws: int,
    seed: int,
    device: torch.device | str,
) -> Found:
    weight, later = (_read(checkpoint, key) for checkpoint in (anchor, target))
    update = later.double() - weight.double()
    k = rank_count(share, min(weight.shape))
    of = basis(weight, device)
    by = seen(update, of)
    # Where much of the matrix is taken away, products in float32 know too little of what is left.
    cancels = by.energy > CANCELS * of.S.square().sum().item() > 0
    after = beside(of, basis(later, device), k) if cancels else turned(of, by, k)
    found: dict[str, Values] = {}
    for null in nulls:
        for number in range(draws):
            if by.energy:
                drawn = draw(null, update, by, of, seed, key, number)
                values = _numbers(of, drawn, turned(of, drawn, k), k)
            else:  # frozen: no change of this size is no change
                values = _numbers(of, by, after, k)
            for region, value in values.items():
                found.setdefault(null, {}).setdefault(region, []).append(value)
    old, new = (values.to("cpu", torch.float32) for values in (of.S, after.values))
    return Found(old, new, _numbers(of, by, after, k), found)


def _read(checkpoint: Decomposed, key: Key) -> Tensor:
    weight = checkpoint.weight(key)
    name = checkpoint.factors.matrices[key].name
    require_finite(checkpoint.weights.folder, [(name, weight)])
    return weight


def _numbers(of: Basis, by: Update, after: Turned, k: int) -> dict[Region, float]:
    """The measures of one update, observed or drawn."""
    rank, whole = len(of.S), of.S.norm().item()
    sides = (after.right, after.left) if of.wide else (after.left, after.right)
    energies = [math.nan, math.nan]
    if by.energy and whole:
        core = in_basis(of, by).square()
        top, off = core[:k, :k].sum(), core.sum() - core.diagonal().sum()
        energies = [top.item() / by.energy, off.item() / by.energy]
    change = (after.values - of.S).norm().item()
    size = math.sqrt(by.energy)
    return {
        Region("value_change", "both", "all", 0, rank): change / whole if whole else math.nan,
        **{
            Region("mean_angle", side, "top", 0, k): angle
            for side, angle in zip(("left", "right"), sides, strict=True)
        },
        Region("energy_off_diagonal", "both", "all", 0, rank): energies[1],
        Region("energy_top", "both", "top", 0, k): energies[0],
        Region("update_norm", "both", "all", 0, rank): size / whole
        if whole
        else (math.inf if size else math.nan),
    }


def _unrelated(
    shape: tuple[int, int], k: int, draws: int, seed: int, device: torch.device | str
) -> Values:
    """Mean principal angles between the top k of unrelated matrices, in degrees."""
    found: Values = {}
    for side, length in zip(("left", "right"), shape, strict=True):
        rngs = [generator(seed, "unrelated", side, shape, number) for number in range(draws)]
        found[Region("mean_angle", side, "top", 0, k)] = [
            float(angles_from_cosines(random_basis(length, k, rng, device)[:k]).mean().rad2deg())
            for rng in rngs
        ]
    return found


# --------------------------------------------------------------------------------------
# Side by side

Mapped = Callable[[Sequence[Key]], Iterator[Found]]


def side_by_side(matrices: Sequence[Matrix], most: int, device: str) -> int:
    """How many processes work on matrices: `most` of them, if that is possible and little memory.

    A process is forked, which CUDA does not survive, and which only Linux does safely.
    """
    largest = max(math.prod(matrix.shape) for matrix in matrices)
    forks = "fork" in multiprocessing.get_all_start_methods() and device == "cpu"
    worth = sum(matrix.rank**3 for matrix in matrices) >= WORTH and largest <= SMALL
    return min(most, len(matrices)) if forks and worth else 1


@contextmanager
def _mapping(measure: Callable[[Key], Found], processes: int) -> Iterator[Mapped]:
    """A `map` of this function over keys, by this process or by several."""
    if processes == 1:
        yield partial(map, measure)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(measure,)
    ) as pool:
        try:
            yield partial(pool.map, _in_worker)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_measured: Callable[[Key], Found]


def _begin(measure: Callable[[Key], Found]) -> None:
    """Make a forked process ready: it has the function by the fork, and leaves Ctrl-C to us."""
    global _measured
    _measured = measure
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _in_worker(key: Key) -> Found:
    return _measured(key)
