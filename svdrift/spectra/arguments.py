"""Command-line arguments by which scripts find the checkpoints that they compare."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from svdrift.checkpoints import resolve
from svdrift.spectra.decomposition import Decomposed


def checkpoint_arguments(parser: ArgumentParser) -> None:
    """Add `--models`, `--factors` and `--anchor-choice`, which `open_checkpoint` reads."""
    parser.add_argument(
        "--models", required=True, help="folders of models, with {checkpoint} for the id"
    )
    parser.add_argument(
        "--factors", required=True, help="files of factors, with {checkpoint} for the id"
    )
    parser.add_argument(
        "--anchor-choice", type=Path, help="which checkpoint `anchor` is (JSON), if it is named"
    )


def open_checkpoint(args: Namespace, name: str) -> tuple[str, Decomposed]:
    """Open a checkpoint by id, or by the name `anchor`; return its id and itself.

    Raises:
        UserError: see `svdrift.checkpoints.resolve` and `Decomposed.open`.
    """
    checkpoint = resolve(name, args.anchor_choice)
    folder, factors = (
        Path(pattern.replace("{checkpoint}", checkpoint)) for pattern in (args.models, args.factors)
    )
    return checkpoint, Decomposed.open(folder, factors)
