"""Estimates of drift: how far values and directions moved, and how much further than a null."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from svdrift.findings.estimates import Z, over_seeds
from svdrift.findings.finding import Estimate
from svdrift.spectra.excess import NULL_NAMES, excess

Parts = dict[str, pd.DataFrame]
OF_THIS_MODEL = "exact; of this model"  # nothing was sampled, so there is no interval


def ends_of_spectrum(rows: pd.DataFrame) -> Parts:
    """`mean_angle` of the smallest share of ranks that was measured at the `top` and `bottom`."""
    angles = rows[rows["measure"] == "mean_angle"]
    ends = {}
    for region in ("top", "bottom"):
        part = angles[angles["region"] == region]
        size = (part["stop"] - part["start"]).round(9)
        least = size.groupby([part["module"], part["layer"]]).transform("min")
        ends[region] = part[size == least]
    return ends


def windows_of_spectrum(rows: pd.DataFrame) -> Parts:
    """`window_angle` at the `head`, in the middle half (`bulk`) and at the `tail`.

    Empty if there are too few windows for a middle between the ends.
    """
    windows = rows[rows["measure"] == "window_angle"]
    if windows["start"].nunique() < 3:
        return {}
    middle = (windows["start"] + windows["stop"]) / 2
    return {
        "head": windows[windows["start"] == 0],
        "bulk": windows[(middle > 0.25) & (middle < 0.75)],
        "tail": windows[windows["stop"] == 1],
    }


def observed(rows: pd.DataFrame, scale: float, sign: str) -> Estimate:
    """Mean of what was observed, over matrices and sides, unweighted; `sign` is its unit's."""
    noise = rows["isotropic"].mean() * scale
    return _exact(rows, _by_seed(rows) * scale, f"{NULL_NAMES['isotropic']}: {noise:.3g}{sign}")


def gap(rows: pd.DataFrame, middle: pd.DataFrame) -> Estimate:
    """Mean observed angle of some windows minus that of those in the middle."""
    one, two = _by_seed(rows), _by_seed(middle)
    return _exact(rows, one - two, f"{one.mean():.1f}° against {two.mean():.1f}° in the middle")


def beyond(
    rows: pd.DataFrame, nulls: pd.DataFrame, null: str, scale: float, sign: str, detail: str = ""
) -> Estimate | None:
    """Mean observed minus the mean of a null, over matrices and sides, unweighted.

    Of one seed the interval is a prediction interval over draws of the null
    (`svdrift.spectra.excess`); several seeds vary more than that by their own spread.

    Args:
        rows: rows of drift, with `seed`.
        nulls: draws of their nulls.
        null: the one to subtract; None is returned if it was not drawn.
        scale: a factor.
        sign: of the unit.
        detail: further numbers, to append.
    """
    if null not in nulls:
        return None
    found = excess(rows, nulls, null, ["seed"]).set_index("seed")
    draws = nulls["draw"].nunique()
    seen, drawn = (found[column].mean() * scale for column in ("observed", "null"))
    estimate = over_seeds(
        found["difference"] * scale,
        ((found["high"] - found["low"]) / 2 / Z * scale).to_numpy(),
        n=_matrices(rows),
        counted="matrices",
        within=f"prediction interval over {draws} draws of the null, sides averaged",
        detail=f"{seen:.3g}{sign}; {NULL_NAMES[null]}: {drawn:.3g}{sign}{detail}",
    )
    return estimate if len(found) > 1 else replace(estimate, freedom=float(draws - 1))


def energy_in(rows: pd.DataFrame, leading: pd.DataFrame) -> str:
    """How many times its even share of the update's energy lies in the leading directions.

    Args:
        rows: rows of drift, of which `energy_top` counts.
        leading: the leading directions, as rows of another measure.
    """
    place = ["seed", "layer", "module", "start", "stop"]
    energy = rows[rows["measure"] == "energy_top"]
    energy = energy.merge(leading[place].drop_duplicates(), on=place)
    means = energy.groupby("side")[["observed", "isotropic"]].mean()
    times = means["observed"] / means["isotropic"]
    return (
        f"; energy in them {times['left']:.1f} (U), {times['right']:.1f} (V) and "
        f"{times['both']:.1f} times (both) its even share"
    )


def _exact(rows: pd.DataFrame, values: pd.Series[float], detail: str) -> Estimate:
    """An estimate that each seed has exactly; one seed's has no interval."""
    several = len(values) > 1
    found = over_seeds(
        values,
        np.full(len(values), 0.0 if several else math.nan),
        n=_matrices(rows),
        counted="matrices",
        within="exact within a seed",
        detail=detail,
    )
    return found if several else replace(found, test=OF_THIS_MODEL)


def _by_seed(rows: pd.DataFrame) -> pd.Series[float]:
    """Mean over matrices and sides of each seed."""
    return rows.groupby("seed")["observed"].mean()


def _matrices(rows: pd.DataFrame) -> int:
    """Number of matrices, over all seeds."""
    return len(rows[["seed", "layer", "module"]].drop_duplicates())
