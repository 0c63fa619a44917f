"""Measure whether each run of RL had a signal to learn from, by the metrics of its updates."""

import argparse
from pathlib import Path

from svdrift.evaluation.signals import signals
from svdrift.scripting import read_table, run, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=Path, required=True, help="of all runs (parquet)")
    parser.add_argument("--out", type=Path, required=True, help="a row a run and seed (parquet)")
    args = parser.parse_args()

    write_table(signals(read_table(args.metrics)), args.out)


if __name__ == "__main__":
    run(main)
