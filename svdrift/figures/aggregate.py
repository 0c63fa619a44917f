"""The only arithmetic of the figures: which rows are shown, and their means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from svdrift.checkpoints import ANCHOR, LAST, Checkpoint
from svdrift.spectra.excess import excess
from svdrift.story import Role, Story

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
    interval of a mean (see `average`) covers these seeds on new problems, not new seeds.

    Raises:
        ValueError: a seed has two values at one place.
    """
    optional = [c for c in ("n", "low", "high") if c in table]
    rows = table[[*by, "seed", *optional, "value"]]
    if rows.duplicated([*by, "seed"]).any():
        raise ValueError(f"two values of one seed at the same {', '.join(by)}")
    mean = average(rows, by, bounds).assign(seed="mean")
    return pd.concat([rows.assign(seed=rows["seed"].astype(str)), mean], ignore_index=True)


def of(table: pd.DataFrame, role: str, *shifts: str) -> pd.DataFrame:
    """The rows of one role, of all its shifts or of those named."""
    rows = table[table["role"] == role]
    return rows[rows["shift"].isin(shifts)] if shifts else rows


def at(table: pd.DataFrame, checkpoints: Iterable[str]) -> pd.DataFrame:
    """The rows of the checkpoints.

    Raises:
        ValueError: the table lacks one of them.
    """
    wanted = list(dict.fromkeys(checkpoints))
    present = set(table["checkpoint"])
    if missing := [name for name in wanted if name not in present]:
        raise ValueError(f"no rows of checkpoint {', '.join(missing)}")
    return table[table["checkpoint"].isin(wanted)]


def first_tries(table: pd.DataFrame, measure: str = FIRST_TRY) -> pd.DataFrame:
    """The rows of one measure over whole splits, not over subsets of their problems."""
    return table[(table["measure"] == measure) & (table["subset"] == "all")]


def path_steps(story: Story) -> dict[str, int]:
    """Where each checkpoint of the path lies on its axis; its start lies at 0."""
    steps = {name: Checkpoint.parse(name).step for name in story.path}
    return steps | {story.base: 0}


def along(table: pd.DataFrame, story: Story) -> pd.DataFrame:
    """The rows of the story's path, `step` counted from its start."""
    rows = at(table, story.path)
    return rows.assign(step=rows["checkpoint"].map(path_steps(story)))


def start_step(story: Story, start: str) -> int:
    """Where a start of RL or of a control lies on the path.

    Raises:
        KeyError: it is not on the path.
    """
    steps = path_steps(story)
    if start not in steps:
        raise KeyError(f"{start}: not on the story's path ({', '.join(story.path)})")
    return steps[start]


def results(table: pd.DataFrame, role: Role, story: Story) -> pd.DataFrame:
    """The ends of a role's runs, at their start's `step` on the path."""
    rows = at(table, role.results.values())
    places = {end: start_step(story, start) for start, end in role.results.items()}
    return rows.assign(step=rows["checkpoint"].map(places))


def trajectories(table: pd.DataFrame, role: Role) -> pd.DataFrame:
    """What a role's runs keep, one after another, as `start` and `step`; the start is step 0.

    Runs that keep only their end have no trajectory. Starts come in the role's order.
    """
    parts = []
    for start, kept in role.kept.items():
        if len(kept) > 1:
            steps = {start: 0} | {name: Checkpoint.parse(name).step for name in kept}
            rows = at(table, steps)
            parts.append(rows.assign(start=start, step=rows["checkpoint"].map(steps)))
    if not parts:
        raise ValueError(f"no run of stage {role.stage} keeps more than its end")
    return pd.concat(parts, ignore_index=True)


def main_pair(rows: pd.DataFrame, story: Story) -> str:
    """The pair that figures of spectra show: anchor to last, else base to last, else any.

    Of rows that moved: an anchor that is itself the last checkpoint leaves nothing to show.
    """
    return order(rows["pair"], [f"{ANCHOR}-to-{LAST}", whole_path(story)])[0]


def whole_path(story: Story) -> str:
    """The pair of the path's two ends."""
    return f"{story.base}-to-{story.last}"


def main_repair(recovery: pd.DataFrame) -> str:
    """The repair that figures of recovery show in detail: last with anchor, else any."""
    return order(recovery["repair"], [f"{LAST}-with-{ANCHOR}"])[0]


def spectral_pairs(rows: pd.DataFrame, story: Story) -> list[str]:
    """The main pair, and where it was measured the whole path."""
    known = [main_pair(rows, story), whole_path(story)]
    return [pair for pair in dict.fromkeys(known) if pair in set(rows["pair"])]


def beside_nulls(rows: pd.DataFrame, nulls: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Long form of drift: `series`, `value` and, of `minus_isotropic` alone, `low` and `high`.

    Series: observed, isotropic, inputs_kept (if drawn), random, minus_isotropic. Means over layers
    within each seed, then a `summary`. The interval is over draws of the mean.

    Args:
        rows: rows of drift.
        nulls: draws of the nulls.
        by: columns of `rows` that name a place.
    """
    names = [n for n in ("observed", "isotropic", "inputs_kept", "random") if n in rows]
    parts = [
        average(rows.assign(value=rows[n]), [*by, "seed"], ANY).assign(series=n) for n in names
    ]
    minus = excess(rows, nulls, "isotropic", [*by, "seed"]).rename(columns={"difference": "value"})
    parts.append(minus.drop(columns=["observed", "null"]).assign(series="minus_isotropic"))
    return summary(pd.concat(parts), ["series", *by], ANY)


def order(values: pd.Series, known: Sequence[str]) -> list[str]:
    """The distinct values, those in `known` first and in its order, then the others by name."""
    present = set(values)
    return [v for v in dict.fromkeys(known) if v in present] + sorted(present - set(known))


def whole_depth(recovery: pd.DataFrame) -> pd.DataFrame:
    """Rows of variants that act on all layers and modules as defined, without any option."""
    return recovery[
        (recovery["layers_start"] == 0)
        & (recovery["layers_stop"] == 1)
        & (recovery["modules"] == "all")
        & recovery["embedding_and_head"].eq(True)
        & recovery["full_rank_reset"].eq(False)
        & (recovery["draw"] == 0)
    ]
