"""What the claim about singular values and vectors says: they stay, and turn."""

from __future__ import annotations

from typing import Any

import pandas as pd

from svdrift.checkpoints import ANCHOR, LAST
from svdrift.findings.excess import (
    beyond,
    ends_of_spectrum,
    energy_in,
    gap,
    observed,
    windows_of_spectrum,
)
from svdrift.findings.finding import Finding, Statement, held
from svdrift.spectra.moved import moved

FORGOT = f"{ANCHOR}-to-{LAST}"  # the pair between which the path forgot
STABLE = 1.0  # %: relative change of singular values that still counts as none


def rotation(drift: pd.DataFrame, nulls: pd.DataFrame) -> list[Finding]:
    """From the OOD peak to the path's end; means over all matrices inside the layers, unweighted.

    Args:
        drift: of `svdrift.spectra.drift.drift_tables`, with `pair` and `seed`.
        nulls: of the same, with the same; statements about a null that was not drawn are left out.
    """
    rows = moved(drift[(drift["pair"] == FORGOT) & drift["layer"].notna()])
    if rows.empty:
        return []
    values = rows[rows["measure"] == "value_change"]
    ends, windows = ends_of_spectrum(rows), windows_of_spectrum(rows)
    share = f"{100 * ends['top']['stop'].median():.0f} %"  # ranks are whole numbers
    leading = f"Directions of the largest {share} of singular values turn further than"
    by_rank, by_position = "rotation_by_rank", "rotation_by_position"
    most = "turn most; no null"
    found = held(
        [
            (
                _drifts(
                    "Singular values change by less than 1 % (norm of the change over their norm)",
                    "%", "below", STABLE, "0.3 to 0.4 %, mean over values", "spectrum_change",
                ),
                observed(values, 100, " %"),
            ),
            (
                _drifts(
                    "Singular values change no more than isotropic noise of the update's size "
                    "changes them",
                    "%", "below", 0.0, "no null", "spectrum_change",
                ),
                beyond(values, nulls, "isotropic", 100, " %"),
            ),
            (
                _drifts(
                    f"{leading} isotropic noise of the update's size turns them",
                    "degrees", "above", 0.0, most, by_rank,
                ),
                beyond(ends["top"], nulls, "isotropic", 1, "°"),
            ),
            (
                _drifts(
                    f"{leading} noise that keeps the update's inputs turns them",
                    "degrees", "above", 0.0, most, by_rank,
                ),
                beyond(ends["top"], nulls, "inputs_kept", 1, "°"),
            ),
            (
                _drifts(
                    f"{leading} the update turns them with its signs randomised (a coherent turn)",
                    "degrees", "above", 0.0, most, by_rank,
                ),
                beyond(
                    ends["top"], nulls, "signs_randomised", 1, "°", energy_in(rows, ends["top"])
                ),
            ),
            (
                _drifts(
                    f"Directions of the smallest {share} turn further than isotropic noise turns "
                    "them",
                    "degrees", "above", 0.0, most, by_position,
                ),
                beyond(ends["bottom"], nulls, "isotropic", 1, "°"),
            ),
        ]
    )  # fmt: skip
    if not windows:
        return found
    middle = _drifts(
        "Directions in the middle half of the spectrum turn no further than isotropic noise turns "
        "them",
        "degrees", "below", 0.0, "turns little; no null", by_position,
    )  # fmt: skip
    found += held([(middle, beyond(windows["bulk"], nulls, "isotropic", 1, "°"))])
    return found + held(
        (
            _drifts(
                f"Directions of the {name} singular values turn further than those in the middle, "
                "before subtracting a null",
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
