"""A checkpoint that is decomposed while it is compared: one matrix at a time, and nothing kept.

A study keeps factors in files, because many stages read them. For one comparison of two folders
these files, of twice the size of the models, would be written to be read once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from svdrift.errors import UserError
from svdrift.models.folders import file_faults, one_line, require_config, weights_hash
from svdrift.spectra.decomposition import Decomposed, Factors, decompose, is_finite
from svdrift.spectra.layouts import chosen_patterns
from svdrift.spectra.matrices import Key, Weights
from svdrift.spectra.patterns import DEFAULT_PATTERNS

FLOATING = ("F64", "F32", "F16", "BF16")


class ReportingWeights(Weights):
    """Weights that report the first read of each tensor.

    Args:
        folder: see `Weights`.
        patterns: see `Weights`.
        on_first_read: called with the tensor's name in the file, before it is read.

    Raises:
        UserError: see `Weights`.
    """

    def __init__(
        self, folder: Path, patterns: Mapping[str, str], on_first_read: Callable[[str], None]
    ) -> None:
        super().__init__(folder, patterns)
        self._unread = set(self.names)
        self._on_first_read = on_first_read

    def read(self, name: str) -> Tensor:
        """Read one tensor, in the file's own type.

        Raises:
            UserError: the file cannot be read.
        """
        if name in self._unread:
            self._unread.remove(name)
            self._on_first_read(name)
        try:
            return super().read(name)
        except SafetensorError as error:
            raise UserError(f"{self.folder}: {name} cannot be read: {one_line(error)}") from None


class FactorsOnDemand:
    """Factors that are computed whenever they are read; only singular values are remembered.

    Attributes:
        content_hash: of the weights, for which the files are read when it is first asked for.

    Args:
        weights: the tensors to decompose.
        device: where the decompositions run.

    Raises:
        UserError: a matrix is not of a floating type.
    """

    def __init__(self, weights: Weights, device: torch.device | str = "cpu") -> None:
        for matrix in weights.matrices:
            if (dtype := weights.dtype(matrix.name)) not in FLOATING:
                raise UserError(
                    f"{weights.folder}: {matrix.name} is of type {dtype} "
                    f"(allowed: {', '.join(FLOATING)}; quantised weights have no spectrum of use)"
                )
        self.matrices = {matrix.key: matrix for matrix in weights.matrices}
        self._weights = weights
        self._device = device
        self._values: dict[Key, Tensor] = {}

    def of(self, weights: Weights) -> FactorsOnDemand:
        """Those of the same checkpoint, whose tensors are cut in another way."""
        return FactorsOnDemand(weights, self._device)

    @cached_property
    def content_hash(self) -> str:
        """See `svdrift.models.folders.weights_hash`."""
        return weights_hash(self._weights.folder)

    def read(self, key: Key, ranks: Tensor | None = None) -> Factors:
        """Decompose one matrix into float32 factors; of all ranks or of chosen ones.

        Raises:
            UserError: it holds NaN or infinite entries, or cannot be read.
        """
        name = self.matrices[key].name
        tensor = self._weights.read(name)
        if not is_finite(tensor):
            raise UserError(f"{self._weights.folder}: {name} holds NaN or infinite entries")
        factors = decompose(tensor, self._device, ranks)
        if ranks is None:
            self._values[key] = factors.S
        return factors

    def remember(self, key: Key, values: Tensor) -> None:
        """Keep singular values of a matrix that were found elsewhere, falling, shape (r,)."""
        self._values[key] = values

    def singular_values(self, key: Key) -> Tensor:
        """Singular values of one matrix, falling, shape (r,); decomposes it if `read` has not.

        Raises:
            UserError: see `read`.
        """
        return self._values[key] if key in self._values else self.read(key).S


def open_on_demand(
    folder: Path,
    *,
    modules: Collection[str] = tuple(DEFAULT_PATTERNS),
    patterns: Mapping[str, str] | None = None,
    device: torch.device | str = "cpu",
    on_first_read: Callable[[str], None] = lambda name: None,
) -> Decomposed:
    """Open a model folder, whose matrices are decomposed when their factors are read.

    Memory stays within a few times the largest matrix of `modules`.

    Args:
        folder: a Hugging Face folder of safetensors, in one file or in shards.
        modules: the modules whose matrices are compared; see `chosen_patterns`.
        patterns: of modules that the model's layout lacks.
        device: where the decompositions run.
        on_first_read: see `ReportingWeights`.

    Raises:
        UserError: no model folder, or `file_faults` finds something; an unknown module; or see
            `ReportingWeights` and `FactorsOnDemand`.
    """
    require_config(folder)
    if faults := file_faults(folder):
        raise UserError(f"{folder}: {'; '.join(faults)}")
    chosen = chosen_patterns(folder, modules, patterns)
    weights = ReportingWeights(folder, chosen, on_first_read)
    return Decomposed(weights, FactorsOnDemand(weights, device))
