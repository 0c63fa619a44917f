"""Solve every multiset of card values exactly: which reach the target, and by which formulas."""

import argparse
from pathlib import Path

from svdrift.scripting import run
from svdrift.tasks.general_points.hands import solution_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--values", type=int, nargs="+", required=True, help="what a card can count as, rising"
    )
    parser.add_argument("--target", type=int, required=True, help="what formulas must reach")
    parser.add_argument("--out", type=Path, required=True, help="one row a multiset (parquet)")
    args = parser.parse_args()

    solution_table(args.values, args.target).to_parquet(args.out, index=False)


if __name__ == "__main__":
    run(main)
