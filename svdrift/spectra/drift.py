"""Tables of what moved between checkpoints. One tidy row per number.

Every table has `layer` (empty outside the layers) and `module`. Angles are in degrees. The caller
adds the columns that name the checkpoints.

Tables of drift (`drift_rows`, `update_rows`) share these columns:

- `rows`, `columns`, `rank`: shape of the matrix and its full rank r;
- `measure`: what was measured, see the functions; `side`: `left` (U), `right` (V) or `both`;
- `region`: `top` or `bottom` (k directions from that end), `window` (of neighbouring ranks), `all`;
- `start`, `stop`: the region as shares of the rank, 0 at the largest singular value; `k`: its size;
- `gap`: singular value gap at the region's edges (the smaller one) over the spectral norm of the
  update. Below about 1 the update may mix vectors across the edge (Wedin 1972), so the subspace is
  ill-defined and only the comparison with the nulls means anything;
- `observed`; `random`, `minus_random`, `minus_random_low`, `minus_random_high`: null (b);
  `isotropic`, `minus_isotropic`, `..._low`, `..._high`: null (c), see `svdrift.spectra.nulls`,
  with 95 % intervals. Empty where a null says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from svdrift.errors import UserError
from svdrift.spectra.angles import (
    angles_from_cosines,
    best_alignment,
    chordal_distance,
    energy_outside_top,
    energy_shares,
    rank_count,
    signed_projection,
    update_core,
)
from svdrift.spectra.decomposition import (
    Decomposed,
    Factors,
    FactorStore,
    decompose,
    require_same_matrices,
)
from svdrift.spectra.matrices import Matrix
from svdrift.spectra.nulls import (
    Excess,
    generator,
    isotropic_update,
    minus_null,
    unrelated_pair,
)
from svdrift.spectra.tables import label, per_rank, with_nullable_layer


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


def value_change_rows(anchor: FactorStore, target: FactorStore) -> pd.DataFrame:
    """One row per singular value: `index`, `position`, `value_before`, `value_after`, `change`,
    their difference, and `relative_change` = change / value_before, which explodes where that is
    tiny (for a summary take the measure `value_change` of `drift_rows`).
    """  # noqa: D205
    tables = []
    for key, matrix in anchor.matrices.items():
        before, after = anchor.singular_values(key), target.singular_values(key)
        change = after - before
        tables.append(
            per_rank(
                matrix,
                value_before=before,
                value_after=after,
                change=change,
                relative_change=change / before,
            )
        )
    return with_nullable_layer(pd.concat(tables, ignore_index=True))


def drift_rows(
    anchor: Decomposed,
    target: Decomposed,
    *,
    shares: Sequence[float],
    windows: int,
    draws: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Measure what moved from anchor to target, beside both nulls. Columns: see the module.

    Measures:
    - `mean_angle`, `max_angle` (degrees) and `chordal` (0 to sqrt k) between the top-k and between
      the bottom-k subspaces, left and right, for each share of the rank;
    - `window_angle` (degrees): arcsin of the root mean square sine between the subspaces of one
      window of the spectrum in both; `best_alignment` (0 to 1): mean over the window's vectors of
      their best alignment with any vector of the target;
    - `value_change`: ||s_target - s_anchor|| / ||s_anchor||; `update_norm`: the update's Frobenius
      norm over the anchor's;
    - `energy_diagonal`, `energy_off_diagonal`, `energy_outside` (sum 1) and `energy_outside_top`
      (per share): where the update's energy lies in the anchor's singular basis.

    Args:
        anchor: the checkpoint before.
        target: the checkpoint after.
        shares: ranks as shares of the full rank, for top and bottom.
        windows: number of windows along the spectrum (fewer in matrices of lower rank).
        draws: draws per null, at least 2; the isotropic null costs one decomposition of each
            matrix per draw.
        seed: of the nulls.
        device: where all but the drawing of random numbers is computed.

    Raises:
        UserError: different architectures, or impossible shares, windows or draws.
    """
    require_same_matrices(anchor, target)
    _check(shares, windows, draws)
    unrelated: dict[tuple[int, int], list[Measured]] = {}
    tables = []
    for key, matrix in anchor.factors.matrices.items():
        if matrix.shape not in unrelated:
            pairs = (
                unrelated_pair(matrix.shape, generator(seed, matrix.shape, draw), device)
                for draw in range(draws)
            )
            unrelated[matrix.shape] = [_rotation(*pair, shares, windows) for pair in pairs]
        before = anchor.factors.read(key).to(device).double()
        weight = anchor.weight(key).to(device).double()
        update = target.weight(key).to(device).double() - weight
        after = target.factors.read(key).to(device).double()
        observed = _everything(before, after, update, shares, windows)
        isotropic = []
        for draw in range(draws):
            if update.any():
                noise = isotropic_update(update, generator(seed, *key, draw))
                after = decompose(weight + noise, device).to(device).double()
            else:  # frozen: no change of this size is no change
                noise, after = update, before
            isotropic.append(_everything(before, after, noise, shares, windows))
        spectral = torch.linalg.matrix_norm(update, 2).item()
        tables += _compared(
            matrix, observed, unrelated[matrix.shape], isotropic, _gaps(before.S, spectral)
        )
    return with_nullable_layer(pd.DataFrame(tables))


