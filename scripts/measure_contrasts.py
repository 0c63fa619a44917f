"""Measure the differences that the claims are about: forgetting, RL's window, equal cost.

Reads episodes of checkpoints (under evaluation/) and of repaired ones (under recovery/).
"""

import argparse
from pathlib import Path

import pandas as pd

from svdrift.evaluation.contrasts import (
    SPLITS,
    Played,
    Study,
    equal_id,
    forgetting,
    restored,
    window,
)
from svdrift.scripting import run
from svdrift.tables import join_tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, nargs="+", required=True, help="parquet tables")
    parser.add_argument("--anchors", type=Path, required=True, help="table of OOD peaks (parquet)")
    parser.add_argument("--last", required=True, help="id of the last SFT checkpoint")
    parser.add_argument("--method", default="ppo", help="of RL: ppo or grpo (default: ppo)")
    parser.add_argument("--starts", type=int, nargs="*", default=[], help="SFT steps of RL")
    parser.add_argument("--moderate", type=int, help="the start that others are compared with")
    parser.add_argument(
        "--others", type=int, nargs="*", default=[], help="starts to compare with --moderate"
    )
    parser.add_argument("--intervention", help="id of a repair to compare at equal cost")
    parser.add_argument(
        "--path", nargs="*", default=[], metavar="WEIGHT=ID", help="with these interpolations"
    )
    parser.add_argument("--out", type=Path, required=True, help="out: differences (parquet)")
    args = parser.parse_args()

    episodes = join_tables(args.episodes)
    anchors = pd.read_parquet(args.anchors).set_index("seed")["checkpoint"]
    study = by_seed(episodes, anchors, args.last)
    tables = [forgetting(study)]
    tables += [restored(study, args.method, start) for start in args.starts]
    tables += [window(study, args.method, args.moderate, other) for other in args.others]
    if args.intervention:
        path = {float(weight): name for weight, name in (item.split("=", 1) for item in args.path)}
        tables.append(equal_id(study, args.intervention, path))
    pd.concat(tables, ignore_index=True).to_parquet(args.out, index=False)


def by_seed(episodes: pd.DataFrame, anchors: pd.Series, last: str) -> Study:
    """First tries on the test splits, by seed, name (checkpoint or intervention) and split."""
    first = episodes[(episodes["try_number"] == 1) & episodes["split"].isin(SPLITS)]
    if "intervention" in first:  # a repaired checkpoint goes by its intervention's name
        first = first.assign(checkpoint=first["checkpoint"].fillna(first["intervention"]))
    return {
        seed: Played(
            anchors[seed],
            last,
            {
                (str(name), str(split)): part
                for (name, split), part in own.groupby(["checkpoint", "split"])
            },
        )
        for seed, own in ((int(seed), first[first["seed"] == seed]) for seed in anchors.index)
    }


if __name__ == "__main__":
    run(main)
