"""One singular value decomposition per weight matrix and checkpoint, streamed to one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from svdrift.errors import UserError
from svdrift.models.folders import weights_hash
from svdrift.spectra.matrices import Key, Matrix, Weights
from svdrift.spectra.patterns import DEFAULT_PATTERNS
from svdrift.spectra.tensor_file import TensorFile

DOUBLE_UP_TO = 2**21
"""Matrices of at most so many entries are decomposed in float64: it costs next to nothing."""


class Factors(NamedTuple):
    """Thin SVD of an m × n matrix: W = U diag(S) Vh, r = min(m, n), S falling."""

    U: Tensor  # (m, r), orthonormal columns
    S: Tensor  # (r,)
    Vh: Tensor  # (r, n), orthonormal rows

    def double(self) -> Factors:
        """Return the factors in float64, orthonormal again to that precision.

        Rounding to float32 leaves cosines off by 1e-7 and so angles by 1e-3 degrees and more. One
        Newton-Schulz step X (3 - X^T X) / 2 towards the polar factor (Higham 2008, eq. 8.20)
        squares that error away and turns no subspace by more than the rounding did.
        """
        return Factors(
            _orthonormal(self.U.double()), self.S.double(), _orthonormal(self.Vh.double().T).T
        )


def _orthonormal(basis: Tensor) -> Tensor:
    return 1.5 * basis - 0.5 * basis @ (basis.T @ basis)


def decompose(matrix: Tensor, device: torch.device | str = "cpu") -> Factors:
    """Decompose an m × n matrix of any floating type.

    LAPACK's gesdd (on a GPU cuSOLVER), in float64 for small matrices, else in float32. Singular
    vectors are unique up to a common sign of u_i and v_i (if singular values are distinct); here
    the largest entry of each u_i is positive, as in scikit-learn's `svd_flip`.

    Returns:
        Float32 factors on the CPU.
    """
    double = matrix.numel() <= DOUBLE_UP_TO
    work = matrix.to(device=device, dtype=torch.float64 if double else torch.float32)
    wide = work.shape[0] < work.shape[1]  # LAPACK is twice as fast on the tall one
    U, S, Vh = torch.linalg.svd(work.T if wide else work, full_matrices=False)
    if wide:
        U, Vh = Vh.T, U.T
    sign = torch.sign(U.gather(0, U.abs().argmax(dim=0, keepdim=True)))  # (1, r)
    U.mul_(sign)
    Vh.mul_(sign.T)
    return Factors(*(factor.to("cpu", torch.float32).contiguous() for factor in (U, S, Vh)))


def decompose_checkpoint(
    folder: Path,
    out: Path,
    *,
    patterns: Mapping[str, str] = DEFAULT_PATTERNS,
    device: torch.device | str = "cpu",
) -> None:
    """Write the factors of all labelled matrices of a model folder to the safetensors file `out`.

    The file holds `{name}.U`, `{name}.S` and `{name}.Vh` in float32; its metadata hold
    `content_hash` (`svdrift.models.folders.weights_hash`) and the labels. Memory stays within a few
    times the largest matrix, because matrices are read, decomposed and written one after the
    other. `out` appears when complete.

    Args:
        folder: Hugging Face folder of safetensors.
        out: the file to write (replaced if it exists).
        patterns: module to pattern of tensor names, see `Labels`.
        device: where the decompositions run.

    Raises:
        UserError: see `Weights`; or a matrix holds NaN or infinite entries.
    """
    weights = Weights(folder, patterns)
    entries: dict[str, tuple[str, tuple[int, ...]]] = {}
    for matrix in weights.matrices:
        rows, columns = matrix.shape
        entries[f"{matrix.name}.U"] = ("F32", (rows, matrix.rank))
        entries[f"{matrix.name}.S"] = ("F32", (matrix.rank,))
        entries[f"{matrix.name}.Vh"] = ("F32", (matrix.rank, columns))
    labels = [[m.name, m.layer, m.module, m.shape] for m in weights.matrices]
    metadata = {
        "content_hash": weights_hash(folder),
        "matrices": json.dumps(labels),
        "patterns": json.dumps(weights.labels.patterns),
    }
    with TensorFile(out, entries, metadata) as file:
        for matrix, tensor in weights:
            if not torch.isfinite(tensor).all():
                raise UserError(f"{folder}: {matrix.name} holds NaN or infinite entries")
            for part, factor in zip(("U", "S", "Vh"), decompose(tensor, device), strict=True):
                file.write(f"{matrix.name}.{part}", factor)


class FactorStore:
    """The factors that `decompose_checkpoint` wrote, read lazily, one matrix at a time.

    Attributes:
        content_hash: of the checkpoint that was decomposed.
        patterns: the patterns that labelled its matrices.
        matrices: key (layer, module) to matrix, in the order of the file.

    Raises:
        UserError: `path` is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with safe_open(path, framework="pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
            self.content_hash = metadata["content_hash"]
            self.patterns: dict[str, str] = json.loads(metadata["patterns"])
            matrices = [
                Matrix(name, layer, module, (shape[0], shape[1]))
                for name, layer, module, shape in json.loads(metadata["matrices"])
            ]
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise UserError(f"{path}: not a file of factors: {error!r}") from None
        self.matrices: dict[Key, Matrix] = {matrix.key: matrix for matrix in matrices}

    def read(self, key: Key) -> Factors:
        """Read the float32 factors of one matrix."""
        name = self.matrices[key].name
        with safe_open(self.path, framework="pt") as file:
            return Factors(*(file.get_tensor(f"{name}.{part}") for part in ("U", "S", "Vh")))

    def singular_values(self, key: Key) -> Tensor:
        """Read the singular values of one matrix alone, falling, shape (r,)."""
        with safe_open(self.path, framework="pt") as file:
            values: Tensor = file.get_tensor(f"{self.matrices[key].name}.S")
        return values


@dataclass(frozen=True)
class Decomposed:
    """A checkpoint with its factors: what drift and recovery compare."""

    weights: Weights
    factors: FactorStore

    @classmethod
    def open(cls, folder: Path, factors: Path) -> Self:
        """Open a model folder together with the factors made from it.

        Raises:
            UserError: one of them cannot be read, or the factors were made from other weights.
        """
        store = FactorStore(factors)
        weights = Weights(folder, store.patterns)
        if tuple(store.matrices.values()) != weights.matrices:
            raise UserError(f"{factors}: made from other matrices than those of {folder}")
        if store.content_hash != weights_hash(folder):
            raise UserError(f"{factors}: made from other weights than those of {folder}")
        return cls(weights, store)

    def weight(self, key: Key) -> Tensor:
        """Read one labelled matrix, in the file's own type."""
        return self.weights.read(self.factors.matrices[key].name)


def require_same_matrices(first: Decomposed, second: Decomposed) -> None:
    """Refuse to compare checkpoints of different architectures.

    Raises:
        UserError: their labelled matrices or shapes differ.
    """
    shapes = [{k: m.shape for k, m in d.factors.matrices.items()} for d in (first, second)]
    if shapes[0] != shapes[1]:
        keys = sorted(
            f"{key[1]} of layer {key[0]}" if key[0] is not None else key[1]
            for key in shapes[0].keys() | shapes[1].keys()
            if shapes[0].get(key) != shapes[1].get(key)
        )
        raise UserError(
            f"{first.weights.folder} and {second.weights.folder} differ in the shape of {keys[0]}"
        )
