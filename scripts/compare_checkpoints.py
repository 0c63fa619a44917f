"""Compare pairs of checkpoints, paired on the same test problems."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from svdrift.checkpoints import Checkpoint
from svdrift.errors import UserError
from svdrift.evaluation.accuracy import by_subset
from svdrift.evaluation.comparisons import (
    paired_difference_over_seeds,
    paired_difference_table,
)
from svdrift.scripting import run, write_table
from svdrift.tables import join_tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pairs", type=json.loads, required=True, help="JSON list of [a, b], ids of checkpoints"
    )
    parser.add_argument(
        "--episodes", type=Path, nargs="+", required=True, help="of all these checkpoints"
    )
    parser.add_argument("--out", type=Path, required=True, help="table of differences (parquet)")
    args = parser.parse_args()

    episodes = join_tables(args.episodes)
    tests = episodes[episodes["role"] == "test"]
    write_table(compare(tests, args.pairs), args.out)


def compare(episodes: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """One row per pair, split and subset of problems: of each seed, and over all seeds.

    Rows over all seeds, where there are several, have no `seed`, and in `n` (problems) and `groups`
    sums over seeds. `start` is the checkpoint that a's stage started from.

    Raises:
        UserError: a checkpoint of a pair has no episodes.
    """
    of = dict(list(episodes.groupby("checkpoint")))
    rows = []
    for a, b in pairs:
        for missing in {a, b} - set(of):
            raise UserError(f"there are no episodes of {missing}")
        tables = []
        for seed, ours in of[a].groupby("seed"):
            theirs = of[b][of[b]["seed"] == seed]
            tables.append(paired_difference_table(ours, theirs).assign(seed=seed))
        if len(tables) > 1:
            tables.append(_over_seeds(of[a], of[b]))
        first, second = Checkpoint.parse(a), Checkpoint.parse(b)
        stages = {"stage_a": first.stage, "stage_b": second.stage}
        start = "" if first.start is None else str(first.start)
        rows.append(pd.concat(tables).assign(a=a, b=b, **stages, start=start))
    table = pd.concat(rows, ignore_index=True)
    names = ["seed", "a", "b", "stage_a", "stage_b", "start"]
    rest = [column for column in table if column not in [*names, "seeds"]]
    return table[[*names, *rest]]


def _over_seeds(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (split, role, shift), whole in ours.groupby(["split", "role", "shift"]):
        parts = by_subset(theirs[theirs["split"] == split])
        for subset, part in by_subset(whole).items():
            groups = part.groupby("seed")["group"].nunique()
            proper = subset == "all" or len(part) < len(whole)
            if proper and len(groups) > 1 and groups.min() > 1:
                result = paired_difference_over_seeds(part, parts[subset])
                place = {"split": split, "role": role, "shift": shift, "subset": subset}
                rows.append(place | asdict(result))
    return pd.DataFrame(rows)


if __name__ == "__main__":
    run(main)
