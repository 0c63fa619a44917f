"""Tables of one checkpoint's spectra: a row a singular value, and a row a matrix.

Every table has `layer` (empty outside the layers) and `module`. The caller adds the columns that
name the checkpoint.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from torch import Tensor

from svdrift.spectra.decomposition import Decomposed, FactorSource
from svdrift.spectra.matrices import Matrix
from svdrift.spectra.nulls import fit_random, has_even_lengths, law_values


def spectrum_rows(factors: FactorSource) -> pd.DataFrame:
    """One row per singular value: `index` (0 is the largest), `position` = (index + 1/2) / r,
    `value`, and `law`, the value that a random matrix of that shape and norm would have there.
    """  # noqa: D205
    tables = []
    for matrix in factors.matrices.values():
        values = factors.singular_values(matrix.key)
        sigma = fit_random(values, matrix.shape).sigma
        tables.append(per_rank(matrix, value=values, law=law_values(sigma, matrix.shape)))
    return with_nullable_layer(pd.concat(tables, ignore_index=True))


def matrix_rows(checkpoint: Decomposed) -> pd.DataFrame:
    """One row per matrix: its size, and null (a), whether it looks freshly initialised.

    Columns: `rows`, `columns`, `rank`, `frobenius_norm`, `spectral_norm`, `stable_rank` (their
    squared ratio), `sigma`, `distance`, `edge_ratio`, `follows_law` (see `RandomFit`), and
    `looks_random`: its spectrum follows the law, and rows and columns have even lengths.
    """
    rows = []
    for matrix in checkpoint.factors.matrices.values():
        values = checkpoint.factors.singular_values(matrix.key).double()
        fit = fit_random(values, matrix.shape)
        frobenius, spectral = values.norm().item(), values[0].item()
        rows.append(
            {
                **label(matrix),
                "frobenius_norm": frobenius,
                "spectral_norm": spectral,
                "stable_rank": (frobenius / spectral) ** 2 if spectral else math.nan,
                **fit._asdict(),
                "looks_random": fit.follows_law and has_even_lengths(checkpoint.weight(matrix.key)),
            }
        )
    return with_nullable_layer(pd.DataFrame(rows))


def label(matrix: Matrix) -> dict[str, object]:
    """The columns that identify a row's matrix."""
    return {
        "layer": matrix.layer,
        "module": matrix.module,
        "rows": matrix.shape[0],
        "columns": matrix.shape[1],
        "rank": matrix.rank,
    }


def per_rank(matrix: Matrix, **columns: Tensor | np.ndarray) -> pd.DataFrame:
    """One row a rank of a matrix, with these columns."""
    index = np.arange(matrix.rank)
    table = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    labels = {"layer": matrix.layer, "module": matrix.module, "index": index}
    return pd.DataFrame({**labels, "position": (index + 0.5) / matrix.rank, **table})


def with_nullable_layer(table: pd.DataFrame) -> pd.DataFrame:
    """The table with whole numbers as layers, empty for matrices outside the layers."""
    return table.astype({"layer": "Int64"})
