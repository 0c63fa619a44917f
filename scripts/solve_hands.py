"""Solve every multiset of card values exactly: which reach the target, and by which formulas."""

import argparse
from pathlib import Path

from svdrift.scripting import run, settings_argument
from svdrift.settings import TaskSettings
from svdrift.tasks.general_points.hands import solution_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, TaskSettings)
    parser.add_argument("--out", type=Path, required=True, help="one row a multiset (parquet)")
    args = parser.parse_args()

    solution_table(args.settings).to_parquet(args.out, index=False)


if __name__ == "__main__":
    run(main)
