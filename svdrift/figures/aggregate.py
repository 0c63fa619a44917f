"""The only arithmetic of the figures: which rows are shown, and their means over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def summary(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Rows of every seed, and rows with `seed` = "mean" of the mean over seeds.

    `table` holds `seed`, the columns `by`, `value`, and where known `n`, `low`, `high`. The
    interval of a mean combines the seeds' half-widths as independent errors: it speaks of these
    seeds and new hands, while the spread between seeds is for the eye. `n` of a mean is the sum.
    Raises `ValueError` where a seed has two values for one place.
    """
    optional = [c for c in ("n", "low", "high") if c in table]
    rows = table[[*by, "seed", *optional, "value"]]
    if rows.duplicated([*by, "seed"]).any():
        raise ValueError(f"two values of one seed at the same {', '.join(by)}")
    squared = rows.copy()
    for side in ("low", "high"):
        if side in rows:
            squared[side] = (rows[side] - rows["value"]) ** 2
    grouped = squared.groupby(list(by), sort=True)
    mean = grouped["value"].mean().to_frame()
    for side, sign in (("low", -1), ("high", 1)):
        if side in rows:
            spread = np.sqrt(grouped[side].sum()) / grouped.size()
            mean[side] = (mean["value"] + sign * spread).clip(0, 1)
    if "n" in rows:
        mean["n"] = grouped["n"].sum()
    mean = mean.reset_index().assign(seed="mean")
    return pd.concat([rows.assign(seed=rows["seed"].astype(str)), mean], ignore_index=True)


def accuracies(
    table: pd.DataFrame,
    measure: str,
    splits: Sequence[str],
    runs: Sequence[str],
    subsets: Sequence[str] = ("all",),
) -> pd.DataFrame:
    """The wanted rows of an accuracy table; of each run only its end, which has no `update`."""
    return table[
        (table["measure"] == measure)
        & table["split"].isin(splits)
        & table["run"].isin(runs)
        & table["subset"].isin(subsets)
        & table["update"].isna()
    ]


def order(values: pd.Series, known: Sequence[str]) -> list[str]:
    """The distinct values, those in `known` first and in its order, then the others by name."""
    present = set(values)
    return [v for v in known if v in present] + sorted(present - set(known))
