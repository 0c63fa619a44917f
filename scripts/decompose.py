"""Decompose the weight matrices of a checkpoint: factors, and tables of its spectra."""

import argparse
import sys
from pathlib import Path

import pandas as pd
import torch

from svdrift.compute import device_argument
from svdrift.scripting import run, settings_argument, write_table
from svdrift.spectra.decomposition import Decomposed, FactorStore, decompose_checkpoint
from svdrift.spectra.layouts import layout
from svdrift.spectra.matrices import Weights
from svdrift.spectra.patterns import kind_of
from svdrift.spectra.rest import unlabelled
from svdrift.spectra.settings import SpectraSettings
from svdrift.spectra.tables import matrix_rows, spectrum_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, SpectraSettings)
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--checkpoint", required=True, help="its id, such as sft-140")
    device_argument(parser)
    parser.add_argument("--factors", type=Path, required=True, help="out: factors (safetensors)")
    parser.add_argument(
        "--spectrum", type=Path, required=True, help="out: one row a singular value (parquet)"
    )
    parser.add_argument(
        "--matrices", type=Path, required=True, help="out: one row a matrix (parquet)"
    )
    args = parser.parse_args()

    decompose_checkpoint(
        args.model,
        args.factors,
        patterns=layout(args.model, args.settings.patterns),
        device=args.device,
        dtype=getattr(torch, args.settings.factors),
    )
    factors = FactorStore(args.factors)
    write_table(spectrum_rows(factors), args.spectrum)
    weights = Weights(args.model, factors.patterns)
    matrices = matrix_rows(Decomposed(weights, factors))
    write_table(matrices, args.matrices)
    if left := unlabelled(weights):
        print(f"WARNING: {args.checkpoint}: not decomposed: {left}", file=sys.stderr)
    if matrices["looks_random"].any():
        print(warning(args.checkpoint, matrices), file=sys.stderr)


def warning(checkpoint: str, matrices: pd.DataFrame) -> str:
    """One line that names the matrices that look freshly initialised."""
    random = matrices[matrices["looks_random"]]
    names = []
    for kind, part in random.groupby(random["module"].map(kind_of), sort=False):
        layers = ", ".join(str(layer) for layer in part["layer"].dropna().unique())
        names.append(f"{kind} of layers {layers}" if layers else str(kind))
    return (
        f"WARNING: {checkpoint}: {len(random)} of {len(matrices)} matrices look freshly "
        f"initialised, as if never trained: {'; '.join(names)}"
    )


if __name__ == "__main__":
    run(main)
