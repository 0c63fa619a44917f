"""Which layers and kinds of module turned between two checkpoints, and by more than noise?

Reads both folders (safetensors alone) one pair of matrices at a time. Each angle stands beside
those of noise of the update's size: where singular values lie close together any change turns
their vectors far, so an angle alone says nothing. Columns: docs/command-line.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from svdrift.cli import PROBLEM
from svdrift.cli.reading import ReadingProgress
from svdrift.cli.text import aligned
from svdrift.compute import device_argument
from svdrift.errors import UserError
from svdrift.models.folders import adapters, listed
from svdrift.spectra.comparison import (
    degrees,
    grouped,
    in_words,
    matrix_changes,
    nulls_in,
    on_average,
    percent,
)
from svdrift.spectra.decomposition import Decomposed
from svdrift.spectra.drift import drift_tables
from svdrift.spectra.on_demand import open_on_demand
from svdrift.spectra.patterns import EMBEDDING, HEAD, INSIDE
from svdrift.spectra.rest import Rest, left_out, not_finite, sentences
from svdrift.spectra.settings import SpectraSettings
from svdrift.spectra.tables import matrix_rows
from svdrift.story import Story

DEFAULTS = SpectraSettings()
NULLS = ("isotropic", "inputs_kept")  # fewer, and fewer draws, than a study: each takes minutes
DRAWS = 5
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
below that noise's 95 % interval (noise itself: up to 1 in 20 above, 1 in 50 below); values:
relative change of the singular values, and the same by isotropic noise. Rows of several matrices
hold means over those that moved."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("anchor", type=Path, metavar="ANCHOR", help="model folder before")
    parser.add_argument("target", type=Path, metavar="TARGET", help="model folder after")
    parser.add_argument(
        "--ranks",
        type=float,
        default=DEFAULTS.shares[0],
        metavar="SHARE",
        help="leading directions that are compared, as a share of the rank (default: %(default)s)",
    )
    parser.add_argument(
        "--modules",
        nargs="+",
        default=INSIDE,
        metavar="MODULE",
        help=f"kinds of module (default: {' '.join(INSIDE)}); {EMBEDDING} and {HEAD} are large "
        "and only compared if named",
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=DRAWS,
        help="random draws per null, at least 2; each costs one more decomposition of every "
        "matrix (default: %(default)s)",
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
    if args.figure is not None:
        require_writable(args.figure)
    if not 0 < args.ranks <= 1:
        raise UserError(f"--ranks: a share of the rank above 0 and up to 1, not {args.ranks:g}")
    reading = ReadingProgress()
    options: dict[str, Any] = {"modules": args.modules, "device": args.device}
    anchor = open_on_demand(args.anchor, **options, on_first_read=reading.tick)
    target = open_on_demand(args.target, **options)
    reading.start([m.name for m in anchor.weights.matrices], "matrices compared")
    drift, nulls = drift_tables(
        anchor,
        target,
        shares=[args.ranks],
        windows=1,
        nulls=args.nulls,
        draws=args.draws,
        seed=args.seed,
        device=args.device,
    )
    reading.finish()
    groups = grouped(changes := matrix_changes(drift, nulls))
    average = on_average(drift, nulls)
    spectra = {"anchor": matrix_rows(anchor), "target": matrix_rows(target)}
    random = pd.concat(table[table["looks_random"]].assign(checkpoint=name)
                       for name, table in spectra.items())  # fmt: skip
    compared = {matrix.name for matrix in target.weights.matrices}
    rest = list(left_out(anchor.weights, target.weights, compared))
    nothing = zeros(anchor, target)
    words = in_words(groups, average, args.ranks)
    if differ := sum(bool(one.differs) for one in rest):
        words.append(f"{differ} of {len(rest)} tensors that were not compared differ.")
    words += zeros_in_words(nothing) + warnings(random) + broken(rest)
    words += adapters(args.anchor, args.target)
    if args.json:
        report = _report(args, anchor, target, random, words)
        report |= {"zeros": nothing, "not_compared": [one._asdict() for one in rest]}
        tables = {"groups": groups, "on_average": average, "matrices": changes}
        report |= {name: _records(table) for name, table in tables.items()}
        print(json.dumps(report, indent=2))
    else:
        print(f"{table_text(groups)}\n{LEGEND}\n\n" + "\n".join(words))
        if rest:
            print("\n".join(["Not compared (--json names all):", *sentences(rest)]))
    if args.figure is not None:
        _draw(args.figure, drift, spectra)
    return PROBLEM if len(random) or not_finite(rest) else 0


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


def warnings(random: pd.DataFrame) -> list[str]:
    """A line for each checkpoint with matrices that look never trained.

    Args:
        random: `matrix_rows` of these matrices, with `checkpoint`.
    """
    return [
        f"WARNING: {len(rows)} matrices of the {name} look never trained, so their directions are "
        f"noise: {', '.join(sorted(set(rows['module'])))}."
        for name, rows in random.groupby("checkpoint", sort=False)
    ]


def zeros(anchor: Decomposed, target: Decomposed) -> dict[str, list[str]]:
    """Names of the matrices of zeros, which have no directions, by checkpoint."""
    return {
        name: [
            matrix.name
            for key, matrix in checkpoint.factors.matrices.items()
            if not checkpoint.factors.singular_values(key).any()
        ]
        for name, checkpoint in (("anchor", anchor), ("target", target))
    }


def zeros_in_words(found: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each checkpoint with matrices of zeros."""
    return [
        line
        for name, matrices in found.items()
        for line in listed(f"No angle, because all zeros in the {name}", matrices)
    ]


def broken(rest: Sequence[Rest]) -> list[str]:
    """A line if tensors that were not compared hold NaN."""
    return listed("WARNING: not compared, and hold NaN or infinities", not_finite(rest))


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


def _report(
    args: argparse.Namespace,
    anchor: Decomposed,
    target: Decomposed,
    random: pd.DataFrame,
    words: list[str],
) -> dict[str, Any]:
    return {
        "anchor": {"folder": str(args.anchor), "weights_sha256": anchor.factors.content_hash},
        "target": {"folder": str(args.target), "weights_sha256": target.factors.content_hash},
        "settings": {name: getattr(args, name) for name in ("ranks", "nulls", "draws", "seed")},
        "looks_random": _records(random[["checkpoint", "layer", "module"]]),
        "summary": words,
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, with null for what is empty (JSON has no NaN)."""
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return records


def _draw(path: Path, drift: pd.DataFrame, spectra: dict[str, pd.DataFrame]) -> None:
    layers = drift[drift["layer"].notna()]
    if not (layers.loc[layers["measure"] == "update_norm", "observed"] > 0).any():
        print(f"{path}: not drawn, because nothing in the layers changed", file=sys.stderr)
        return
    from svdrift.figures import rotation_heatmap, style  # takes a second to import

    matrices = pd.concat(table.assign(checkpoint=name, seed=0) for name, table in spectra.items())
    drift = drift.assign(pair="anchor-to-target", before="anchor", after="target", seed=0)
    story = Story(path=("anchor", "target"), path_label="", labels={})
    style.save(rotation_heatmap.draw(drift, matrices, story), path)
