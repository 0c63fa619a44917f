"""Angles of single matrices, and their mean, beside draws of noise that is as skewed as they are.

A mean principal angle under noise is skewed to the right, even its logarithm: the few directions at
the edge of the leading ones, which lie closest to others, turn by much or little. Student's t puts
up to ten times as many single matrices of noise above its far quantiles as it says. So above noise
the distribution of the logarithm is taken to fall as an exponential one does, the slowest of all
that have a concave logarithm of their density; below noise Student's t errs on the safe side.
Measured: docs/command-line.md, tests/spectra/test_single.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit

from svdrift.spectra.excess import draws_of

FloatArray = npt.NDArray[np.float64]
PLACE = ["layer", "module"]


def chances(angles: pd.DataFrame, nulls: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """How likely each matrix's angle is as one more draw of each null.

    One row a matrix: `layer`, `module`; by each null's name the mean of its draws; and `p_` with
    its name, two-sided, NaN where neither angle nor noise varies. Both sides are averaged first.

    With n draws x of a null and S the sum of log x - min log x over all nulls of the matrix, whose
    spreads are alike, an angle lies above c S + min log x with probability n / (n + 1)
    (1 + c)^-f, f the number of all draws less that of nulls, if log x falls exponentially.

    Args:
        angles: rows of drift, as many of each side of a matrix.
        nulls: draws of them and of others.
        names: of the nulls, columns of `nulls`.
    """
    table, observed, drawn = _by_matrix(angles, nulls, names)
    with np.errstate(divide="ignore", invalid="ignore"):
        # What did not turn at all turned less than any noise.
        logs, angle = np.log(drawn), np.log(observed)
        count = logs.shape[-1]
        freedom = logs.shape[1] * (count - 1)
        least = logs.min(-1)
        spread = (logs - least[..., None]).sum((1, 2))
        deviation = np.sqrt(logs.var(-1, ddof=1).mean(1) * (1 + 1 / count))
        for place, null in enumerate(names):
            c = np.maximum(angle - least[:, place], 0) / spread
            above = count / (count + 1) * (1 + c) ** -freedom
            below = stdtr(freedom, (angle - logs[:, place].mean(-1)) / deviation)
            table[null] = drawn[:, place].mean(-1)
            table[f"p_{null}"] = np.minimum(2 * np.minimum(above, below), 1)
    return table


def mean_beside(
    angles: pd.DataFrame, nulls: pd.DataFrame, names: Sequence[str], level: float = 0.95
) -> pd.DataFrame:
    """The mean angle of all matrices minus that of each null, of degrees and not of logarithms.

    Matrices are drawn independently, so the variances of their draws add up, and many matrices
    with few draws each know the variance of their mean well: Student's t with the degrees of
    freedom of Satterthwaite (1946).

    Returns:
        One row a null: `null` (its name), `observed`, `drawn`, `difference`, `low`, `high` and
        `p`, two-sided, of the mean being one more draw.
    """
    _, observed, drawn = _by_matrix(angles, nulls, names)
    count = drawn.shape[-1]
    variances = drawn.var(-1, ddof=1)  # (matrices, nulls)
    means = drawn.mean(-1).mean(0)
    difference = observed.mean() - means
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (count - 1) * variances.sum(0) ** 2 / (variances**2).sum(0)
        deviation = np.sqrt(variances.sum(0) * (1 + 1 / count)) / len(observed)
        freedom = np.where(np.isnan(freedom), count - 1, freedom)
        half = stdtrit(freedom, (1 + level) / 2) * deviation
        p = 2 * stdtr(freedom, -np.abs(difference) / deviation)
    return pd.DataFrame(
        {
            "null": list(names),
            "observed": observed.mean(),
            "drawn": means,
            "difference": difference,
            "low": difference - half,
            "high": difference + half,
            "p": p,
        }
    )


def _by_matrix(
    angles: pd.DataFrame, nulls: pd.DataFrame, names: Sequence[str]
) -> tuple[pd.DataFrame, FloatArray, FloatArray]:
    """Places, observed (matrices,) and drawn (matrices, nulls, draws), means of both sides."""
    columns = list(names)
    drawn = draws_of(angles, nulls).groupby([*PLACE, "draw"], dropna=False, sort=False)[columns]
    observed = angles.groupby(PLACE, dropna=False, sort=False)["observed"].mean().reset_index()
    # On columns: an index with the empty layer of embedding and head matches nothing.
    table = observed.merge(drawn.mean().reset_index(), on=PLACE, how="left", validate="1:m")
    count = len(table) // len(observed)
    values = table[columns].to_numpy(dtype=float).reshape(len(observed), count, len(columns))
    places = observed[PLACE].copy()
    return places, observed["observed"].to_numpy(dtype=float), values.transpose(0, 2, 1)
