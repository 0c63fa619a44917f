"""Estimates of drift: how far values and directions moved, and how much further than noise."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from svdrift.findings.estimates import Z, over_seeds
from svdrift.findings.finding import Estimate

Parts = dict[str, pd.DataFrame]


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


def mean(
    rows: pd.DataFrame, column: Literal["observed", "minus_isotropic"], scale: float, sign: str
) -> Estimate:
    """Mean of a column of drift over matrices and sides, unweighted; `sign` is its unit's."""
    value = _by_seed(rows, column) * scale
    if column == "observed":
        errors, within = np.zeros(len(value)), "exact within a seed"
    else:
        half = (rows[f"{column}_high"] - rows[f"{column}_low"]) / 2
        squares = half.pow(2).groupby(rows["seed"]).sum()
        errors = (np.sqrt(squares) / rows.groupby("seed").size()).to_numpy() * scale / Z
        within = "over draws of the noise within a seed"
    observed, noise = (_by_seed(rows, name).mean() * scale for name in ("observed", "isotropic"))
    return over_seeds(
        value,
        errors,
        n=_matrices(rows),
        counted="matrices",
        within=within,
        detail=f"{observed:.3g}{sign}, noise {noise:.3g}{sign}",
    )


def gap(rows: pd.DataFrame, middle: pd.DataFrame) -> Estimate:
    """Mean observed angle of some windows minus that of those in the middle."""
    one, two = (_by_seed(part, "observed") for part in (rows, middle))
    return over_seeds(
        one - two,
        np.zeros(len(one)),
        n=_matrices(rows),
        counted="matrices",
        within="exact within a seed",
        detail=f"{one.mean():.1f}° against {two.mean():.1f}° in the middle",
    )


def _by_seed(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    """Mean over matrices and sides of each seed."""
    return rows.groupby("seed")[column].mean()


def _matrices(rows: pd.DataFrame) -> int:
    """Number of matrices, over all seeds."""
    return len(rows[["seed", "layer", "module"]].drop_duplicates())
