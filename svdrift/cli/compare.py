"""Which layers and kinds of module turned between two checkpoints, and by more than noise?

Reads both models (safetensors alone) one pair of matrices at a time. Each angle stands beside
those of noise of the update's size: where singular values lie close together any change turns
their vectors far, so an angle alone says nothing. Ends in a verdict that allows for the number of
matrices, and in the command to try next. Columns: docs/command-line.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from svdrift.api.comparing import (
    DRAWS,
    NULLS,
    SHARE,
    Comparison,
    compare_pair,
    default_draws,
    open_pair,
    require_measurable,
)
from svdrift.cli import PROBLEM
from svdrift.cli.expected import comparison_expected
from svdrift.cli.memory import keep_freed_memory
from svdrift.cli.reading import ReadingProgress
from svdrift.cli.text import aligned, records
from svdrift.cli.threads import SIDE_BY_SIDE, cores, side_by_side_argument, use_threads
from svdrift.cli.words import MODEL, as_options, patterns_argument, share
from svdrift.compute import device_argument
from svdrift.errors import UserError
from svdrift.spectra.comparison import degrees, nulls_in, percent
from svdrift.spectra.layouts import own_patterns
from svdrift.spectra.leading_drift import side_by_side
from svdrift.spectra.patterns import EMBEDDING, HEAD, INSIDE
from svdrift.spectra.rest import sentences
from svdrift.story import Story

SIGNS = "signs_randomised"  # the null that keeps where the update's energy lies
FIGURE_SUFFIXES = (".png", ".pdf", ".csv")  # that `style.save` writes
HEADINGS = {
    "isotropic": "isotropic",
    "inputs_kept": "inputs kept",
    "signs_randomised": "signs",
    "spectrum_kept": "spectrum kept",
    "norms_kept": "norms kept",
}
LEGEND = """
moved: matrices that changed, of how many; update: its norm relative to the anchor's; angle: mean
principal angle of the leading directions, left and right; then the same under noise: isotropic (of
the update's size), inputs kept (its right singular vectors and values); +/-: matrices above and
below that noise's 95 % interval (noise itself: up to 1 in 40 each); values: relative change of the
singular values, and the same by isotropic noise. Rows of several matrices hold means over those
that moved."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("anchor", metavar="ANCHOR", help=f"model before: {MODEL}")
    parser.add_argument("target", metavar="TARGET", help="model after, in the same forms")
    parser.add_argument(
        "--ranks",
        type=partial(share, "--ranks"),
        default=SHARE,
        metavar="SHARE",
        help="leading directions that are compared, as a share of the rank such as 0.2 or 20%% "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--modules",
        nargs="+",
        default=INSIDE,
        metavar="MODULE",
        help=f"kinds of module (default: {' '.join(INSIDE)}); {EMBEDDING} and {HEAD} are large "
        "and only compared if named",
    )
    patterns_argument(parser)
    parser.add_argument(
        "--draws",
        type=int,
        help="random draws per null, at least 2 (default: as many as take about a minute, "
        f"from {DRAWS[0]} for large models to {DRAWS[1]} for small ones)",
    )
    parser.add_argument(
        "--nulls",
        nargs="+",
        default=NULLS,
        metavar="NULL",
        help=f"how the update is drawn anew, isotropic among them (default: {' '.join(NULLS)}; "
        f"all: {' '.join(HEADINGS)})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the nulls (default: 0)")
    device_argument(parser)
    side_by_side_argument(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be compared and how long it takes"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with a row per matrix")
    parser.add_argument(
        "--figure",
        type=Path,
        metavar="FILE.png",
        help="draw layers by modules, with the same as .pdf and the numbers as .csv beside it",
    )


def main(args: argparse.Namespace) -> int:
    """Compare, print, and draw if asked to.

    Returns:
        0, or 1 if matrices look as if they had never been trained, or a tensor that was not
        compared holds NaN or infinities.

    Raises:
        UserError: a folder cannot be read or a compared matrix holds NaN, the architectures
            differ, an argument is out of range, or the figure cannot be written.
    """
    use_threads(1 if args.threads is None else args.threads)
    if args.figure is not None:
        require_writable(args.figure)
    reading = ReadingProgress()
    options = {name: f"--{name}" for name in ("ranks", "nulls", "draws", "modules", "patterns")}
    with (
        as_options(options),
        open_pair(
            args.anchor,
            args.target,
            modules=args.modules,
            patterns=own_patterns(args.patterns),
            device=args.device,
        ) as pair,
    ):
        matrices = pair.before.weights.matrices
        if args.draws is None:
            args.draws = default_draws(matrices)
        how = {name: getattr(args, name) for name in ("ranks", "nulls", "draws")}
        require_measurable(**how)
        most = args.threads or min(SIDE_BY_SIDE, cores())
        if (processes := side_by_side(matrices, most, args.device)) > 1:
            use_threads(1)  # in each
            keep_freed_memory()
        draws = (args.draws, len(args.nulls))
        print(comparison_expected(matrices, *draws, processes, args.device), file=sys.stderr)
        if args.dry_run:
            print("\n".join([*pair.notes, "Nothing was compared (--dry-run)."]))
            return 0
        reading.start([matrix.name for matrix in matrices], "matrices compared")
        found = compare_pair(
            pair,
            **how,
            seed=args.seed,
            device=args.device,
            processes=processes,
            on_done=reading.tick,
        )
    reading.finish()
    then = next_commands(args, found)
    if args.json:
        print(json.dumps(_report(args, found, then), indent=2))
    else:
        print(f"{table_text(found.groups)}\n{LEGEND}\n\n" + "\n".join(found.summary))
        if found.not_compared:
            print("\n".join(["Not compared (--json names all):", *sentences(found.not_compared)]))
        print("\n" + "\n".join(found.verdict.words))
        if unasked := _not_tested(args.nulls, found):
            print(unasked)
        both = shlex.join([args.anchor, args.target])
        print(
            "Whether an ability was lost, angles do not tell: "
            f"svdrift evaluate {both} --task NAME (or --text FILE)."
        )
        print("\n".join(f"Next: {one}" for one in then) or "Next: nothing to repair here.")
    if args.figure is not None:
        _draw(args.figure, found.drift, found.spectra)
    return PROBLEM if found.faulty else 0


def table_text(groups: pd.DataFrame) -> str:
    """Format `grouped` for a terminal; the rows of all matrices come last."""
    nulls = nulls_in(groups)
    heading = ["", "moved", "update", "angle"]
    heading += [text for null in nulls for text in (HEADINGS[null], "+/-")]
    lines: list[tuple[str, ...]] = [(*heading, "values", "by noise")]
    for by, rows in groups.groupby("by", sort=False):
        if by != "module":
            lines.append(("",) * len(lines[0]))
        for _, row in rows.iterrows():
            cells = [str(row["group"]), f"{row['moved']}/{row['matrices']}", percent(row["update"])]
            cells.append(degrees(row["angle"]))
            for null in nulls:
                cells += [degrees(row[null]), f"{row[f'more_{null}']}/{row[f'less_{null}']}"]
            lines.append((*cells, percent(row["value_change"]), percent(row["value_noise"])))
    return aligned(lines)


def next_commands(args: argparse.Namespace, found: Comparison) -> list[str]:
    """The commands that follow from a verdict, the likelier repair first; none to follow none.

    Averaging weights repairs more than directions do in the project's own studies, so it comes
    first; directions come second, where some turned.
    """
    which = found.verdict.which
    if which in ("unchanged", "no directions"):
        return []
    repairs = [["--kind", "interpolate", "--weight", "0.5"]]
    if which == "further":
        repairs.append(["--ranks", "20%", *_block(found)])
    rest = ["--patterns", *args.patterns] if args.patterns else []
    if not {EMBEDDING, HEAD} & set(args.modules):
        rest.append("--layers-only")
    pair = ["--anchor", args.anchor, "--target", args.target]
    return [
        shlex.join(["svdrift", "recover", *pair, *repair, *rest, "--out", "REPAIRED"])
        for repair in repairs
    ]


def _not_tested(nulls: Sequence[str], found: Comparison) -> str:
    """What a verdict of turned directions leaves open; empty if nothing."""
    if found.verdict.which != "further" or SIGNS in nulls:
        return ""
    return (
        "Not tested: whether they turned together, or only where the update's energy lies "
        f"(--nulls {' '.join([*nulls, SIGNS])})."
    )


def _block(found: Comparison) -> list[str]:
    """Quarters of the depth that hold every matrix which turned; nothing if they are all four."""
    layers = found.verdict.matrices["layer"].dropna()
    if layers.empty:
        return []
    depth = int(found.matrices["layer"].max()) + 1
    start = math.floor(4 * int(layers.min()) / depth)
    stop = math.ceil(4 * (int(layers.max()) + 1) / depth)
    return [] if (start, stop) == (0, 4) else ["--layers", f"{25 * start}-{25 * stop}%"]


def require_writable(figure: Path) -> None:
    """Try whether the files of a figure can be written, before any work.

    Raises:
        UserError: the name does not end in .png, or a file cannot be written.
    """
    if figure.suffix != ".png":
        raise UserError(f"--figure: {figure} does not end in .png")
    for suffix in FIGURE_SUFFIXES:
        path = figure.with_suffix(suffix)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            there = path.exists()
            path.open("ab").close()
            if not there:
                path.unlink()
        except OSError as error:
            raise UserError(f"--figure: {path} cannot be written: {error.strerror}") from None


def _report(args: argparse.Namespace, found: Comparison, then: Sequence[str]) -> dict[str, Any]:
    models = {
        name: {"folder": getattr(args, name), "weights_sha256": digest}
        for name, digest in found.hashes.items()
    }
    return {
        **models,
        "settings": {name: getattr(args, name) for name in ("ranks", "nulls", "draws", "seed")},
        "looks_random": records(found.looks_random[["checkpoint", "layer", "module"]]),
        "summary": found.summary,
        "verdict": {
            "which": found.verdict.which,
            "matrices": records(found.verdict.matrices),
            "words": found.verdict.words,
            "next": then,
        },
        "zeros": found.zeros,
        "not_compared": [one._asdict() for one in found.not_compared],
        "groups": records(found.groups),
        "on_average": records(found.on_average),
        "matrices": records(found.matrices),
    }


def _draw(path: Path, drift: pd.DataFrame, spectra: Mapping[str, pd.DataFrame]) -> None:
    layers = drift[drift["layer"].notna()]
    if not (layers.loc[layers["measure"] == "update_norm", "observed"] > 0).any():
        print(f"{path}: not drawn, because nothing in the layers changed", file=sys.stderr)
        return
    from svdrift.figures import rotation_heatmap, style  # takes a second to import

    matrices = pd.concat(table.assign(checkpoint=name, seed=0) for name, table in spectra.items())
    drift = drift.assign(pair="anchor-to-target", before="anchor", after="target", seed=0)
    story = Story(path=("anchor", "target"), path_label="", labels={})
    style.save(rotation_heatmap.draw(drift, matrices, story), path)
