"""Deal the hands of one seed: SFT, RL, selection and test, and check that they are disjoint."""

import argparse
import time
from pathlib import Path

from svdrift.scripting import run, settings_argument, write_provenance
from svdrift.settings import TaskSettings
from svdrift.tasks import make_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, TaskSettings)
    parser.add_argument("--seed", type=int, default=0, help="seed of the deal (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder for {split}.parquet")
    args = parser.parse_args()
    started = time.time()

    task = make_task(args.settings)
    splits = task.make_hands(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, table in splits.items():
        table.to_parquet(args.out / f"{name}.parquet", index=False)
    task.validate(splits).to_csv(args.out / "summary.csv", index=False)
    write_provenance(args.out, inputs={}, settings=args.settings, seed=args.seed, started=started)


if __name__ == "__main__":
    run(main)
