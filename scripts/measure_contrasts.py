"""Measure the differences that the claims are about: forgetting, RL's window, equal cost.

Reads episodes of checkpoints (under evaluation/) and of repaired ones (under recovery/).
"""

import argparse
from pathlib import Path

import pandas as pd

from svdrift.evaluation.contrasts import (
    NAMED,
    PLACES,
    SAME_SEED,
    SELECTION,
    Played,
    Study,
    equal_id,
    forgetting,
    restored,
    window,
)
from svdrift.scripting import read_table, run, write_table
from svdrift.story import Story
from svdrift.tables import join_tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, nargs="+", required=True, help="parquet tables")
    parser.add_argument("--anchors", type=Path, required=True, help="table of OOD peaks (parquet)")
    parser.add_argument(
        "--story", type=Story.model_validate_json, required=True, help="the study's story (JSON)"
    )
    parser.add_argument("--intervention", help="id of a repair to compare at equal cost")
    parser.add_argument(
        "--path", nargs="*", default=[], metavar="WEIGHT=ID", help="with these interpolations"
    )
    parser.add_argument("--out", type=Path, required=True, help="out: differences (parquet)")
    args = parser.parse_args()

    episodes = join_tables(args.episodes)
    anchors = read_table(args.anchors).set_index("seed")["checkpoint"]
    story: Story = args.story
    study = by_seed(episodes, anchors, story.last)
    tables = [forgetting(study, story.path, story.peak)]
    # The anchor is what the shares of a loss and the way of interpolation refer to.
    anchor = SAME_SEED if story.peak is None else NAMED
    if story.rl is not None and story.moderate is not None:
        moderate, results = story.moderate, story.rl.results
        tables.append(restored(study, moderate, results[moderate]).assign(reference=anchor))
        # The first control is the matched one that RL's gain is measured against.
        control = story.controls[0].results if story.controls else {}
        if moderate in control:
            tables += [
                window(study, moderate, other, results, control)
                for other in story.named_starts.values()
                if other != moderate and other in control
            ]
    if args.intervention:
        path = {float(weight): name for weight, name in (item.split("=", 1) for item in args.path)}
        tables.append(equal_id(study, args.intervention, path).assign(reference=anchor))
    write_table(pd.concat(tables, ignore_index=True), args.out)


def by_seed(episodes: pd.DataFrame, anchors: pd.Series, last: str) -> Study:
    """First tries, by seed, name (checkpoint or intervention) and place (role and shift)."""
    first = episodes[episodes["try_number"] == 1]
    if "intervention" in first:  # a repaired checkpoint goes by its intervention's name
        first = first.assign(checkpoint=first["checkpoint"].fillna(first["intervention"]))
    return {
        seed: Played(
            anchors[seed],
            last,
            {
                (str(name), (str(role), str(shift))): part
                for (name, role, shift), part in own.groupby(["checkpoint", "role", "shift"])
                if (role, shift) in (*PLACES, SELECTION)
            },
        )
        for seed, own in ((int(seed), first[first["seed"] == seed]) for seed in anchors.index)
    }


if __name__ == "__main__":
    run(main)
