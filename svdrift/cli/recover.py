"""A repaired model: the target with singular directions (or values, or weights) of the anchor.

Writes a complete Hugging Face folder, tensor by tensor, in the target's own type. The anchor is
the checkpoint that is better at what was lost, such as an earlier one of the same training run.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from svdrift import plugins
from svdrift.api.evaluating import multiplying
from svdrift.api.loading import load_factors
from svdrift.api.recovering import Choice, choose, modules_of, read_halves, recover
from svdrift.cli import PROBLEM
from svdrift.cli.expected import choice_expected, expectation
from svdrift.cli.reading import ReadingProgress
from svdrift.cli.threads import threads_argument, use_threads
from svdrift.cli.words import MODEL, as_options, block, patterns_argument, share
from svdrift.compute import device_argument
from svdrift.errors import UserError
from svdrift.models.folders import listed, weight_files
from svdrift.models.opening import opened
from svdrift.recovery import choosing
from svdrift.recovery import kind as kinds
from svdrift.recovery.choosing import AUTO_SHARE
from svdrift.recovery.folder import NOT_EVALUATED, as_they_were, partial_prefix
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.plan import Plan, make_plan
from svdrift.recovery.shares import Shares, read_shares
from svdrift.scripting import progress
from svdrift.spectra.decomposition import Decomposed
from svdrift.spectra.layouts import own_patterns
from svdrift.spectra.on_demand import open_on_demand
from svdrift.spectra.vocabulary import match_vocabularies

DIRECTIONS, BY_MATRIX = "directions", "per_matrix"  # the kind that takes shares of the same
OPTIONS = {  # how errors about a recipe begin
    "top, bottom": "--ranks, --bottom-ranks",
    "shares": "--ranks",
    **{name: f"--{name}" for name in ("kind", "layers", "modules", "patterns", "seed", "weight")},
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--anchor", required=True, help=f"what is restored: {MODEL}")
    parser.add_argument("--target", required=True, help="what is repaired, in the same forms")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist")
    parser.add_argument(
        "--kind",
        default=DIRECTIONS,
        help=f"{', '.join(plugins.names(kinds.ROOM))}, or the path of your own .py file "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--ranks",
        type=ranks,
        metavar="SHARE|FILE.json|auto",
        help="share of the full rank, from the largest singular value, such as 0.2 (published) or "
        "20%%; a JSON file with a share for each matrix; or `auto`, the best simple rule",
    )
    parser.add_argument(
        "--bottom-ranks",
        type=partial(share, "--bottom-ranks"),
        default=0.0,
        metavar="SHARE",
        help="and from the smallest (default: 0)",
    )
    parser.add_argument(
        "--weight",
        type=partial(share, "--weight"),
        metavar="SHARE",
        help="of the anchor for --kind interpolate; for other kinds that have one see "
        "docs/command-line.md",
    )
    parser.add_argument(
        "--layers",
        type=partial(block, "--layers"),
        metavar="FROM-TO",
        help="block of layers as shares of the depth, such as 0-25%% or 0-0.25 (default: all)",
    )
    parser.add_argument(
        "--modules",
        nargs="+",
        metavar="MODULE",
        help="kinds of module in the layers (default: all)",
    )
    patterns_argument(parser)
    parser.add_argument(
        "--layers-only",
        action="store_true",
        help="leave embedding and head alone (as published they are repaired in every block)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of kinds that draw (default: 0)")
    parser.add_argument(
        "--choose-on",
        type=Path,
        metavar="FILE",
        help="choose what is not given of --ranks, --layers and --weight by the loss of every "
        "other document of this text, and report on the others; blank lines separate documents",
    )
    device_argument(parser)
    threads_argument(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be repaired and how long it takes"
    )


def ranks(text: str) -> float | Shares:
    """Read a share, a JSON file of them, or `auto`.

    Raises:
        UserError: another form.
    """
    if text == "auto":
        return AUTO_SHARE
    if not text.endswith(".json"):
        return share("--ranks", text)
    with as_options(OPTIONS):
        return read_shares(text)


def main(args: argparse.Namespace) -> int:
    """Write the repaired model, and say where and what stayed as it was.

    Raises:
        UserError: a folder cannot be read or holds NaN, what is repaired does not fit, the recipe
            is impossible, `--out` exists, or the disk is full.
    """
    use_threads(args.threads)
    with as_options(OPTIONS):
        return _main(args)


def _main(args: argparse.Namespace) -> int:
    if args.choose_on and args.patterns:
        raise UserError("--patterns: not together with --choose-on")
    if args.choose_on and isinstance(args.ranks, tuple):
        raise UserError("--ranks: a file of shares leaves nothing to choose (not with --choose-on)")
    intervention = None if args.choose_on else recipe(args)
    if args.out.exists():  # before both models are read for their hashes
        raise UserError(f"{args.out}: exists already; nothing is overwritten")
    if os.path.realpath(args.anchor) == os.path.realpath(args.target):
        raise UserError(f"--anchor: {args.anchor} is --target too (wanted: another checkpoint)")
    reading = ReadingProgress()
    modules = modules_of(args.modules, not args.layers_only)
    with _opened(args, modules, reading) as (target, anchor, opening, left_rows):
        if args.dry_run:
            return _dry_run(args, target, anchor, intervention)
        notes: Sequence[str] = (NOT_EVALUATED,)
        if intervention is None:
            choice = _choose(args, target, anchor)
            print("\n".join(choice.summary))
            if not choice.better:
                print(f"{args.out}: not written: none lowers the loss of the half that chooses")
                return PROBLEM
            intervention, notes = choice.intervention, [" ".join(choice.summary)]
        plan = make_plan(target, anchor, intervention)
        if args.choose_on is None:  # else they are decomposed already
            _begin(args, _expected(args, target, plan) if intervention.ranked else "")
        reading.start(plan.names, "tensors repaired")
        notes = [*notes, *left_rows]
        written = recover(anchor, target, args.out, intervention, notes=notes, device=args.device)
        reading.finish()
    print(f"{args.out}: {len(plan.names)} of {len(target.weights.names)} tensors repaired")
    print(written.distances.words)
    for line in left_rows:
        print(line)
    for line in as_they_were(plan, written.rest):
        print(line)
    print(
        "A lower loss is not yet an ability regained, and a repair that nowhere beats the anchor "
        "is not worth having.\n"
        f"Next: {shlex.join(['svdrift', 'evaluate', args.target, str(args.out), args.anchor])} "
        "--task NAME (or --text FILE)"
    )
    for note in [*listed(f"not taken over from {args.target}", written.left, most=20), *opening]:
        print(note, file=sys.stderr)
    return 0


def _dry_run(
    args: argparse.Namespace,
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention | None,
) -> int:
    """Say what would be done."""
    if intervention is None:
        tried = len(_candidates(args, target))
        print(f"{args.out}: would be the best of {tried} on {args.choose_on} (--dry-run)")
        return 0
    plan = make_plan(target, anchor, intervention)
    _begin(args, _expected(args, target, plan) if intervention.ranked else "")
    done = f"{len(plan.names)} of {len(target.weights.names)} tensors would be repaired"
    size = sum(path.stat().st_size for path in weight_files(target.weights.folder)) / 1e9
    print(f"{args.out}: {done}, {size:,.2f} GB would be written (--dry-run)")
    return 0


def _begin(args: argparse.Namespace, expected: str) -> None:
    """Say which model is changed, and what is to be expected of the work."""
    what = f"{args.target} will be changed towards {args.anchor}"
    print(f"{what}: {expected}" if expected else what, file=sys.stderr)


def _expected(args: argparse.Namespace, target: Decomposed, plan: Plan) -> str:
    return expectation([target.factors.matrices[key] for key in plan.keys], 2, args.device)


class _Pair(NamedTuple):
    target: Decomposed
    anchor: Decomposed
    notes: Sequence[str]  # on how they were opened
    left_rows: Sequence[str]  # on rows of embedding and head that only one of them has


@contextmanager
def _opened(
    args: argparse.Namespace, modules: Collection[str], reading: ReadingProgress
) -> Iterator[_Pair]:
    """Both models; where many repairs are tried, with factors on the disk meanwhile."""
    with opened(args.target) as target, opened(args.anchor) as anchor:
        if not target.described:
            raise UserError(f"--target: {target.notes[0]}; a repaired model needs one")
        notes = [*target.notes, *anchor.notes]
        how: dict[str, Any] = {"modules": modules, "device": args.device}
        how["patterns"] = own_patterns(args.patterns)
        ours = open_on_demand(target.folder, **how, on_first_read=reading.tick)
        theirs = open_on_demand(anchor.folder, **how)
        pair = _matched(ours, theirs, notes)
        if args.choose_on is not None:  # what is wrong is found before anything is decomposed
            _begin(args, _choice_expected(args, pair))
        if args.choose_on is None or args.dry_run:
            yield pair
            return
        place = next(parent for parent in args.out.absolute().parents if parent.exists())
        with tempfile.TemporaryDirectory(prefix=partial_prefix(args.out), dir=place) as room:
            models = {"target": target.folder, "anchor": anchor.folder}
            ours, theirs = (
                load_factors(folder, Path(room) / name, modules=modules, device=args.device)
                for name, folder in progress(models.items(), 2, "models decomposed")
            )
            yield _matched(ours, theirs, notes)


def _matched(target: Decomposed, anchor: Decomposed, notes: Sequence[str]) -> _Pair:
    anchor, target, left = match_vocabularies(anchor, target)
    return _Pair(target, anchor, notes, left)


def _choose(args: argparse.Namespace, target: Decomposed, anchor: Decomposed) -> Choice:
    candidates = _candidates(args, target)
    return choose(anchor, target, args.choose_on, candidates, device=args.device, progress=progress)


def _choice_expected(args: argparse.Namespace, pair: _Pair) -> str:
    candidates = _candidates(args, pair.target)
    tried = {*candidates, *choosing.interpolations(candidates, *choosing.WEIGHTS)}
    keys = {key for one in tried for key in make_plan(pair.target, pair.anchor, one).keys}
    folder = pair.target.weights.folder
    text = read_halves(folder, args.choose_on)
    first, second = (sum(len(piece.tokens) for piece in half) for half in text[:2])
    return choice_expected(
        [pair.target.factors.matrices[key] for key in keys],
        len(tried),
        multiplying(folder),
        first * (len(tried) + 1) + second * len(choosing.REPORTED),
        args.device,
    )


def _candidates(args: argparse.Namespace, target: Decomposed) -> tuple[Intervention, ...]:
    return choosing.candidates(
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


def recipe(args: argparse.Namespace) -> Intervention:
    """Build the intervention from the arguments.

    Raises:
        UserError: a value is out of range, does not belong to the kind, or leaves nothing to do.
    """
    shares = args.ranks if isinstance(args.ranks, tuple) else None
    kind = BY_MATRIX if shares is not None and args.kind == DIRECTIONS else args.kind
    if kinds.kind(kind).ranked and not (args.ranks or args.bottom_ranks):
        raise UserError(f"--ranks: {kind} needs a share of the ranks, such as 0.2")
    return Intervention(
        kind,
        top=0.0 if shares is not None else args.ranks or 0.0,
        shares=shares,
        bottom=args.bottom_ranks,
        layers=args.layers or (0.0, 1.0),
        modules=None if args.modules is None else tuple(args.modules),
        embedding_and_head=not args.layers_only,
        weight=args.weight,
        seed=args.seed,
    )
