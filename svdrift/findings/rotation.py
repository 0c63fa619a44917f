"""What the claim about singular values and vectors says: they stay, and turn."""

from __future__ import annotations

from typing import Any

import pandas as pd

from svdrift.checkpoints import ANCHOR, LAST
from svdrift.findings.excess import ends_of_spectrum, gap, mean, windows_of_spectrum
from svdrift.findings.finding import Finding, Statement, held
from svdrift.spectra.moved import moved

FORGOT = f"{ANCHOR}-to-{LAST}"  # the pair between which the path forgot
STABLE = 1.0  # %: relative change of singular values that still counts as none


def rotation(drift: pd.DataFrame) -> list[Finding]:
    """From the OOD peak to the path's end; means over all matrices inside the layers, unweighted.

    Args:
        drift: rows of `svdrift.spectra.drift.drift_rows` with `pair` and `seed`.
    """
    rows = moved(drift[(drift["pair"] == FORGOT) & drift["layer"].notna()])
    if rows.empty:
        return []
    values = rows[rows["measure"] == "value_change"]
    ends, windows = ends_of_spectrum(rows), windows_of_spectrum(rows)
    share = f"{100 * ends['top']['stop'].median():.0f} %"  # ranks are whole numbers
    by_rank, by_position = "rotation_by_rank", "rotation_by_position"
    found = held(
        [
            (
                _drifts(
                    "Singular values change by less than 1 % (norm of the change over their norm)",
                    "%", "below", STABLE, "0.3 to 0.4 %, mean over values", "spectrum_change",
                ),
                mean(values, "observed", 100, " %"),
            ),
            (
                _drifts(
                    "Singular values change no more than noise of the update's size would change "
                    "them",
                    "%", "below", 0.0, "no null", "spectrum_change",
                ),
                mean(values, "minus_isotropic", 100, " %"),
            ),
            (
                _drifts(
                    f"Directions of the largest {share} of singular values turn further than noise "
                    "of the update's size would turn them",
                    "degrees", "above", 0.0, "turn most; no null", by_rank,
                ),
                mean(ends["top"], "minus_isotropic", 1, "°"),
            ),
            (
                _drifts(
                    f"Directions of the smallest {share} turn further than noise would turn them",
                    "degrees", "above", 0.0, "turn most; no null", by_position,
                ),
                mean(ends["bottom"], "minus_isotropic", 1, "°"),
            ),
        ]
    )  # fmt: skip
    if not windows:
        return found
    middle = _drifts(
        "Directions in the middle half of the spectrum turn no further than noise would turn them",
        "degrees", "below", 0.0, "turns little; no null", by_position,
    )  # fmt: skip
    found += held([(middle, mean(windows["bulk"], "minus_isotropic", 1, "°"))])
    return found + held(
        (
            _drifts(
                f"Directions of the {name} singular values turn further than those in the middle, "
                "before subtracting the null",
                "degrees", "above", 0.0, "turn most at both ends", by_position,
            ),
            gap(windows[end], windows["bulk"]),
        )
        for end, name in (("head", "largest"), ("tail", "smallest"))
    )  # fmt: skip


def _drifts(
    statement: str, unit: Any, side: Any, bound: float, theirs: str, figure: str
) -> Statement:
    return Statement(
        claim="rotation",
        statement=statement,
        unit=unit,
        side=side,
        bound=bound,
        published=theirs,
        figure=f"figures/{figure}.png",
        table="tables/drift.parquet",
    )
