"""Tables of recovery: accuracies of every variant, what each regained or lost, and what it solved.

Reads tables of variants (under recovery/) and of the checkpoints that they were made from (under
evaluation/), which their paths distinguish.
"""

import argparse
import math
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from svdrift.evaluation.comparisons import (
    Triple,
    gains_and_losses,
    paired_difference,
    paired_difference_over_seeds,
    share_over_clusters,
    share_p,
)
from svdrift.scripting import run, write_table
from svdrift.tables import join_tables

REPAIR = ["repair", "target", "anchor"]  # the last two are ids, and may differ between seeds
LABELS = [*REPAIR, "intervention", "kind"]  # of variants
PLACE = ["checkpoint", "stage", "step", "start"]  # of checkpoints
SPLIT = ["split", "role", "shift"]
KEY = ["seed", "repair", "intervention"]
BOUNDS = (10, 70)  # % of a loss: next to nothing, and what was published for directions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accuracy", type=Path, nargs="+", required=True, help="accuracies")
    parser.add_argument("--episodes", type=Path, nargs="+", required=True, help="episodes")
    parser.add_argument("--recovery", type=Path, required=True, help="out: accuracies (parquet)")
    parser.add_argument("--effect", type=Path, required=True, help="out: differences (parquet)")
    parser.add_argument("--solved", type=Path, required=True, help="out: each problem (parquet)")
    args = parser.parse_args()

    write_table(recovery_table(*split(join_tables(args.accuracy))), args.recovery)
    played = split(join_tables(args.episodes))
    write_table(measure_effects(*played), args.effect)
    write_table(solved_table(*played), args.solved)


def split(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of variants and rows of checkpoints, out of one table of both."""
    variant = table["repair"].notna()
    return table[variant].drop(columns=PLACE), table[~variant].drop(columns=LABELS)


def recovery_table(variants: pd.DataFrame, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Accuracies of variants, and beside them those of each repair's target and anchor.

    The latter have `target` or `anchor` as their intervention, and none of its columns. Only
    splits and measures of the variants.
    """
    tables = [variants]
    kept = ["checkpoint", *checkpoints.columns.intersection(variants.columns)]
    alike = variants[[*SPLIT, "measure"]].drop_duplicates()
    repairs = variants[["seed", *REPAIR]].drop_duplicates()
    for name in ("target", "anchor"):
        own = repairs.assign(checkpoint=repairs[name], intervention=name)
        own = own.merge(checkpoints[kept], on=["seed", "checkpoint"])
        tables.append(own.merge(alike, on=[*SPLIT, "measure"]).drop(columns="checkpoint"))
    return pd.concat(tables, ignore_index=True)


def solved_table(variants: pd.DataFrame, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Whether each variant solved each problem at the first try, and its target and anchor beside.

    Columns: `seed`, `repair`, `intervention` (its id, or `target`, `anchor`), `kind` (none for
    those two), `split`, `role`, `shift`, `group`, `problem`, `solved`. Only splits of the variants.
    """
    columns = [*KEY, "kind", *SPLIT, "group", "problem", "solved"]
    tables = [variants[columns]]
    first = checkpoints[checkpoints["try_number"] == 1]
    first = first[first["split"].isin(variants["split"])]
    repairs = variants[["seed", *REPAIR]].drop_duplicates()
    for name in ("target", "anchor"):
        own = repairs.assign(checkpoint=repairs[name], intervention=name, kind=None)
        own = own.merge(first, on=["seed", "checkpoint"], suffixes=("", "_of_none"))
        tables.append(own[columns])
    return pd.concat(tables, ignore_index=True)


def measure_effects(variants: pd.DataFrame, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """One row per repair, intervention and split: of each seed, and over all seeds.

    `difference` is the variant minus its target, paired on the same problems; `recovered` the share
    of the target's loss against the anchor that it makes up for (`recovered_share`, empty where
    there is no clear loss); `p_at_10` and `p_at_70` are p-values that this share is 10 or 70 %
    (`share_p`). First tries only. Rows over all seeds, where there are several, have no `seed`,
    and in `n` (problems) and `groups` sums over seeds.
    """
    checkpoints = checkpoints[checkpoints["try_number"] == 1]
    own = {key: part for key, part in checkpoints.groupby(["seed", "checkpoint", "split"])}
    rows = []
    for key, all_seeds in variants.groupby(["repair", "intervention", *SPLIT], sort=False):
        labels = {"kind": all_seeds["kind"].iloc[0]} | dict(
            zip(["repair", "intervention", *SPLIT], key, strict=True)
        )
        triples = []
        for seed, played in all_seeds.groupby("seed"):
            target, anchor = played["target"].iloc[0], played["anchor"].iloc[0]
            variant = played.assign(checkpoint=played["intervention"])
            triples.append((variant, own[seed, target, key[2]], own[seed, anchor, key[2]]))
            rows.append(
                {
                    **labels,
                    "seed": seed,
                    "target": target,
                    "anchor": anchor,
                    **asdict(paired_difference(*triples[-1][:2])),
                    **_recovered(triples[-1:]),
                }
            )
        if len(triples) > 1:
            variant, target = (pd.concat(tables) for tables in list(zip(*triples, strict=True))[:2])
            both = paired_difference_over_seeds(variant, target)
            rows.append({**labels, "seed": math.nan, **asdict(both), **_recovered(triples)})
    return pd.DataFrame(rows)


def _recovered(triples: list[Triple]) -> dict[str, float]:
    clusters = gains_and_losses(triples)
    share = share_over_clusters(clusters)
    return {
        "recovered": share.recovered,
        "recovered_low": share.low,
        "recovered_high": share.high,
        **{f"p_at_{bound}": share_p(clusters, bound / 100) for bound in BOUNDS},
    }


if __name__ == "__main__":
    run(main)
