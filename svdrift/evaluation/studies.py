"""Differences between two studies, checkpoint by checkpoint.

Where both played the same hands the comparison is paired (`svdrift.evaluation.comparisons`). Where
hands differ, as after a change of the task's settings, it is one of two independent samples.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from svdrift.evaluation.accuracy import hands_of
from svdrift.evaluation.comparisons import (
    PairedDifference,
    SeedsDifference,
    Solved,
    cluster_bootstrap_error,
    half_width_over_seeds,
    paired_difference,
    paired_difference_over_seeds,
)

HAND = ["hand_id", "cards", "numbers", "target"]  # all that the player and the verifier go by
_RL_RESULT = re.compile(r"(demonstrated-)?(?:ppo|grpo)-from-(\d+)")


@dataclass(frozen=True)
class UnpairedDifference:
    """Solved share of a minus that of b, on different hands; `low` and `high` are 95 %."""

    n: int  # of a
    n_b: int
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    error: float  # standard error of the difference


Difference = PairedDifference | SeedsDifference | UnpairedDifference
FIELDS = ("n", "value_a", "value_b", "difference", "low", "high")


def same_hands(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables of one split hold the same hands under the same values, in order."""
    return a[HAND].equals(b[HAND])


def unpaired_difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    measure: Solved = "solved_first_try",
    resamples: int = 2000,
    seed: int = 0,
) -> UnpairedDifference:
    """Compare two checkpoints on different hands; `a` and `b` are episode tables of one each.

    The standard errors of both shares, each by resampling its multisets, add up as independent;
    t has the freedom of the smaller sample. Multisets that occur in both make this too wide.

    Raises `ValueError` where either has but one multiset.
    """
    rng = np.random.default_rng(seed)
    one, two = (_share(table, measure, resamples, rng) for table in (a, b))
    difference, error = one.value - two.value, math.hypot(one.error, two.error)
    half = float(stats.t.isf(0.025, min(one.clusters, two.clusters) - 1)) * error
    return UnpairedDifference(
        n=one.n,
        n_b=two.n,
        value_a=one.value,
        value_b=two.value,
        difference=difference,
        low=max(difference - half, -1.0),
        high=min(difference + half, 1.0),
        error=error,
    )


class _Share(NamedTuple):
    value: float
    error: float
    n: int
    clusters: int


def _share(
    episodes: pd.DataFrame, measure: Solved, resamples: int, rng: np.random.Generator
) -> _Share:
    solved = hands_of(episodes).groupby("multiset")[measure]
    sums = np.asarray(solved.sum(), dtype=float)
    sizes = np.asarray(solved.size(), dtype=float)
    if len(sums) < 2:
        raise ValueError("an interval needs hands of at least two multisets")
    error = cluster_bootstrap_error(sums, sizes, resamples, rng)
    return _Share(float(sums.sum() / sizes.sum()), error, int(sizes.sum()), len(sums))


def matching(checkpoint: str) -> str:
    """The name by which a checkpoint finds its like in another study.

    That is its id, but for results of RL: `rl-from-64` is that of either method.
    """
    match = _RL_RESULT.fullmatch(checkpoint)
    return f"{match[1] or ''}rl-from-{match[2]}" if match else checkpoint


def study_differences(a: pd.DataFrame, b: pd.DataFrame, paired: Mapping[str, bool]) -> pd.DataFrame:
    """Study a minus study b at every checkpoint that both have, on every split in `paired`.

    Args:
        a, b: episode tables of all checkpoints, of the same seeds, with the labels of
            `svdrift.tables.join_tables`.
        paired: split -> whether both studies dealt it alike for every seed.

    Returns:
        A row for each checkpoint, split and seed, and where there are several seeds one without a
        `seed` for their mean. Columns: `checkpoint` (its id, or `matching` where ids differ),
        `run` and `sft_step` of a's, `split`, `seed`, `paired`, `n` (hands of a), `value_a`,
        `value_b`, `difference`, `low`, `high` (95 %).
    """
    a, b = (
        table[table["split"].isin(list(paired))].assign(matching=table["checkpoint"].map(matching))
        for table in (a, b)
    )
    theirs = dict(list(b.groupby(["matching", "split"])))
    rows: list[dict[str, object]] = []
    for (name, split), ours in a.groupby(["matching", "split"], sort=False):
        if (name, split) not in theirs:
            continue
        other = theirs[name, split]
        (id_a,), (id_b,) = ours["checkpoint"].unique(), other["checkpoint"].unique()
        labels = {
            "checkpoint": id_a if id_a == id_b else name,
            "run": ours["run"].iloc[0],
            "sft_step": ours["sft_step"].iloc[0],
            "split": split,
            "paired": paired[str(split)],
        }
        for seed, result in _differences(ours, other, paired[str(split)]):
            rows.append(
                {**labels, "seed": seed, **{name: getattr(result, name) for name in FIELDS}}
            )
    return pd.DataFrame(rows)


def _differences(
    a: pd.DataFrame, b: pd.DataFrame, paired: bool
) -> Iterator[tuple[float, Difference]]:
    """The difference of each seed, and with the seed NaN that over several."""
    seeds = sorted(a["seed"].unique())
    parts = [(a[a["seed"] == seed], b[b["seed"] == seed]) for seed in seeds]
    if paired:
        yield from zip(seeds, (paired_difference(*part) for part in parts), strict=True)
        if len(seeds) > 1:
            yield np.nan, paired_difference_over_seeds(a, b)
    else:
        found = [unpaired_difference(*part) for part in parts]
        yield from zip(seeds, found, strict=True)
        if len(seeds) > 1:
            yield np.nan, _mean(found)


def _mean(found: Sequence[UnpairedDifference]) -> SeedsDifference:
    differences = np.array([one.difference for one in found])
    difference = float(differences.mean())
    half = half_width_over_seeds(differences, np.array([one.error for one in found]))
    return SeedsDifference(
        seeds=len(found),
        n=sum(one.n for one in found),
        value_a=float(np.mean([one.value_a for one in found])),
        value_b=float(np.mean([one.value_b for one in found])),
        difference=difference,
        low=max(difference - half, -1.0),
        high=min(difference + half, 1.0),
    )
