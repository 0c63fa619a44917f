"""Regions of a spectrum and their rows: what tables of drift and of updates share.

Both have these columns, after those of `svdrift.spectra.tables.label`:

- `rows`, `columns`, `rank`: shape of the matrix and its full rank r;
- `measure`: what was measured, see the functions; `side`: `left` (U), `right` (V) or `both`;
- `region`: `top` or `bottom` (k directions from that end), `window` (of neighbouring ranks), `all`;
- `start`, `stop`: the region as shares of the rank, 0 at the largest singular value; `k`: its size;
- `gap`: singular value gap at the region's edges (the smaller one) over the spectral norm of the
  update. Below about 1 the update may mix vectors across the edge (Wedin 1972), so the subspace is
  ill-defined and only the comparison with the nulls means anything;
- `observed`; `random`, `minus_random`, `minus_random_low`, `minus_random_high`: null (b);
  `isotropic`, `minus_isotropic`, `..._low`, `..._high`: null (c), see `svdrift.spectra.nulls`,
  with 95 % intervals. Empty where a null does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from svdrift.errors import UserError
from svdrift.spectra.angles import angles_from_cosines, rank_count
from svdrift.spectra.decomposition import Factors
from svdrift.spectra.matrices import Matrix
from svdrift.spectra.nulls import Excess, minus_null
from svdrift.spectra.tables import label


class Region(NamedTuple):
    """What a number was measured on."""

    measure: str
    side: str
    region: str
    begin: int  # ranks begin..end-1
    end: int


Measured = dict[Region, float]


# --------------------------------------------------------------------------------------
# Two checkpoints


def crosses(before: Factors, after: Factors) -> dict[str, Tensor]:
    """Cosines between the singular vectors of two matrices, by side: U^T U' and V^T V'."""
    return {"left": before.U.T @ after.U, "right": before.Vh @ after.Vh.T}


def angles_of(cross: Tensor, side: str, region: str, begin: int, end: int) -> Measured:
    """Mean and largest principal angle of a region, in degrees, from its block of cosines."""
    angles = torch.rad2deg(angles_from_cosines(cross))
    return {
        Region("mean_angle", side, region, begin, end): angles.mean().item(),
        Region("max_angle", side, region, begin, end): angles.max().item(),
    }


def top_angles(before: Factors, after: Factors, shares: Sequence[float]) -> Measured:
    """Principal angles between the top-k subspaces of two matrices, on both sides."""
    measured: Measured = {}
    for side, cross in crosses(before, after).items():
        for k in counts(shares, len(cross)):
            measured |= angles_of(cross[:k, :k], side, "top", 0, k)
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


def compared(
    matrix: Matrix,
    observed: Measured,
    random: Iterable[Measured],
    isotropic: Iterable[Measured],
    gap: Callable[[Region], float],
) -> list[dict[str, object]]:
    """Rows of one matrix: every number observed, beside its nulls.

    Args:
        matrix: the matrix.
        observed: numbers by region.
        random: the same of each draw of null (b); a region that a draw lacks has no such null.
        isotropic: the same of each draw of null (c); none for a table without it.
        gap: the column `gap` of a region.
    """
    random, isotropic = list(random), list(isotropic)
    return [
        row_of(
            matrix,
            region,
            value,
            minus_null(value, [draw[region] for draw in random if region in draw]),
            minus_null(value, [draw[region] for draw in isotropic]),
            gap(region),
        )
        for region, value in observed.items()
    ]


def row_of(
    matrix: Matrix, region: Region, value: float, random: Excess, isotropic: Excess, gap: float
) -> dict[str, object]:
    """One row: the region, the number observed, and its excess over both nulls."""
    return {
        **label(matrix),
        "measure": region.measure,
        "side": region.side,
        "region": region.region,
        "start": region.begin / matrix.rank,
        "stop": region.end / matrix.rank,
        "k": region.end - region.begin,
        "gap": gap,
        "observed": value,
        **_null_columns("random", random),
        **_null_columns("isotropic", isotropic),
    }


def _null_columns(name: str, excess: Excess) -> dict[str, float]:
    return {
        name: excess.null,
        f"minus_{name}": excess.difference,
        f"minus_{name}_low": excess.low,
        f"minus_{name}_high": excess.high,
    }
