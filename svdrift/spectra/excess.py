"""Means of drift minus the same means of a null, with one interval over its draws.

Numbers of one draw are not independent: the angles of both sides of a matrix under the same noise
correlate at 0.96. So sides and matrices are averaged within each draw, and what varies is the
draws of the average. Reads both tables of `svdrift.spectra.drift.drift_tables`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

NAMES = ("pair", "seed", "layer", "module", "measure", "side", "region", "start", "stop")
"""The columns by which both tables name a number, as far as they have them."""

NULL_NAMES = {
    "isotropic": "isotropic noise of the update's size",
    "inputs_kept": "noise that keeps the update's inputs",
    "signs_randomised": "the update with its signs randomised",
    "spectrum_kept": "noise that keeps the update's singular values",
    "norms_kept": "noise that keeps the norms of the update's rows and columns",
}
"""What people call the nulls of `svdrift.spectra.nulls.NULLS`."""


def draws_of(rows: pd.DataFrame, nulls: pd.DataFrame) -> pd.DataFrame:
    """The draws of these rows of drift, with all columns of both.

    Args:
        rows: some rows of drift, and columns of your own.
        nulls: all draws.
    """
    names = [name for name in NAMES if name in nulls]
    own = [*names, *rows.columns.difference(nulls.columns)]
    few = nulls[nulls["measure"].isin(rows["measure"].unique())]
    return few.merge(rows[own], on=names, validate="m:1")


def excess(
    rows: pd.DataFrame,
    nulls: pd.DataFrame,
    null: str,
    by: Sequence[str],
    *,
    logarithm: bool = False,
    level: float = 0.95,
) -> pd.DataFrame:
    """Observed minus a null at each place, both averaged over all rows there, unweighted.

    The interval is Student's prediction interval for one more draw of the average (see
    `svdrift.spectra.nulls.minus_null`): if the update is itself a draw of the null, it holds 0 with
    probability `level`, as far as these averages are normally distributed.

    Args:
        rows: rows of drift, with the columns `by`; as many of each side as of the other.
        nulls: draws of them and of others.
        null: the null's column in it.
        by: columns that name a place.
        logarithm: of averages before they are subtracted; angles of a single matrix are skewed.
        level: of the interval.

    Returns:
        One row a place: `by`, `observed` and `null` (both averages), `difference`, `low` and `high`
        (these of logarithms if asked for), and `p`, two-sided, of being one more draw; it is below
        1 - `level` where the interval excludes 0.
    """
    by = list(by)
    drawn = draws_of(rows, nulls).groupby([*by, "draw"], dropna=False)[null].mean()
    observed = rows.groupby(by, dropna=False)["observed"].mean()
    scaled = _logarithms if logarithm else _unchanged
    null_means = drawn.groupby(by, dropna=False).mean().rename("null")
    draws = scaled(drawn).groupby(by, dropna=False).agg(["mean", "std", "count"])
    # On columns: an index with the empty layer of embedding and head matches nothing.
    table = observed.reset_index()
    for part in (scaled(observed).rename("difference"), null_means, draws):
        table = table.merge(part.reset_index(), on=by, how="left", validate="1:1")
    table["difference"] -= table["mean"]
    count = table["count"]
    deviation = table["std"] * np.sqrt(1 + 1 / count)
    half = stdtrit(count - 1, (1 + level) / 2) * deviation
    table["low"], table["high"] = table["difference"] - half, table["difference"] + half
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN where both are 0
        table["p"] = 2 * stdtr(count - 1, -table["difference"].abs() / deviation)
    return table[[*by, "observed", "null", "difference", "low", "high", "p"]]


def _unchanged(values: pd.Series[float]) -> pd.Series[float]:
    return values


def _logarithms(values: pd.Series[float]) -> pd.Series[float]:
    with np.errstate(divide="ignore"):  # what did not turn at all turned less than any noise
        return pd.Series(np.log(values.to_numpy()), values.index, name=values.name)