# --------------------------------------------------------------------------------------
# Two updates: base -> first (SFT), first -> second (RL)


def update_rows(
    base: Decomposed,
    first: Decomposed,
    second: Decomposed,
    *,
    shares: Sequence[float],
    draws: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Compare the update from base to first (SFT) with that from first to second (RL).

    Measures, with null (b), which for updates says "unrelated directions":
    - `mean_angle`, `max_angle` (degrees) between the top-k singular subspaces of both updates;
    - `undone`: share of the first update that the second undoes, -<D2, D1> / <D1, D1>; `cosine`
      between the updates. For a random D2 both are 0 with deviation 1 / sqrt(m n) of the cosine.
    - `norm_ratio`: |D2| / |D1|.
    Everything is empty for a matrix that one of the updates leaves alone.

    Args:
        base: checkpoint before the first update.
        first: checkpoint between the updates.
        second: checkpoint after the second update.
        shares: ranks as shares of the full rank, from the top.
        draws: draws of the null, at least 2.
        seed: of the null.
        device: where all but the drawing of random numbers is computed.

    Raises:
        UserError: different architectures, or impossible shares or draws.
    """
    require_same_matrices(base, first)
    require_same_matrices(first, second)
    _check(shares, 1, draws)
    unrelated: dict[tuple[int, int], list[Measured]] = {}
    tables = []
    for key, matrix in base.factors.matrices.items():
        if matrix.shape not in unrelated:
            pairs = [
                unrelated_pair(matrix.shape, generator(seed, matrix.shape, draw), device)
                for draw in range(draws)
            ]
            unrelated[matrix.shape] = [_top_angles(*pair, shares) for pair in pairs]
        start, middle, end = (
            checkpoint.weight(key).to(device).double() for checkpoint in (base, first, second)
        )
        one, two = middle - start, end - middle
        if one.any() and two.any():
            factors = [decompose(update, device).to(device).double() for update in (one, two)]
            observed = _top_angles(factors[0], factors[1], shares)
        else:
            observed = dict.fromkeys(unrelated[matrix.shape][0], math.nan)
        tables += _compared(matrix, observed, unrelated[matrix.shape], [], lambda _: math.nan)
        tables += _projection_rows(matrix, one, two)
    return with_nullable_layer(pd.DataFrame(tables))


def _projection_rows(matrix: Matrix, one: Tensor, two: Tensor) -> list[dict[str, object]]:
    projection = cosine = ratio = math.nan
    if one.any() and two.any():
        projection, cosine = signed_projection(two, one)
        ratio = (two.norm() / one.norm()).item()
    half = 1.96 / math.sqrt(one.numel())  # the cosine of a random direction is N(0, 1 / (m n))
    nan = Excess(*[math.nan] * 4)

    def row(measure: str, value: float, excess: Excess) -> dict[str, object]:
        region = Region(measure, "both", "all", 0, matrix.rank)
        return _row(matrix, region, value, excess, nan, math.nan)

    return [
        row("undone", -projection, Excess(0.0, -projection, *_around(-projection, half * ratio))),
        row("cosine", cosine, Excess(0.0, cosine, *_around(cosine, half))),
        row("norm_ratio", ratio, nan),
    ]


def _around(value: float, half: float) -> tuple[float, float]:
    return value - half, value + half


# --------------------------------------------------------------------------------------
# The measures of one pair of matrices; the same functions measure the draws of the nulls


def _crosses(before: Factors, after: Factors) -> dict[str, Tensor]:
    return {"left": before.U.T @ after.U, "right": before.Vh @ after.Vh.T}


def _angles(cross: Tensor, side: str, region: str, begin: int, end: int) -> Measured:
    angles = torch.rad2deg(angles_from_cosines(cross))
    return {
        Region("mean_angle", side, region, begin, end): angles.mean().item(),
        Region("max_angle", side, region, begin, end): angles.max().item(),
    }


def _top_angles(before: Factors, after: Factors, shares: Sequence[float]) -> Measured:
    measured: Measured = {}
    for side, cross in _crosses(before, after).items():
        for k in _counts(shares, len(cross)):
            measured |= _angles(cross[:k, :k], side, "top", 0, k)
    return measured


def _rotation(before: Factors, after: Factors, shares: Sequence[float], windows: int) -> Measured:
    rank = len(before.S)
    measured: Measured = {
        Region("value_change", "both", "all", 0, rank): _ratio(after.S - before.S, before.S)
    }
    edges = [round(i * rank / min(windows, rank)) for i in range(min(windows, rank) + 1)]
    for side, cross in _crosses(before, after).items():
        for k in _counts(shares, rank):
            for region, begin, end in (("top", 0, k), ("bottom", rank - k, rank)):
                block = cross[begin:end, begin:end]
                measured |= _angles(block, side, region, begin, end)
                chordal = chordal_distance(block).item()
                measured[Region("chordal", side, region, begin, end)] = chordal
        alignment = best_alignment(cross)
        for begin, end in pairwise(edges):
            chordal = chordal_distance(cross[begin:end, begin:end]).item()
            sine = min(chordal / math.sqrt(end - begin), 1.0)
            angle = math.degrees(math.asin(sine))
            measured[Region("window_angle", side, "window", begin, end)] = angle
            mean = alignment[begin:end].mean().item()
            measured[Region("best_alignment", side, "window", begin, end)] = mean
    return measured


def _energies(before: Factors, update: Tensor, shares: Sequence[float]) -> Measured:
    rank = len(before.S)
    core = update_core(update, before.U, before.Vh.T)
    energy = update.square().sum().item()
    measured = {
        Region(name, "both", "all", 0, rank): value
        for name, value in energy_shares(core, energy).items()
    }
    for k in _counts(shares, rank):
        outside = energy_outside_top(core, energy, k)
        measured[Region("energy_outside_top", "both", "top", 0, k)] = outside
    measured[Region("update_norm", "both", "all", 0, rank)] = _ratio(update, before.S)
    return measured


def _everything(
    before: Factors, after: Factors, update: Tensor, shares: Sequence[float], windows: int
) -> Measured:
    return _rotation(before, after, shares, windows) | _energies(before, update, shares)


def _ratio(change: Tensor, base: Tensor) -> float:
    norm = base.norm().item()
    return change.norm().item() / norm if norm else math.nan


def _counts(shares: Sequence[float], rank: int) -> list[int]:
    return sorted({rank_count(share, rank) for share in shares})


# --------------------------------------------------------------------------------------
# Rows


def _check(shares: Sequence[float], windows: int, draws: int) -> None:
    if not shares or not all(0 < share <= 1 for share in shares):
        raise UserError(f"shares: must be shares of the rank in (0, 1], not {list(shares)}")
    if windows < 1:
        raise UserError(f"windows: must be at least 1, not {windows}")
    if draws < 2:
        raise UserError(f"draws: an interval needs at least 2, not {draws}")


def _gaps(values: Tensor, spectral: float) -> Callable[[Region], float]:
    falls = (values[:-1] - values[1:]).tolist()  # falls[i] is the gap between ranks i and i + 1

    def gap(region: Region) -> float:
        edges = [falls[i - 1] for i in (region.begin, region.end) if 0 < i < len(values)]
        return min(edges) / spectral if edges and spectral else math.nan

    return gap


def _compared(
    matrix: Matrix,
    observed: Measured,
    random: Iterable[Measured],
    isotropic: Iterable[Measured],
    gap: Callable[[Region], float],
) -> list[dict[str, object]]:
    random, isotropic = list(random), list(isotropic)
    return [
        _row(
            matrix,
            region,
            value,
            minus_null(value, [draw[region] for draw in random if region in draw]),
            minus_null(value, [draw[region] for draw in isotropic]),
            gap(region),
        )
        for region, value in observed.items()
    ]


def _row(
    matrix: Matrix, region: Region, value: float, random: Excess, isotropic: Excess, gap: float
) -> dict[str, object]:
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
