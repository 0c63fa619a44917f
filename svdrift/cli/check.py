"""Is a model complete, finite and trained?

Index, shards and config.json must agree on every tensor; no tensor may hold NaN or infinities;
no matrix may look like a random one (as after a head that was silently initialised).
Reads safetensors alone, one tensor at a time.
"""

from __future__ import annotations

import argparse
import sys

from svdrift.cli import PROBLEM
from svdrift.cli.expected import checking_expected
from svdrift.cli.threads import threads_argument, use_threads
from svdrift.cli.words import MODEL
from svdrift.models.checking import config_faults
from svdrift.models.folders import adapters, file_faults, listed
from svdrift.models.opening import Opened, opened
from svdrift.scripting import progress
from svdrift.spectra.checking import is_zero_matrix, tensor_faults
from svdrift.spectra.matrices import Weights, untied_head


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "--no-spectra",
        action="store_true",
        help="do not look for random matrices, which takes most of the time",
    )
    threads_argument(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be checked and how long it takes; the files' lists are compared",
    )


def main(args: argparse.Namespace) -> int:
    """Print a line for each problem, or one that there is none.

    Returns:
        0, or 1 if there is a problem.

    Raises:
        UserError: there is no model, or it cannot be opened.
    """
    use_threads(args.threads)
    with opened(args.model) as model:
        return _check(args, model)


def _check(args: argparse.Namespace, model: Opened) -> int:
    faults = file_faults(model.folder)
    if faults:  # what cannot be read cannot be judged further
        return _report(faults)
    weights = Weights(model.folder, {})
    shapes = [weights.shape(name) for name in weights.names]
    print(checking_expected(shapes, not args.no_spectra), file=sys.stderr)
    if args.dry_run:
        print("No tensor was checked (--dry-run).")
        return 0
    faults = config_faults(model.folder) if model.described else []
    faults += untied_head(weights) + adapters(model.folder)
    for note in model.notes:
        if note not in faults:
            print(f"note: {note}")
    zeros = []
    for name in progress(weights.names, len(weights.names), "tensors checked"):
        tensor = weights.read(name)
        faults += tensor_faults(name, tensor, spectrum=not args.no_spectra)
        zeros += [name] if is_zero_matrix(tensor) else []
    for line in listed("note: all zeros, so without directions", zeros):
        print(line)
    if not faults:
        print(f"{args.model}: {len(weights.names)} tensors, no problem found")
    return _report(faults)


def _report(faults: list[str]) -> int:
    for fault in faults:
        print(f"problem: {fault}")
    return PROBLEM if faults else 0
