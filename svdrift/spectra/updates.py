"""The table that compares two updates in a row: base to first (SFT), first to second (RL).

Columns: see `svdrift.spectra.regions`. The caller adds the columns that name the checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from svdrift.spectra.angles import signed_projection
from svdrift.spectra.decomposition import Decomposed, decompose, require_same_matrices
from svdrift.spectra.matrices import Matrix
from svdrift.spectra.nulls import Excess
from svdrift.spectra.regions import (
    Region,
    Values,
    check,
    compared,
    row_of,
    top_angles,
    unrelated,
    values_of,
)
from svdrift.spectra.tables import with_nullable_layer


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

    Measures, with null (b), which for updates means unrelated directions:
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
    check(shares, 1, draws)
    random: dict[tuple[int, int], Values] = {}
    tables = []
    for key, matrix in base.factors.matrices.items():
        if matrix.shape not in random:
            random[matrix.shape] = unrelated(
                matrix.shape, draws, seed, device, partial(top_angles, shares=shares)
            )
        start, middle, end = (
            checkpoint.weight(key).to(device).double() for checkpoint in (base, first, second)
        )
        one, two = middle - start, end - middle
        if one.any() and two.any():
            factors = [decompose(update, device).to(device).double() for update in (one, two)]
            measured = values_of([top_angles(factors[0], factors[1], shares)])
            observed = {region: value for region, (value,) in measured.items()}
        else:
            observed = dict.fromkeys(random[matrix.shape], math.nan)
        tables += compared(matrix, observed, {"random": random[matrix.shape]}, lambda _: math.nan)
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
        return row_of(matrix, region, value, {"random": excess}, math.nan)

    return [
        row("undone", -projection, Excess(0.0, -projection, *_around(-projection, half * ratio))),
        row("cosine", cosine, Excess(0.0, cosine, *_around(cosine, half))),
        row("norm_ratio", ratio, nan),
    ]


def _around(value: float, half: float) -> tuple[float, float]:
    return value - half, value + half
