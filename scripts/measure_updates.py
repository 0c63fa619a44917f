"""Compare SFT's update of each weight matrix with RL's update from there."""

import argparse
from pathlib import Path

from svdrift.compute import device_argument
from svdrift.scripting import run, settings_argument, write_table
from svdrift.spectra.arguments import checkpoint_arguments, open_checkpoint
from svdrift.spectra.settings import SpectraSettings
from svdrift.spectra.updates import update_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, SpectraSettings)
    checkpoint_arguments(parser)
    parser.add_argument("--base", required=True, help="id of the checkpoint before SFT")
    parser.add_argument("--start", required=True, help="id of the one between SFT and RL")
    parser.add_argument("--result", required=True, help="id of the one after RL")
    device_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the null (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="out: measures (parquet)")
    args = parser.parse_args()

    checkpoints = [open_checkpoint(args, name)[1] for name in (args.base, args.start, args.result)]
    rows = update_rows(
        *checkpoints,
        shares=args.settings.shares,
        draws=args.settings.draws,
        seed=args.seed,
        device=args.device,
    )
    write_table(rows.assign(result=args.result), args.out)


if __name__ == "__main__":
    run(main)
