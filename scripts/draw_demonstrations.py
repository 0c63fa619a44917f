"""Demonstrate problems by an expert who gives one of all right replies, each as likely."""

import argparse
import time
from pathlib import Path

from svdrift.errors import UserError
from svdrift.scripting import PROVENANCE, read_table, run, write_provenance, write_table
from svdrift.tasks import make_task, task_argument
from svdrift.tasks.experts import uniform
from svdrift.tasks.probing import make_probing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    task_argument(parser)
    parser.add_argument("--problems", type=Path, required=True, help="to demonstrate (parquet)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="one row a problem (parquet)")
    args = parser.parse_args()
    started = time.time()

    problems = read_table(args.problems)
    if problems.empty:
        raise UserError(f"{args.problems}: holds no problems to demonstrate")
    table = uniform(problems, make_task(args.task), make_probing(args.task), args.seed)
    write_table(table, args.out)
    write_provenance(
        args.out.parent,
        inputs={"problems": args.problems},
        settings={"task": args.task},
        seed=args.seed,
        started=started,
        name=f"{args.out.stem}.{PROVENANCE}",
    )


if __name__ == "__main__":
    run(main)
