"""Tables of what moved between two checkpoints. One tidy row per number.

Angles are in degrees. Columns of `drift_rows`: see `svdrift.spectra.regions`. The caller adds the
columns that name the checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd
import torch
from torch import Tensor

from svdrift.spectra.angles import (
    best_alignment,
    chordal_distance,
    energy_outside_top,
    energy_shares,
    update_core,
)
from svdrift.spectra.decomposition import (
    Decomposed,
    Factors,
    FactorSource,
    decompose,
    require_same_matrices,
)
from svdrift.spectra.nulls import generator, isotropic_update, unrelated_pair
from svdrift.spectra.regions import (
    Measured,
    Region,
    angles_of,
    check,
    compared,
    counts,
    crosses,
    gaps,
)
from svdrift.spectra.tables import per_rank, with_nullable_layer


def value_change_rows(anchor: FactorSource, target: FactorSource) -> pd.DataFrame:
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
    """Measure what moved from anchor to target, beside both nulls. Columns: see `regions`.

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
    check(shares, windows, draws)
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
        tables += compared(
            matrix, observed, unrelated[matrix.shape], isotropic, gaps(before.S, spectral)
        )
    return with_nullable_layer(pd.DataFrame(tables))


# --------------------------------------------------------------------------------------
# The measures of one pair of matrices; the same functions measure the draws of the nulls


def _rotation(before: Factors, after: Factors, shares: Sequence[float], windows: int) -> Measured:
    rank = len(before.S)
    measured: Measured = {
        Region("value_change", "both", "all", 0, rank): _ratio(after.S - before.S, before.S)
    }
    edges = [round(i * rank / min(windows, rank)) for i in range(min(windows, rank) + 1)]
    for side, cross in crosses(before, after).items():
        for k in counts(shares, rank):
            for region, begin, end in (("top", 0, k), ("bottom", rank - k, rank)):
                block = cross[begin:end, begin:end]
                measured |= angles_of(block, side, region, begin, end)
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
    for k in counts(shares, rank):
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
