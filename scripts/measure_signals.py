"""Measure whether each run of RL had a signal to learn from, by the metrics of its updates."""

import argparse
from pathlib import Path

import pandas as pd

from svdrift.evaluation.signals import signals
from svdrift.scripting import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=Path, required=True, help="of all runs (parquet)")
    parser.add_argument("--out", type=Path, required=True, help="a row a run and seed (parquet)")
    args = parser.parse_args()

    signals(pd.read_parquet(args.metrics)).to_parquet(args.out, index=False)


if __name__ == "__main__":
    run(main)
