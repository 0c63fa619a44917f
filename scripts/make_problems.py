"""Deal the problems of one split from one seed."""

import argparse
import time
from pathlib import Path

from svdrift.scripting import PROVENANCE, read_table, run, write_provenance, write_table
from svdrift.tasks import task_argument, task_class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    task_argument(parser, "DealSettings", "--settings")
    parser.add_argument("--split", required=True, help="its name, such as ood_test")
    parser.add_argument("--count", type=int, required=True, help="number of problems asked for")
    parser.add_argument(
        "--training",
        type=Path,
        nargs="*",
        default=[],
        help="training splits dealt before this one: a parquet file each, named after the split",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the deal (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="one row a problem (parquet)")
    args = parser.parse_args()
    started = time.time()

    table = task_class(args.settings.name).make_split(
        args.split,
        args.settings,
        args.count,
        args.seed,
        {path.stem: read_table(path) for path in args.training},
    )
    write_table(table, args.out)
    write_provenance(
        args.out.parent,
        inputs={path.stem: path for path in args.training},
        settings={"deal": args.settings, "count": args.count},
        seed=args.seed,
        started=started,
        name=f"{args.split}.{PROVENANCE}",
    )


if __name__ == "__main__":
    run(main)
