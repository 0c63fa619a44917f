"""Check that the splits of one seed are disjoint, and the task's verifier on all their problems."""

import argparse
from pathlib import Path

from svdrift.scripting import read_table, run
from svdrift.tasks import make_task, task_argument


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    task_argument(parser, "PlaySettings", "--settings")
    parser.add_argument(
        "--problems",
        type=Path,
        nargs="+",
        required=True,
        help="all splits: a parquet file each, named after the split",
    )
    parser.add_argument("--out", type=Path, required=True, help="one row a split (CSV)")
    args = parser.parse_args()

    splits = {path.stem: read_table(path) for path in args.problems}
    make_task(args.settings).validate(splits).to_csv(args.out, index=False)


if __name__ == "__main__":
    run(main)
