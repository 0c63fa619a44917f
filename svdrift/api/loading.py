"""Checkpoints with their factors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from svdrift.models.opening import opened
from svdrift.spectra.decomposition import Decomposed, decompose_checkpoint
from svdrift.spectra.layouts import chosen_patterns
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
        patterns = chosen_patterns(folder, modules)
        decompose_checkpoint(folder, file, patterns=patterns, device=device)
    return Decomposed.open(folder, file)


@contextmanager
def as_checkpoint(
    model: str | Path | Decomposed, modules: Collection[str], device: str
) -> Iterator[Decomposed]:
    """What `load_factors` gave, or a model opened for as long as it is needed."""
    if isinstance(model, Decomposed):
        yield model
        return
    with opened(model) as found:
        yield load_factors(found.folder, modules=modules, device=device)
