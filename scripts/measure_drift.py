"""Measure what moved in each weight matrix between two checkpoints, beside what noise would do."""

import argparse
import sys
from pathlib import Path

from svdrift.compute import device_argument
from svdrift.scripting import run, settings_argument, write_table
from svdrift.spectra.arguments import checkpoint_arguments, open_checkpoint
from svdrift.spectra.drift import drift_tables, value_change_rows
from svdrift.spectra.rest import unlabelled
from svdrift.spectra.settings import SpectraSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, SpectraSettings)
    checkpoint_arguments(parser)
    parser.add_argument("--before", required=True, help="id, or anchor")
    parser.add_argument("--after", required=True, help="id, or anchor")
    parser.add_argument("--pair", required=True, help="name of the pair in the tables")
    device_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the nulls (default: 0)")
    parser.add_argument("--drift", type=Path, required=True, help="out: measures (parquet)")
    parser.add_argument(
        "--nulls", type=Path, required=True, help="out: the same of each draw of a null (parquet)"
    )
    parser.add_argument(
        "--value-changes", type=Path, required=True, help="out: one row a singular value (parquet)"
    )
    args = parser.parse_args()

    (before, first), (after, second) = (
        open_checkpoint(args, name) for name in (args.before, args.after)
    )
    if left := unlabelled(second.weights, first.weights):
        print(f"WARNING: {args.pair}: not compared: {left}", file=sys.stderr)
    drift, nulls = drift_tables(
        first,
        second,
        shares=args.settings.shares,
        windows=args.settings.windows,
        nulls=args.settings.nulls,
        draws=args.settings.draws,
        seed=args.seed,
        device=args.device,
    )
    changes = value_change_rows(first.factors, second.factors)
    outputs = ((drift, args.drift), (nulls, args.nulls), (changes, args.value_changes))
    for table, path in outputs:
        write_table(table.assign(pair=args.pair, before=before, after=after), path)


if __name__ == "__main__":
    run(main)
