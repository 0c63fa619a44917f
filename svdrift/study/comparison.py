"""Two finished studies compared: settings, accuracies, repairs and rotation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd

from svdrift.errors import UserError
from svdrift.evaluation.studies import (
    Parts,
    counterparts,
    parts_of,
    same_problems,
    study_differences,
)
from svdrift.findings.drift_between import rotation_differences
from svdrift.study.differences import Difference, differences
from svdrift.study.finished import Finished, same_weights

REPAIRED = ("checkpoint", "repair", "intervention", "split", "role", "shift")
SHARES = ("recovered", "recovered_low", "recovered_high")
Both = tuple[Finished, Finished]  # the study and its reference
Same = Callable[[str, str, int], bool]  # whether two checkpoints have the same weights for a seed


@dataclass(frozen=True)
class Comparison:
    """A study minus a reference, for the seeds that both have.

    Attributes:
        study, reference: their names.
        settings: at which they differ, the study's value first.
        accuracy: of `study_differences`.
        recovery: the same of repaired models, with `repair`, `intervention`, and the share of the
            target's loss that came back in the study (`recovered_a`, `recovered_a_low`, …) and in
            the reference (`recovered_b`, …).
        rotation: of `rotation_differences`.
        left_out: what is in none of these tables because it cannot differ: checkpoints, repairs and
            pairs of the same weights in both, which solved the same problems.
    """

    study: str
    reference: str
    settings: list[Difference]
    accuracy: pd.DataFrame
    recovery: pd.DataFrame
    rotation: pd.DataFrame
    left_out: Mapping[str, list[str]]


def compare(study: Finished, reference: Finished) -> Comparison:
    """Study minus reference wherever both have the same checkpoint, repair or pair.

    Only test splits that both have are compared.

    Raises: UserError if they have no seed or no test split in common, or files are missing.
    """
    both = (study, reference)
    seeds = sorted(set(study.accuracy["seed"]) & set(reference.accuracy["seed"]))
    if not seeds:
        raise UserError(f"{study.name} and {reference.name} have no seed in common")
    paired = _paired(both, seeds)
    parts = parts_of(study.story), parts_of(reference.story)

    @cache
    def same(ours: str, theirs: str, seed: int) -> bool:
        return same_weights(study.model(seed, ours), reference.model(seed, theirs))

    accuracy = study_differences(study.episodes(seeds), reference.episodes(seeds), paired, parts)
    ids = [list(one.accuracy["checkpoint"].unique()) for one in both]
    names = counterparts(ids[0], ids[1], parts)
    fixed = {name for name, ids in names.items() if all(same(*ids, seed) for seed in seeds)}
    recovery, fixed_repairs = _recovery(both, seeds, paired, same)
    rotation, fixed_pairs = _rotation(both, seeds, parts, same)
    accuracy, left = _without(accuracy, fixed)
    recovery, left_repairs = _without(recovery, fixed_repairs)
    return Comparison(
        study.name,
        reference.name,
        differences(study.configuration, reference.configuration),
        accuracy,
        recovery,
        rotation,
        {"checkpoints": left, "repairs": left_repairs, "pairs": fixed_pairs},
    )


def _paired(both: Both, seeds: Iterable[int]) -> dict[str, bool]:
    """Test splits of both studies, and whether they pose the same problems for every seed."""
    tests = [
        list(one.accuracy.loc[one.accuracy["role"] == "test", "split"].unique()) for one in both
    ]
    splits = [split for split in tests[0] if split in tests[1]]
    if not splits:
        raise UserError(f"{both[0].name} and {both[1].name} have no test split in common")
    return {
        split: all(same_problems(*(one.problems(seed, split) for one in both)) for seed in seeds)
        for split in splits
    }


def _without(rows: pd.DataFrame, fixed: set[str]) -> tuple[pd.DataFrame, list[str]]:
    """The rows that can differ, and the names of `checkpoint` that are left without any."""
    if rows.empty:
        return rows, []
    kept = rows[~(rows["checkpoint"].isin(fixed) & rows["alike"])]
    gone = [name for name in rows["checkpoint"].unique() if name not in set(kept["checkpoint"])]
    return kept.reset_index(drop=True), gone


def _recovery(
    both: Both, seeds: Sequence[int], paired: Mapping[str, bool], same: Same
) -> tuple[pd.DataFrame, set[str]]:
    """Rows of repaired models, and the repairs that are made of the same weights in both."""
    ours, theirs = (
        table.assign(checkpoint=table["repair"] + ": " + table["intervention"])
        if len(table := one.recovered(seeds))
        else table
        for one in both
    )
    if ours.empty or theirs.empty:
        return pd.DataFrame(), set()
    rows = study_differences(ours, theirs, paired, place=REPAIRED)
    for letter, one in zip("ab", both, strict=True):
        effect = one.table("recovery_effect")
        if set(effect["seed"].dropna()) > set(seeds):  # its mean is over others, too
            effect = effect[effect["seed"].notna()]
        shares = effect[["repair", "intervention", "split", "seed", *SHARES]]
        named = {share: share.replace("recovered", f"recovered_{letter}") for share in SHARES}
        rows = rows.merge(
            shares.rename(columns=named), on=["repair", "intervention", "split", "seed"], how="left"
        )
    ends = ["checkpoint", "seed", "target", "anchor"]
    made = (
        ours[ends]
        .drop_duplicates()
        .merge(theirs[ends].drop_duplicates(), on=["checkpoint", "seed"], suffixes=("", "_b"))
    )
    unchanged = [
        same(target, target_b, seed) and same(anchor, anchor_b, seed)
        for seed, target, target_b, anchor, anchor_b in zip(
            *(made[name] for name in ("seed", "target", "target_b", "anchor", "anchor_b")),
            strict=True,
        )
    ]
    fixed = made.assign(same=unchanged).groupby("checkpoint")["same"].all()
    return rows, set(fixed[fixed].index)


def _rotation(
    both: Both, seeds: Sequence[int], parts: Parts, same: Same
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of pairs, and the pairs that have no row because both ends are the same in both."""
    tables = []
    for one in both:
        drift, nulls = (one.table(name) for name in ("drift", "nulls"))
        if drift.empty or nulls.empty:
            return rotation_differences((drift, nulls), (drift, nulls), {}), []
        tables.append((drift[drift["seed"].isin(seeds)], nulls[nulls["seed"].isin(seeds)]))
    ends = [
        {
            (pair, seed): (before, after)
            for pair, seed, before, after in zip(
                *(drift[name] for name in ("pair", "seed", "before", "after")), strict=True
            )
        }
        for drift, _ in tables
    ]
    called = [
        {pair: own[after] for (pair, _), (_, after) in end.items() if after in own}
        for end, own in zip(ends, parts, strict=True)
    ]
    ids = [list(dict.fromkeys(pair for pair, _ in end)) for end in ends]
    pairs = counterparts(ids[0], ids[1], (called[0], called[1]))
    fixed = [
        name
        for name, (ours, theirs) in pairs.items()
        if all(
            same(a, b, seed)
            for seed in seeds
            for a, b in zip(ends[0][ours, seed], ends[1][theirs, seed], strict=True)
        )
    ]
    left = {name: names for name, names in pairs.items() if name not in fixed}
    return rotation_differences(tables[0], tables[1], left), fixed
