"""Check that the splits of one seed are disjoint, and the task's verifier on all of their hands."""

import argparse
from pathlib import Path

import pandas as pd

from svdrift.scripting import run, settings_argument
from svdrift.settings.task import GameSettings
from svdrift.tasks import make_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, GameSettings)
    parser.add_argument(
        "--hands", type=Path, nargs="+", required=True, help="one parquet per split, named by it"
    )
    parser.add_argument("--out", type=Path, required=True, help="one row a split (CSV)")
    args = parser.parse_args()

    splits = {path.stem: pd.read_parquet(path) for path in args.hands}
    make_task(args.settings).validate(splits).to_csv(args.out, index=False)


if __name__ == "__main__":
    run(main)
