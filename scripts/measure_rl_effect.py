"""Compare RL's result with each control from the same start, on the same hands."""

import argparse
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pandas as pd

from svdrift.evaluation.accuracy import by_subset
from svdrift.evaluation.comparisons import (
    paired_difference_over_seeds,
    paired_difference_table,
)
from svdrift.scripting import run
from svdrift.tables import join_tables

SPLITS = ["id_test", "ood_test"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--episodes", type=Path, nargs="+", required=True, help="of starts, RL and controls"
    )
    parser.add_argument("--method", required=True, help="of RL: ppo or grpo")
    parser.add_argument("--out", type=Path, required=True, help="table of differences (parquet)")
    args = parser.parse_args()

    episodes = join_tables(args.episodes)
    measure_effects(episodes[episodes["split"].isin(SPLITS)], args.method).to_parquet(
        args.out, index=False
    )


def measure_effects(episodes: pd.DataFrame, method: str) -> pd.DataFrame:
    """One row per start, control, split and subset of hands: of each seed, and over all seeds.

    The start itself counts as the control `sft`. Rows over all seeds, where there are several,
    have no `seed`.
    """
    ends = episodes[episodes["update"].isna()]
    starts = sorted(ends.loc[ends["run"] == method, "sft_step"].unique())
    controls = [name for name in ends["run"].unique() if name != method]
    rows = []
    for start, control in product(starts, controls):
        ours = ends[(ends["run"] == method) & (ends["sft_step"] == start)]
        theirs = ends[(ends["run"] == control) & (ends["sft_step"] == start)]
        if theirs.empty:  # this control was not started here
            continue
        tables = []
        for seed, a in ours.groupby("seed"):
            table = paired_difference_table(a, theirs[theirs["seed"] == seed])
            tables.append(table.assign(seed=seed))
        if len(tables) > 1:
            tables.append(_over_seeds(ours, theirs))
        rows.append(pd.concat(tables).assign(run=method, sft_step=start, control=control))
    return pd.concat(rows, ignore_index=True)


def _over_seeds(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for split in SPLITS:
        parts = by_subset(theirs[theirs["split"] == split])
        whole = ours[ours["split"] == split]
        for subset, part in by_subset(whole).items():
            multisets = part.groupby("seed")["multiset"].nunique()
            proper = subset == "all" or len(part) < len(whole)
            if proper and len(multisets) > 1 and multisets.min() > 1:
                result = paired_difference_over_seeds(part, parts[subset])
                rows.append({"split": split, "subset": subset, **asdict(result)})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    run(main)
