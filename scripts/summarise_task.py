"""Write the task's reference table: what is known before any model runs, such as all solutions."""

import argparse
from pathlib import Path

from svdrift.scripting import run, write_table
from svdrift.tasks import task_argument, task_class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    task_argument(parser, "SkillsSettings", "--skills")
    parser.add_argument("--out", type=Path, required=True, help="the table (parquet)")
    args = parser.parse_args()

    write_table(task_class(args.skills.name).reference_table(args.skills), args.out)


if __name__ == "__main__":
    run(main)
