"""Means of drift minus the same means of a null, with one interval over its draws.

Numbers of one draw are not independent: the angles of both sides of a matrix under the same noise
correlate at 0.96. So sides and matrices are averaged within each draw, and what varies is the
draws of the average. Reads both tables of `svdrift.spectra.drift.drift_tables`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

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
        level: of the interval.

    Returns:
        One row a place: `by`, `observed`, `null` (both averages), `difference`, `low` and `high`.
    """
    by = list(by)
    drawn = draws_of(rows, nulls).groupby([*by, "draw"], dropna=False)[null].mean()
    observed = rows.groupby(by, dropna=False)["observed"].mean()
    draws = drawn.groupby(by, dropna=False).agg(["mean", "std", "count"])
    # On columns: an index with the empty layer of embedding and head matches nothing.
    table = observed.reset_index().merge(draws.reset_index(), on=by, how="left", validate="1:1")
    table = table.rename(columns={"mean": "null"})
    table["difference"] = table["observed"] - table["null"]
    count = table["count"]
    deviation = table["std"] * np.sqrt(1 + 1 / count)
    half = stdtrit(count - 1, (1 + level) / 2) * deviation
    table["low"], table["high"] = table["difference"] - half, table["difference"] + half
    return table[[*by, "observed", "null", "difference", "low", "high"]]
