"""Tables of what moved between two checkpoints. One tidy row per number.

Angles are in degrees. The caller adds the columns that name the checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from svdrift.spectra.angles import (
    best_alignment,
    chordal_distance,
    energy_in_top,
    energy_shares,
    project,
)
from svdrift.spectra.decomposition import (
    Decomposed,
    Factors,
    FactorSource,
    decompose_stack,
    require_same_matrices,
)
from svdrift.spectra.matrices import Matrix
from svdrift.spectra.nulls import draw
from svdrift.spectra.regions import (
    Measured,
    Region,
    Values,
    angles_of,
    check,
    check_nulls,
    compared,
    counts,
    crosses,
    gaps,
    place_of,
    stacks,
    unrelated,
    values_of,
)
from svdrift.spectra.tables import per_rank, with_nullable_layer


def value_change_rows(anchor: FactorSource, target: FactorSource) -> pd.DataFrame:
    """One row per singular value: `index`, `position`, `value_before`, `value_after`, `change`,
    their difference, and `relative_change` = change / value_before, which explodes where that is
    tiny (for a summary take the measure `value_change` of `drift_tables`).
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


class Drift(NamedTuple):
    """What moved, and what updates that were drawn anew would have moved."""

    drift: pd.DataFrame  # a row a number: columns of `svdrift.spectra.regions`
    nulls: pd.DataFrame  # a row a number and draw: the same up to `k`, `draw`, a column a null


def drift_tables(
    anchor: Decomposed,
    target: Decomposed,
    *,
    shares: Sequence[float],
    windows: int,
    nulls: Sequence[str],
    draws: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Drift:
    """Measure what moved from anchor to target, beside nulls.

    Measures:
    - `mean_angle`, `max_angle` (degrees) and `chordal` (0 to sqrt k) between the top-k and between
      the bottom-k subspaces, left and right, for each share of the rank;
    - `window_angle` (degrees): arcsin of the root mean square sine between the subspaces of one
      window of the spectrum in both; `best_alignment` (0 to 1): mean over the window's vectors of
      their best alignment with any vector of the target;
    - `value_change`: ||s_target - s_anchor|| / ||s_anchor||; `update_norm`: the update's Frobenius
      norm over the anchor's, infinite where only zeros became something;
    - `energy_diagonal`, `energy_off_diagonal` and `energy_outside` (sum 1): where the update's
      energy lies in the anchor's singular basis; `energy_top`: its share in the span of the top
      k, left, right and both. Over its mean under the isotropic null it is a multiple of the share
      that it would have if it lay evenly.
    A matrix of zeros has no directions: what is measured on them is NaN.

    Args:
        anchor: the checkpoint before.
        target: the checkpoint after.
        shares: ranks as shares of the full rank, for top and bottom.
        windows: number of windows along the spectrum (fewer in matrices of lower rank).
        nulls: names of `svdrift.spectra.nulls.NULLS`, `isotropic` among them; each costs one
            decomposition of every matrix per draw.
        draws: draws per null, at least 2.
        seed: of the nulls.
        device: where all but the drawing of random numbers is computed.

    Raises:
        UserError: different architectures, or impossible shares, windows, nulls or draws.
    """
    require_same_matrices(anchor, target)
    check(shares, windows, draws)
    check_nulls(nulls)
    rotation = partial(_rotation, shares=shares, windows=windows)
    random: dict[tuple[int, int], Values] = {}
    rows, drawn = [], []
    for key, matrix in anchor.factors.matrices.items():
        if matrix.shape not in random:
            random[matrix.shape] = unrelated(matrix.shape, draws, seed, device, rotation)
        before = anchor.factors.read(key).to(device).double()
        weight = anchor.weight(key).to(device).double()
        update = target.weight(key).to(device).double() - weight
        after = target.factors.read(key).to(device).double()
        measured = values_of([rotation(before, after) | _energies(before, update, shares)])
        found = {}
        for null in nulls:
            parts = []
            for numbers in stacks(draws, matrix.shape):
                if update.any():
                    noise = torch.stack(
                        [draw(null, update, before, seed, key, number) for number in numbers]
                    )
                    after = decompose_stack(weight + noise)
                else:  # frozen: no change of this size is no change
                    noise = torch.zeros_like(update).expand(len(numbers), -1, -1)
                    after = Factors(*(part.expand(len(numbers), *part.shape) for part in before))
                parts.append(rotation(before, after) | _energies(before, noise, shares))
            found[null] = values_of(parts)
        observed = {region: value for region, (value,) in measured.items()}
        spectral = torch.linalg.matrix_norm(update, 2).item()
        gap = gaps(before.S, spectral)
        rows += compared(matrix, observed, {"random": random[matrix.shape], **found}, gap)
        drawn += _draws(matrix, found, draws)
    return Drift(*(with_nullable_layer(pd.DataFrame(table)) for table in (rows, drawn)))


def _draws(matrix: Matrix, nulls: dict[str, Values], draws: int) -> list[dict[str, object]]:
    """Rows of one matrix: what every draw of each null gives for a region."""
    return [
        place_of(matrix, region)
        | {"draw": number}
        | {null: values[region][number] for null, values in nulls.items()}
        for region in next(iter(nulls.values()))
        for number in range(draws)
    ]


# --------------------------------------------------------------------------------------
# The measures of one pair of matrices; the same functions measure stacks of draws of the nulls


def _rotation(before: Factors, after: Factors, shares: Sequence[float], windows: int) -> Measured:
    rank = after.S.shape[-1]
    whole = before.S.norm(dim=-1)
    change = ((after.S - before.S).norm(dim=-1) / whole).where(whole > 0, math.nan)
    measured: Measured = {}
    edges = [round(i * rank / min(windows, rank)) for i in range(min(windows, rank) + 1)]
    for side, cross in crosses(before, after).items():
        for k in counts(shares, rank):
            for region, begin, end in (("top", 0, k), ("bottom", rank - k, rank)):
                block = cross[..., begin:end, begin:end]
                measured |= angles_of(block, side, region, begin, end)
                measured[Region("chordal", side, region, begin, end)] = chordal_distance(block)
        alignment = best_alignment(cross)
        for begin, end in pairwise(edges):
            chordal = chordal_distance(cross[..., begin:end, begin:end])
            angle = torch.asin((chordal / math.sqrt(end - begin)).clamp(max=1)).rad2deg()
            measured[Region("window_angle", side, "window", begin, end)] = angle
            mean = alignment[..., begin:end].mean(-1)
            measured[Region("best_alignment", side, "window", begin, end)] = mean
    directed = (whole > 0) & (after.S.norm(dim=-1) > 0)
    measured = {region: value.where(directed, math.nan) for region, value in measured.items()}
    return {Region("value_change", "both", "all", 0, rank): change} | measured


def _energies(before: Factors, update: Tensor, shares: Sequence[float]) -> Measured:
    rank = len(before.S)
    seen = project(update, before.U, before.Vh.T)
    measured = {
        Region(name, "both", "all", 0, rank): value for name, value in energy_shares(seen).items()
    }
    for k in counts(shares, rank):
        for side, share in energy_in_top(seen, k).items():
            measured[Region("energy_top", side, "top", 0, k)] = share
    whole = before.S.norm(dim=-1)
    measured = {region: value.where(whole > 0, math.nan) for region, value in measured.items()}
    return measured | {Region("update_norm", "both", "all", 0, rank): seen.energy.sqrt() / whole}
