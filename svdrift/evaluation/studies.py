"""Differences between two studies, checkpoint by checkpoint.

Where both have the same problems the comparison is paired (`svdrift.evaluation.comparisons`).
Where problems differ, as after a change of the task's settings, it is one of two independent
samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from svdrift.evaluation.comparisons import (
    NONE,
    PairedDifference,
    SeedsDifference,
    Solved,
    half_width,
    half_width_over_seeds,
    p_over_seeds,
    p_value,
    paired_difference,
    paired_difference_over_seeds,
    weighted_sum,
)
from svdrift.story import Story


@dataclass(frozen=True)
class UnpairedDifference:
    """Solved share of a minus that of b, on different problems; `low` and `high` are 95 %.

    `p` (two-sided) is that the difference is 0.
    """

    n: int  # of a
    groups: int  # of a
    n_b: int
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p: float
    error: float  # standard error of the difference


Difference = PairedDifference | SeedsDifference | UnpairedDifference
FIELDS = ("n", "groups", "value_a", "value_b", "difference", "low", "high", "p")
PLACE = ("checkpoint", "stage", "step", "start", "split", "role", "shift")

Counterparts = dict[str, tuple[str, str]]  # name of a comparison -> ids in a and b
Parts = tuple[Mapping[str, str], Mapping[str, str]]  # of a and b: id -> part


def same_problems(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables of one split pose the same problems in the same order.

    Their labels (group, subsets) and the gold reply do not matter: neither the model nor the
    verifier goes by them.
    """
    one, two = (
        table.drop(columns=["group", "subsets", "gold"], errors="ignore") for table in (a, b)
    )
    return one.equals(two)


def unpaired_difference(
    a: pd.DataFrame, b: pd.DataFrame, measure: Solved = "solved_first_try"
) -> UnpairedDifference:
    """Compare two checkpoints on different problems; `a` and `b` are episode tables of one each.

    The standard errors of both shares, each over its groups, add up as independent; t has the
    freedom of the smaller sample. Groups that occur in both make this too wide. A share of which
    all groups agree, such as 0, has `svdrift.evaluation.accuracy.error_where_all_agree`.

    Raises `ValueError` where either has but one group.
    """
    one, two = (weighted_sum([(1.0, table)], measure) for table in (a, b))
    error = math.hypot(
        *(share.error if share.error > NONE else share.at_least for share in (one, two))
    )
    difference = one.value - two.value
    freedom = min(one.freedom, two.freedom)
    half = half_width(error, freedom)
    return UnpairedDifference(
        n=one.n,
        groups=one.groups,
        n_b=two.n,
        value_a=one.value,
        value_b=two.value,
        difference=difference,
        low=max(difference - half, -1.0),
        high=min(difference + half, 1.0),
        p=p_value(difference, error, freedom),
        error=error,
    )


def counterparts(a: Sequence[str], b: Sequence[str], parts: Parts = ({}, {})) -> Counterparts:
    """Which checkpoints of two studies are compared: those of one id, and those of one part.

    Args:
        a, b: ids of the studies' checkpoints.
        parts: of both studies, as in `parts_of`.

    Returns:
        Ids in a and b by what the comparison is called, in the order of a.
    """
    ours, theirs = parts
    found: Counterparts = {}
    for checkpoint in a:
        if checkpoint in b:
            found[checkpoint] = checkpoint, checkpoint
        part = ours.get(checkpoint)
        others = [other for other in b if part is not None and theirs.get(other) == part]
        found |= {str(part): (checkpoint, other) for other in others if other != checkpoint}
    return found


def parts_of(story: Story) -> dict[str, str]:
    """What ends of runs are in the story, whatever the method: id -> such as `RL from sft-64`."""
    roles = {role.stage: role for role in story.controls}
    roles |= {"RL": story.rl} if story.rl else {}
    return {
        end: f"{name} from {start}"
        for name, role in roles.items()
        for start, end in role.results.items()
    }


def study_differences(
    a: pd.DataFrame,
    b: pd.DataFrame,
    paired: Mapping[str, bool],
    parts: Parts = ({}, {}),
    place: Sequence[str] = PLACE,
) -> pd.DataFrame:
    """Study a minus study b at every checkpoint that both have, on every split in `paired`.

    Args:
        a, b: episode tables of all checkpoints, of the same seeds, with the labels of
            `svdrift.tables.join_tables`.
        paired: split -> whether both studies dealt it alike for every seed.
        parts: of both studies, as in `parts_of`.
        place: columns of a's that are kept; `checkpoint`, `split`, `role` and `shift` among them.

    Returns:
        A row for each checkpoint, split and seed, and where there are several seeds one without a
        `seed` for their mean. Columns: `checkpoint` (the id, or the part where ids differ),
        `stage`, `step`, `start` of a's, `split`, `role`, `shift`, `seed`, `paired`,
        `alike` (whether every try of all seeds came out alike), `n` (problems of a), `groups`
        (theirs), `value_a`, `value_b`, `difference`, `low`, `high` (95 %), `p`
        (two-sided, that the difference is 0). `n` and `groups` over seeds are sums.
    """
    mine, other = ({key: part for key, part in t.groupby(["checkpoint", "split"])} for t in (a, b))
    ids = [list(dict.fromkeys(table["checkpoint"])) for table in (a, b)]
    splits = [split for split in dict.fromkeys(a["split"]) if split in paired]
    rows: list[dict[str, object]] = []
    for name, (id_a, id_b) in counterparts(ids[0], ids[1], parts).items():
        for split in splits:
            if (id_a, split) not in mine or (id_b, split) not in other:
                continue
            ours, theirs = mine[id_a, split], other[id_b, split]
            labels = {column: ours[column].iloc[0] for column in place}
            labels |= {"checkpoint": name, "paired": paired[split]}
            alike = paired[split] and same_outcomes(ours, theirs)
            for seed, result in _differences(ours, theirs, paired[split]):
                numbers = {field: getattr(result, field) for field in FIELDS}
                rows.append({**labels, "seed": seed, "alike": alike, **numbers})
    return pd.DataFrame(rows, columns=[*place, "seed", "paired", "alike", *FIELDS])


def same_outcomes(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two episode tables have the same tries at the same problems, solved alike."""
    keys = ["seed", "split", "problem", "try_number"]
    one, two = (table[[*keys, "solved"]].sort_values(keys, ignore_index=True) for table in (a, b))
    return one.equals(two)


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
    errors = np.array([one.error for one in found])
    difference, half = float(differences.mean()), half_width_over_seeds(differences, errors)
    return SeedsDifference(
        seeds=len(found),
        n=sum(one.n for one in found),
        groups=sum(one.groups for one in found),
        value_a=float(np.mean([one.value_a for one in found])),
        value_b=float(np.mean([one.value_b for one in found])),
        difference=difference,
        low=max(difference - half, -1.0),
        high=min(difference + half, 1.0),
        p=p_over_seeds(differences, errors),
    )
