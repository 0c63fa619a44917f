"""Write a repaired checkpoint as a Hugging Face folder, with a model card."""

import argparse
import sys
from pathlib import Path

from svdrift.compute import device_argument
from svdrift.recovery.folder import as_they_were, remove_leftovers, write_folder
from svdrift.recovery.grid import from_json
from svdrift.scripting import run
from svdrift.spectra.arguments import checkpoint_arguments, open_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    checkpoint_arguments(parser)
    parser.add_argument("--target", required=True, help="what is repaired: id, or anchor")
    parser.add_argument("--anchor", required=True, help="what from: id, or anchor")
    parser.add_argument("--intervention", type=from_json, required=True, help="its fields as JSON")
    device_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    args = parser.parse_args()

    target, anchor = (open_checkpoint(args, name)[1] for name in (args.target, args.anchor))
    remove_leftovers(args.out)
    written = write_folder(target, anchor, args.intervention, args.out, device=args.device)
    for line in as_they_were(written.plan, written.rest):
        print(line, file=sys.stderr)


if __name__ == "__main__":
    run(main)
