"""Join tables of several checkpoints and seeds into one, with what their paths say as columns.

The inputs lie at .../seed-{seed}/{folder}/{checkpoint}/{name}.parquet, or are tables of a whole
seed at .../seed-{seed}/{folder}/{name}.parquet.
"""

import argparse
from pathlib import Path

from svdrift.scripting import run, write_table
from svdrift.tables import join_tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, nargs="+", help="parquet files to join")
    parser.add_argument("--out", type=Path, required=True, help="the joined table (parquet)")
    args = parser.parse_args()

    write_table(join_tables(args.tables), args.out)


if __name__ == "__main__":
    run(main)
