"""The only arithmetic of the figures: which rows are shown, and their means over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

SHARE = (0.0, 1.0)
ANY = (-np.inf, np.inf)

FIRST_TRY = "solved_first_try"  # the measure of accuracy that figures show


def average(
    table: pd.DataFrame, by: Sequence[str], bounds: tuple[float, float] = SHARE
) -> pd.DataFrame:
    """The mean of `value` at each place `by`, with `n` summed and `low` and `high` combined.

    The interval of a mean combines the half-widths as independent errors, and ends at `bounds`,
    beyond which no value lies. Columns as in `summary`.
    """
    squared = table.copy()
    for side in ("low", "high"):
        if side in table:
            squared[side] = (table[side] - table["value"]) ** 2
    grouped = squared.groupby(list(by), sort=True, dropna=False)
    mean = grouped["value"].mean().to_frame()
    for side, sign in (("low", -1), ("high", 1)):
        if side in table:
            spread = np.sqrt(grouped[side].sum(min_count=1)) / grouped.size()
            mean[side] = (mean["value"] + sign * spread).clip(*bounds)
    if "n" in table:
        mean["n"] = grouped["n"].sum()
    return mean.reset_index()


def summary(
    table: pd.DataFrame, by: Sequence[str], bounds: tuple[float, float] = SHARE
) -> pd.DataFrame:
    """Rows of every seed, and rows with `seed` = "mean" of the mean over seeds.

    `table` holds `seed`, the columns `by`, `value`, and where known `n`, `low`, `high`. The
    interval of a mean (see `average`) speaks of these seeds and new hands, while the spread between
    seeds is for the eye. Raises `ValueError` where a seed has two values for one place.
    """
    optional = [c for c in ("n", "low", "high") if c in table]
    rows = table[[*by, "seed", *optional, "value"]]
    if rows.duplicated([*by, "seed"]).any():
        raise ValueError(f"two values of one seed at the same {', '.join(by)}")
    mean = average(rows, by, bounds).assign(seed="mean")
    return pd.concat([rows.assign(seed=rows["seed"].astype(str)), mean], ignore_index=True)


def rl_run(table: pd.DataFrame) -> str:
    """The method of RL that a study's table holds, `ppo` or `grpo`; a study has one."""
    (run,) = set(table["run"]) & {"ppo", "grpo"}
    return str(run)


def main_pair(moved: pd.DataFrame) -> str:
    """The pair that figures of spectra show: anchor to last, else base to last, else any.

    Of rows that moved: where the anchor is the last checkpoint itself there is nothing to show.
    """
    steps = moved["pair"].str.extract(r"^base-to-sft-(\d+)$")[0].dropna().astype(int)
    return order(moved["pair"], ["anchor-to-last", f"base-to-sft-{steps.max()}"])[0]


def main_repair(recovery: pd.DataFrame) -> str:
    """The repair that figures of recovery show in detail: last with anchor, else any."""
    return order(recovery["repair"], ["last-with-anchor"])[0]


def spectral_pairs(moved: pd.DataFrame) -> list[str]:
    """The main pair, and where it was measured base to the last SFT step."""
    steps = moved["pair"].str.extract(r"^base-to-sft-(\d+)$")[0].dropna().astype(int)
    pairs = [main_pair(moved)] + ([f"base-to-sft-{steps.max()}"] if len(steps) else [])
    return list(dict.fromkeys(pairs))


def moved(drift: pd.DataFrame) -> pd.DataFrame:
    """The rows of matrices that the update of their pair changed at all; frozen ones stay out."""
    key = ["pair", "seed", "layer", "module"]
    norms = drift[drift["measure"] == "update_norm"]
    return drift.merge(norms.loc[norms["observed"] > 0, key], on=key)


def beside_nulls(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Long form of drift: `series` (observed, isotropic, random, minus_isotropic) and `value`.

    Means over layers within each seed, then a `summary`; `minus_isotropic` alone has `low` and
    `high`, whose errors are independent between matrices (each has its own draws of the null).
    """
    parts = [
        rows.assign(series=name, value=rows[name])
        for name in ("observed", "isotropic", "random", "minus_isotropic")
    ]
    parts[-1] = parts[-1].assign(low=rows["minus_isotropic_low"], high=rows["minus_isotropic_high"])
    keys = ["series", *by]
    return summary(average(pd.concat(parts), [*keys, "seed"], ANY), keys, ANY)


def accuracies(
    table: pd.DataFrame,
    splits: Sequence[str],
    runs: Sequence[str],
    subsets: Sequence[str] = ("all",),
    measure: str = FIRST_TRY,
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
    return [v for v in dict.fromkeys(known) if v in present] + sorted(present - set(known))


def recoveries(recovery: pd.DataFrame, splits: Sequence[str]) -> pd.DataFrame:
    """The wanted rows of a recovery table: whole splits, variants as well as target and anchor."""
    return recovery[
        (recovery["measure"] == FIRST_TRY)
        & recovery["split"].isin(splits)
        & (recovery["subset"] == "all")
    ]


def whole_depth(recovery: pd.DataFrame) -> pd.DataFrame:
    """Rows of variants that act on all layers and modules, to the letter of their definition."""
    return recovery[
        (recovery["layers_start"] == 0)
        & (recovery["layers_stop"] == 1)
        & (recovery["modules"] == "all")
        & recovery["embedding_and_head"].eq(True)
        & recovery["full_rank_reset"].eq(False)
        & (recovery["draw"] == 0)
    ]
