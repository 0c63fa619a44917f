"""Models, their factors, and a study's tables."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from svdrift.errors import UserError
from svdrift.scripting import read_table
from svdrift.spectra.decomposition import Decomposed, decompose_checkpoint
from svdrift.spectra.on_demand import open_on_demand
from svdrift.spectra.patterns import DEFAULT_PATTERNS

MODULES = tuple(DEFAULT_PATTERNS)


def load_factors(
    model: str | Path,
    file: str | Path | None = None,
    *,
    modules: Collection[str] = MODULES,
    device: str = "cpu",
) -> Decomposed:
    """Open a checkpoint with the singular value decompositions of its matrices.

    `.factors.matrices` lists them by (layer, module); `.factors.read(key)` gives U, S and Vh in
    float32, `.factors.singular_values(key)` S alone, and `.weight(key)` the matrix.

    Args:
        model: model folder.
        file: of factors, such as a study keeps; it is made if it does not exist, and refused if it
            was made from other weights. Without one a matrix is decomposed whenever it is read.
        modules: kinds of module; of a file that exists, those in it count.
        device: where to compute.

    Raises:
        UserError: the model or the file cannot be read, or they do not belong together.
    """
    folder = Path(model)
    if file is None:
        return open_on_demand(folder, modules=modules, device=device)
    file = Path(file)
    if not file.exists():
        patterns = {name: DEFAULT_PATTERNS[name] for name in DEFAULT_PATTERNS if name in modules}
        decompose_checkpoint(folder, file, patterns=patterns, device=device)
    return Decomposed.open(folder, file)


def as_checkpoint(
    model: str | Path | Decomposed, modules: Collection[str], device: str
) -> Decomposed:
    """What `load_factors` gave, or a model folder opened with it."""
    if isinstance(model, Decomposed):
        return model
    return load_factors(model, modules=modules, device=device)


def load_table(path: str | Path) -> pd.DataFrame:
    """Read a table of a study: `.parquet`, or the `.csv` beside a figure.

    Raises:
        UserError: it cannot be read.
    """
    path = Path(path)
    if path.suffix != ".csv":
        return read_table(path)
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
