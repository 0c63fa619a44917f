"""Pose the problems of a split under other settings of the task, such as another rule."""

import argparse
import time
from pathlib import Path

from svdrift.errors import UserError
from svdrift.scripting import PROVENANCE, read_table, run, write_provenance, write_table
from svdrift.tasks import task_argument, task_class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    task_argument(parser, "DealSettings", "--settings")
    parser.add_argument("--problems", type=Path, required=True, help="as dealt (parquet)")
    parser.add_argument("--out", type=Path, required=True, help="one row a problem (parquet)")
    args = parser.parse_args()
    started = time.time()

    problems = read_table(args.problems)
    if problems.empty:
        raise UserError(f"{args.problems}: holds no problems to vary")
    varied = task_class(args.settings.name).vary(problems, args.settings)
    if varied.empty:
        raise UserError(
            f"{args.problems}: none of its problems has a solution under the changed settings "
            "(change them, or vary another split)"
        )
    write_table(varied, args.out)
    write_provenance(
        args.out.parent,
        inputs={"problems": args.problems},
        settings={"deal": args.settings},
        seed=None,
        started=started,
        name=f"{args.out.stem}.{PROVENANCE}",
    )


if __name__ == "__main__":
    run(main)
