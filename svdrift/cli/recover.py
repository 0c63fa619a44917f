"""A repaired model: the target with singular directions (or values, or weights) of the anchor.

Writes a complete Hugging Face folder, tensor by tensor, in the target's own type. The anchor is
the checkpoint that is better at what was lost, such as an earlier one of the same training run.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from svdrift import plugins
from svdrift.api.loading import load_factors
from svdrift.api.recovering import Choice, choose, modules_of, recover
from svdrift.cli import PROBLEM
from svdrift.cli.reading import ReadingProgress
from svdrift.compute import device_argument
from svdrift.errors import UserError
from svdrift.models.folders import adapters, listed
from svdrift.recovery import choosing
from svdrift.recovery import kind as kinds
from svdrift.recovery.folder import NOT_EVALUATED, as_they_were, partial_prefix
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.plan import make_plan
from svdrift.scripting import progress
from svdrift.spectra.decomposition import Decomposed
from svdrift.spectra.on_demand import open_on_demand


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--anchor", type=Path, required=True, help="folder: what is restored")
    parser.add_argument("--target", type=Path, required=True, help="folder: what is repaired")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist")
    parser.add_argument(
        "--kind",
        default="directions",
        help=f"{', '.join(plugins.names(kinds.ROOM))}, or the path of your own .py file "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--ranks",
        type=float,
        metavar="SHARE",
        help="share of the full rank, from the largest singular value; 0.2 is published",
    )
    parser.add_argument(
        "--bottom-ranks",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="and from the smallest (default: 0)",
    )
    parser.add_argument(
        "--weight", type=float, help="of the anchor, 0 to 1, for --kind interpolate"
    )
    parser.add_argument(
        "--layers",
        type=block,
        metavar="FROM-TO%",
        help="block of layers in percent of the depth, such as 0-25%% (default: 0-100%%)",
    )
    parser.add_argument(
        "--modules",
        nargs="+",
        metavar="MODULE",
        help="kinds of module in the layers (default: all)",
    )
    parser.add_argument(
        "--layers-only",
        action="store_true",
        help="leave embedding and head alone (as published they are repaired in every block)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of random_directions (default: 0)")
    parser.add_argument(
        "--choose-on",
        type=Path,
        metavar="FILE",
        help="choose what is not given of --ranks, --layers and --weight by the loss of the first "
        "half of this text, and report on the second; blank lines separate documents",
    )
    device_argument(parser)


def main(args: argparse.Namespace) -> int:
    """Write the repaired model, and say where and what stayed as it was.

    Raises:
        UserError: a folder cannot be read or holds NaN, what is repaired does not fit, the recipe
            is impossible, `--out` exists, or the disk is full.
    """
    intervention = None if args.choose_on else recipe(args)
    if args.out.exists():  # before both models are read for their hashes
        raise UserError(f"{args.out}: exists already; nothing is overwritten")
    reading = ReadingProgress()
    modules = modules_of(args.modules, not args.layers_only)
    with _opened(args, modules, reading) as (target, anchor):
        notes: Sequence[str] = (NOT_EVALUATED,)
        if intervention is None:
            choice = _choose(args, target, anchor)
            print("\n".join(choice.summary))
            if not choice.better:
                print(f"{args.out}: not written: none lowers the loss of the first half")
                return PROBLEM
            intervention, notes = choice.intervention, [" ".join(choice.summary)]
        reading.start(make_plan(target, anchor, intervention).names, "tensors repaired")
        plan, rest, left = recover(
            anchor, target, args.out, intervention, notes=notes, device=args.device
        )
        reading.finish()
    print(f"{args.out}: {len(plan.names)} of {len(target.weights.names)} tensors repaired")
    for line in as_they_were(plan, rest):
        print(line)
    notes = listed(f"not taken over from {args.target}", left, most=20)
    for note in [*notes, *adapters(args.anchor, args.target)]:
        print(note, file=sys.stderr)
    return 0


class _Pair(NamedTuple):
    target: Decomposed
    anchor: Decomposed


@contextmanager
def _opened(
    args: argparse.Namespace, modules: Collection[str], reading: ReadingProgress
) -> Iterator[_Pair]:
    """Both models; where many repairs are tried, with factors on the disk meanwhile."""
    if args.choose_on is None:
        yield _Pair(
            open_on_demand(
                args.target, modules=modules, device=args.device, on_first_read=reading.tick
            ),
            open_on_demand(args.anchor, modules=modules, device=args.device),
        )
        return
    place = next(parent for parent in args.out.absolute().parents if parent.exists())
    with tempfile.TemporaryDirectory(prefix=partial_prefix(args.out), dir=place) as room:
        models = {"target": args.target, "anchor": args.anchor}
        yield _Pair(
            *(
                load_factors(folder, Path(room) / name, modules=modules, device=args.device)
                for name, folder in progress(models.items(), 2, "models decomposed")
            )
        )


def _choose(args: argparse.Namespace, target: Decomposed, anchor: Decomposed) -> Choice:
    candidates = choosing.candidates(
        args.kind,
        target.weights.depth,
        top=args.ranks,
        bottom=args.bottom_ranks,
        layers=args.layers,
        weight=args.weight,
        modules=args.modules,
        embedding_and_head=not args.layers_only,
        seed=args.seed,
    )
    return choose(anchor, target, args.choose_on, candidates, device=args.device, progress=progress)


def recipe(args: argparse.Namespace) -> Intervention:
    """Build the intervention from the arguments.

    Raises:
        UserError: a value is out of range, does not belong to the kind, or leaves nothing to do.
    """
    if kinds.kind(args.kind).ranked and not (args.ranks or args.bottom_ranks):
        raise UserError(f"--ranks: {args.kind} needs a share of the ranks, such as 0.2")
    return Intervention(
        args.kind,
        top=args.ranks or 0.0,
        bottom=args.bottom_ranks,
        layers=args.layers or (0.0, 1.0),
        modules=None if args.modules is None else tuple(args.modules),
        embedding_and_head=not args.layers_only,
        weight=args.weight,
        seed=args.seed,
    )


def block(text: str) -> tuple[float, float]:
    """Read `0-25%` as shares of the depth.

    Raises:
        UserError: another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%?-(\d+(?:\.\d+)?)%", text)
    if match is None:
        raise UserError(f"--layers: a block in percent of the depth such as 0-25%, not {text}")
    return float(match[1]) / 100, float(match[2]) / 100
