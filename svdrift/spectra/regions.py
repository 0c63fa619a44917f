"""Regions of a spectrum and their rows: what tables of drift and of updates share.

Both have these columns, after those of `svdrift.spectra.tables.label`:

- `rows`, `columns`, `rank`: shape of the matrix and its full rank r;
- `measure`: what was measured, see the functions; `side`: `left` (U), `right` (V) or `both`;
- `region`: `top` or `bottom` (k directions from that end), `window` (of neighbouring ranks), `all`;
- `start`, `stop`: the region as shares of the rank, 0 at the largest singular value; `k`: its size;
- `gap`: singular value gap at the region's edges (the smaller one) over the spectral norm of the
  update. Below about 1 the update may mix vectors across the edge (Wedin 1972), so the subspace is
  ill-defined and only the comparison with the nulls means anything;
- `observed`; then for each null the mean of its draws, observed minus that, and the 95 % interval
  of this: `random`, `minus_random`, `minus_random_low`, `minus_random_high` for null (b) of
  `svdrift.spectra.nulls`, and in drift the same of every null (c) by its name, `isotropic`,
  `minus_isotropic`, ... Empty where a null does not apply. An interval is about one row: rows of
  one matrix are not independent, see `svdrift.spectra.excess` for means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from svdrift.errors import UserError
from svdrift.spectra.angles import angles_from_cosines, rank_count
from svdrift.spectra.decomposition import DOUBLE_UP_TO, Factors
from svdrift.spectra.matrices import Matrix
from svdrift.spectra.nulls import NULLS, Excess, generator, minus_null, unrelated_pair
from svdrift.spectra.tables import label


class Region(NamedTuple):
    """What a number was measured on."""

    measure: str
    side: str
    region: str
    begin: int  # ranks begin..end-1
    end: int


Measured = dict[Region, Tensor]
"""Numbers, of shape () or, where several matrices are stacked, (d,)."""

Values = dict[Region, list[float]]
"""The same as plain numbers, one a draw."""


# --------------------------------------------------------------------------------------
# Two checkpoints


def crosses(before: Factors, after: Factors) -> dict[str, Tensor]:
    """Cosines between the singular vectors of two matrices, by side: U^T U' and V^T V'.

    One or both may be stacks of matrices.
    """
    return {"left": before.U.mT @ after.U, "right": before.Vh @ after.Vh.mT}


def angles_of(cross: Tensor, side: str, region: str, begin: int, end: int) -> Measured:
    """Mean and largest principal angle of a region, in degrees, from its block of cosines."""
    angles = torch.rad2deg(angles_from_cosines(cross))
    return {
        Region("mean_angle", side, region, begin, end): angles.mean(-1),
        Region("max_angle", side, region, begin, end): angles.amax(-1),
    }


def top_angles(before: Factors, after: Factors, shares: Sequence[float]) -> Measured:
    """Principal angles between the top-k subspaces of two matrices, on both sides."""
    measured: Measured = {}
    for side, cross in crosses(before, after).items():
        for k in counts(shares, cross.shape[-1]):
            measured |= angles_of(cross[..., :k, :k], side, "top", 0, k)
    return measured


def counts(shares: Sequence[float], rank: int) -> list[int]:
    """The shares as numbers of ranks, rising, without duplicates."""
    return sorted({rank_count(share, rank) for share in shares})


def check(shares: Sequence[float], windows: int, draws: int) -> None:
    """Refuse impossible sizes.

    Raises:
        UserError: a share outside (0, 1], no window, or fewer than two draws.
    """
    if not shares or not all(0 < share <= 1 for share in shares):
        raise UserError(f"shares: must be shares of the rank in (0, 1], not {list(shares)}")
    if windows < 1:
        raise UserError(f"windows: must be at least 1, not {windows}")
    if draws < 2:
        raise UserError(f"draws: an interval needs at least 2, not {draws}")


def check_nulls(nulls: Sequence[str]) -> None:
    """Refuse names that are no null of an update.

    Raises:
        UserError: an unknown name, one given twice, or `isotropic` left out.
    """
    if unknown := [name for name in nulls if name not in NULLS]:
        raise UserError(f"nulls: {unknown[0]!r} is not known (allowed: {', '.join(NULLS)})")
    if "isotropic" not in nulls or len(set(nulls)) < len(nulls):
        raise UserError(f"nulls: isotropic and others, each once, not {' '.join(nulls)}")


def gaps(values: Tensor, spectral: float) -> Callable[[Region], float]:
    """Make the function that gives the column `gap` of a region.

    Args:
        values: singular values of the matrix before the update.
        spectral: norm of the update.
    """
    falls = (values[:-1] - values[1:]).tolist()  # falls[i] is the gap between ranks i and i + 1

    def gap(region: Region) -> float:
        edges = [falls[i - 1] for i in (region.begin, region.end) if 0 < i < len(values)]
        return min(edges) / spectral if edges and spectral else math.nan

    return gap


def values_of(measured: Sequence[Measured]) -> Values:
    """Plain numbers, those of several stacks one after another; one transfer from a device each."""
    values: Values = {}
    for part in measured:
        stacked = torch.stack([number.reshape(-1) for number in part.values()]).tolist()
        for region, numbers in zip(part, stacked, strict=True):
            values.setdefault(region, []).extend(numbers)
    return values


def stacks(draws: int, shape: tuple[int, int]) -> Iterator[range]:
    """Divide draws into those that are computed together: as many as one large matrix takes."""
    size = max(1, DOUBLE_UP_TO // (shape[0] * shape[1]))
    return (range(first, min(first + size, draws)) for first in range(0, draws, size))


def unrelated(
    shape: tuple[int, int],
    draws: int,
    seed: int,
    device: torch.device | str,
    measure: Callable[[Factors, Factors], Measured],
) -> Values:
    """Null (b): what is measured between unrelated random matrices of a shape."""
    measured = []
    for numbers in stacks(draws, shape):
        pairs = [unrelated_pair(shape, generator(seed, shape, draw), device) for draw in numbers]
        one, other = (
            Factors(*(torch.stack(parts) for parts in zip(*factors, strict=True)))
            for factors in zip(*pairs, strict=True)
        )
        measured.append(measure(one, other))
    return values_of(measured)


def compared(
    matrix: Matrix,
    observed: Mapping[Region, float],
    nulls: Mapping[str, Values],
    gap: Callable[[Region], float],
) -> list[dict[str, object]]:
    """Rows of one matrix: every number observed, beside its nulls.

    Args:
        matrix: the matrix.
        observed: numbers by region.
        nulls: the draws of each null by its name; a region that one lacks has no such null.
        gap: the column `gap` of a region.
    """
    return [
        row_of(
            matrix,
            region,
            value,
            {name: minus_null(value, drawn.get(region, [])) for name, drawn in nulls.items()},
            gap(region),
        )
        for region, value in observed.items()
    ]


def row_of(
    matrix: Matrix, region: Region, value: float, nulls: Mapping[str, Excess], gap: float
) -> dict[str, object]:
    """One row: the region, the number observed, and its excess over each null."""
    row = {**place_of(matrix, region), "gap": gap, "observed": value}
    for name, excess in nulls.items():
        row[name] = excess.null
        row[f"minus_{name}"] = excess.difference
        row[f"minus_{name}_low"] = excess.low
        row[f"minus_{name}_high"] = excess.high
    return row


def place_of(matrix: Matrix, region: Region) -> dict[str, object]:
    """The columns that say what a row's number was measured on."""
    return {
        **label(matrix),
        "measure": region.measure,
        "side": region.side,
        "region": region.region,
        "start": region.begin / matrix.rank,
        "stop": region.end / matrix.rank,
        "k": region.end - region.begin,
    }
