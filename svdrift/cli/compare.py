"""Which layers and kinds of module turned between two checkpoints, and by more than noise?

Reads both folders (safetensors alone) one pair of matrices at a time. Each angle stands beside
those of noise of the update's size: where singular values lie close together any change turns
their vectors far, so an angle alone says nothing. Columns: docs/command-line.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from svdrift.api.comparing import DRAWS, NULLS, SHARE, Comparison, compare
from svdrift.cli import PROBLEM
from svdrift.cli.reading import ReadingProgress
from svdrift.cli.text import aligned
from svdrift.compute import device_argument
from svdrift.errors import UserError
from svdrift.spectra.comparison import degrees, nulls_in, percent
from svdrift.spectra.patterns import EMBEDDING, HEAD, INSIDE
from svdrift.spectra.rest import sentences
from svdrift.story import Story

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
        default=SHARE,
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
    reading = ReadingProgress()
    found = compare(
        args.anchor,
        args.target,
        ranks=args.ranks,
        modules=args.modules,
        nulls=args.nulls,
        draws=args.draws,
        seed=args.seed,
        device=args.device,
        on_open=lambda names: reading.start(names, "matrices compared"),
        on_read=reading.tick,
    )
    reading.finish()
    if args.json:
        print(json.dumps(_report(args, found), indent=2))
    else:
        print(f"{table_text(found.groups)}\n{LEGEND}\n\n" + "\n".join(found.summary))
        if found.not_compared:
            print("\n".join(["Not compared (--json names all):", *sentences(found.not_compared)]))
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


def _report(args: argparse.Namespace, found: Comparison) -> dict[str, Any]:
    models = {
        name: {"folder": str(getattr(args, name)), "weights_sha256": digest}
        for name, digest in found.hashes.items()
    }
    return {
        **models,
        "settings": {name: getattr(args, name) for name in ("ranks", "nulls", "draws", "seed")},
        "looks_random": _records(found.looks_random[["checkpoint", "layer", "module"]]),
        "summary": found.summary,
        "zeros": found.zeros,
        "not_compared": [one._asdict() for one in found.not_compared],
        "groups": _records(found.groups),
        "on_average": _records(found.on_average),
        "matrices": _records(found.matrices),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, with null for what is empty (JSON has no NaN)."""
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return records


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
