"""How differently two studies turn: drift beyond a null in one, minus that in the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from svdrift.findings.estimates import Z, over_seeds
from svdrift.findings.excess import ends_of_spectrum
from svdrift.spectra.excess import NULL_NAMES, excess
from svdrift.spectra.moved import moved

Tables = tuple[pd.DataFrame, pd.DataFrame]  # drift and draws of its nulls, of one study
COLUMNS = ("pair", "null", "seed", "value_a", "value_b", "difference", "low", "high")


def rotation_differences(
    a: Tables, b: Tables, pairs: Mapping[str, tuple[str, str]]
) -> pd.DataFrame:
    """Rotation of the leading directions beyond each null, study a minus study b, in degrees.

    Args:
        a, b: drift of both studies and its nulls, with `pair` and the same seeds.
        pairs: what a pair of checkpoints is called -> its name in a and in b.

    Returns:
        A row for each pair, null that both drew, and seed, and where there are several seeds one
        without a `seed` for their mean. Columns: `pair`, `null`, `seed`, `value_a`, `value_b`
        (means over the matrices inside the layers and both sides, minus those of the null),
        `difference`, `low` and `high` (95 %: of one seed over draws of both nulls, as independent;
        over seeds as everywhere). Pairs of which nothing moved in either study have no rows.
    """
    rows = []
    for name, (pair_a, pair_b) in pairs.items():
        leading = [_leading(drift, pair) for (drift, _), pair in ((a, pair_a), (b, pair_b))]
        if any(part.empty for part in leading):
            continue
        for null in NULL_NAMES:
            if null not in a[1] or null not in b[1]:
                continue
            one, two = (
                excess(part, nulls, null, ["seed"]).set_index("seed")
                for part, (_, nulls) in zip(leading, (a, b), strict=True)
            )
            rows += [{"pair": name, "null": null, **row} for row in _minus(one, two)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _leading(drift: pd.DataFrame, pair: str) -> pd.DataFrame:
    rows = moved(drift[(drift["pair"] == pair) & drift["layer"].notna()])
    return ends_of_spectrum(rows)["top"] if len(rows) else rows


def _minus(a: pd.DataFrame, b: pd.DataFrame) -> list[dict[str, float]]:
    """Rows of each seed, and of their mean, from tables of `excess` by seed."""
    differences = a["difference"] - b["difference"]
    half_a, half_b = ((table["high"] - table["low"]) / 2 for table in (a, b))
    halves = np.hypot(half_a, half_b)
    found = [
        {
            "seed": seed,
            "value_a": a.loc[seed, "difference"],
            "value_b": b.loc[seed, "difference"],
            "difference": differences[seed],
            "low": differences[seed] - halves[seed],
            "high": differences[seed] + halves[seed],
        }
        for seed in differences.index
    ]
    if len(found) > 1:
        mean = over_seeds(
            differences, np.asarray(halves) / Z, n=len(found), counted="matrices", within=""
        )
        found.append(
            {
                "seed": np.nan,
                "value_a": a["difference"].mean(),
                "value_b": b["difference"].mean(),
                "difference": mean.estimate,
                "low": mean.low,
                "high": mean.high,
            }
        )
    return found
