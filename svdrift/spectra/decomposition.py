"""One singular value decomposition per weight matrix and checkpoint, streamed to one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from svdrift.artefacts import BLANK, require_sealed, require_unchanged, seal
from svdrift.errors import UserError
from svdrift.models.finite import is_finite as is_finite
from svdrift.models.finite import require_finite
from svdrift.models.folders import weights_hash
from svdrift.models.tensor_file import NAMES, TensorFile
from svdrift.scripting import damaged
from svdrift.spectra.matrices import Key, Matrix, Weights
from svdrift.spectra.patterns import DEFAULT_PATTERNS

DOUBLE_UP_TO = 2**21
"""Matrices of at most so many entries may be decomposed by LAPACK in float64."""

VERY_TALL = 6
"""Larger ones with so many rows a column (embeddings) are decomposed by pieces of their rows."""

PIECE = 4  # rows a column of a piece: little beside the whole, much beside the R that it joins
LEAST_RATIO = 1e-8  # of singular values up to which by pieces U is orthonormal in float32
NARROW = 1e-4  # ratio of singular values up to which from the Gram matrix it is so to 1e-8


class Factors(NamedTuple):
    """Thin SVD of an m × n matrix: W = U diag(S) Vh, r = min(m, n), S falling.

    Or r of its ranks, where they have been chosen.
    """

    U: Tensor  # (m, r), orthonormal columns
    S: Tensor  # (r,)
    Vh: Tensor  # (r, n), orthonormal rows

    def of(self, ranks: Tensor) -> Factors:
        """Choose ranks, by their indices."""
        return Factors(self.U[:, ranks], self.S[ranks], self.Vh[ranks])

    def to(self, device: torch.device | str) -> Factors:
        """Return the factors on a device."""
        return Factors(*(factor.to(device) for factor in self))

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
    return 1.5 * basis - 0.5 * basis @ (basis.mT @ basis)


def decompose(
    matrix: Tensor, device: torch.device | str = "cpu", ranks: Tensor | None = None
) -> Factors:
    """Decompose an m × n matrix of any floating type.

    From the eigenvectors of the Gram matrix in float64, which on a CPU takes the time of LAPACK's
    SVD in float32, and on a GPU a fifth of cuSOLVER's or less; where the spectrum is too wide for
    that, by LAPACK's gesdd in float64, or of large matrices by QR. Singular vectors are unique up
    to a common sign of u_i and v_i (if singular values are distinct); here the largest entry of
    each u_i is positive, as in scikit-learn's `svd_flip`.

    Args:
        matrix: W.
        device: where to compute.
        ranks: indices of the singular values that are wanted, from the largest; None for all.

    Returns:
        Float32 factors on the CPU, of the chosen ranks alone.
    """
    wide = matrix.shape[0] < matrix.shape[1]  # LAPACK is twice as fast on the tall one
    U, S, Vh = _thin_svd(matrix.T if wide else matrix, device, ranks)
    if wide:
        U, Vh = Vh.T, U.T
    low, high = U.aminmax(dim=0)
    sign = torch.where(high >= -low, 1, -1)
    U.mul_(sign)
    Vh.mul_(sign[:, None])
    return Factors(*(factor.to("cpu", torch.float32).contiguous() for factor in (U, S, Vh)))


def decompose_stack(matrices: Tensor) -> Factors:
    """Decompose matrices of one shape to the last digit, such as the draws of a null.

    Float64 throughout, by the ways of `decompose`. Signs of singular vectors are the library's.

    Args:
        matrices: shape (d, m, n), float64.

    Returns:
        Float64 factors of shapes (d, m, r), (d, r) and (d, r, n), on the device of `matrices`.
    """
    _, rows, columns = matrices.shape
    if rows < columns:
        U, S, Vh = _tall_stack(matrices.mT)
        return Factors(Vh.mT, S, U.mT)
    return Factors(*_tall_stack(matrices))


def _tall_stack(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vh of float64 matrices of one shape with m >= n."""
    squares, V = torch.linalg.eigh(matrices.mT @ matrices)
    S, V = squares.flip(-1).clamp(min=0).sqrt(), V.flip(-1)
    if (S[:, -1] > NARROW * S[:, 0]).all():
        return _orthonormal(matrices @ V / S[:, None]), S, V.mT
    if matrices[0].numel() <= DOUBLE_UP_TO and not matrices.is_cuda:
        U, S, Vh = torch.linalg.svd(matrices, full_matrices=False)
        return U, S, Vh
    each = [_by_qr(one, Vh) for one, Vh in zip(matrices, V.mT, strict=True)]
    U, S, Vh = (torch.stack(parts) for parts in zip(*each, strict=True))
    return U, S, Vh


def _thin_svd(
    matrix: Tensor, device: torch.device | str, ranks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, k), S (k,) and Vh (k, n) of a matrix with m >= n, for the chosen k ranks."""
    large = matrix.numel() > DOUBLE_UP_TO
    S, Vh = by_gram(matrix, device)
    narrow = S[-1] > NARROW * S[0]
    if not narrow and large and len(matrix) >= VERY_TALL * matrix.shape[1]:
        S, Vh = _by_pieces(matrix, device)
        narrow = S[-1] > LEAST_RATIO * S[0]
    if narrow:
        if ranks is not None:
            S, Vh = S[ranks], Vh[ranks]
        return _left_vectors(matrix, S, Vh), S, Vh
    work = matrix.to(device=device, dtype=torch.float64)
    if large or work.is_cuda:  # cuSOLVER's SVD is off by 1e-3 and slow
        U, S, Vh = _by_qr(work, Vh)
    else:
        U, S, Vh = torch.linalg.svd(work, full_matrices=False)
    return (U, S, Vh) if ranks is None else (U[:, ranks], S[ranks], Vh[ranks])


def by_gram(matrix: Tensor, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """S (n,) and Vh (n, n), in float64, of a matrix with m >= n: eigenvectors of its Gram matrix.

    A value s is off by the rounding of float64 times S[0]^2 / s (Golub & Van Loan 2013, section
    8.6.3). Rows are read a piece at a time.
    """
    gram = torch.zeros(matrix.shape[1], matrix.shape[1], dtype=torch.float64, device=device)
    for piece in matrix.split(PIECE * matrix.shape[1]):
        piece = piece.to(gram)
        gram += piece.T @ piece
    squares, V = torch.linalg.eigh(gram)
    return squares.flip(0).clamp(min=0).sqrt(), V.flip(1).T


def _by_qr(work: Tensor, Vh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vh of a float64 matrix with m >= n, of any rank, from its Gram matrix's vectors.

    The columns of W V are orthogonal up to rounding, so R of their QR decomposition is diagonal
    up to 1e-8 of S[0]: U is orthonormal to the last digit, and the product is W to that.
    """
    U, R = torch.linalg.qr(work @ Vh.T)
    diagonal = R.diagonal()
    S, order = diagonal.abs().sort(descending=True, stable=True)
    return (U * diagonal.sign().where(diagonal != 0, 1))[:, order], S, Vh[order]


def _by_pieces(matrix: Tensor, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """S (n,) and Vh (n, n), in float64, of a matrix with m >= n that is read a piece at a time.

    The R of a QR decomposition has the same ones, and is found by adding pieces to it (sequential
    TSQR, Demmel et al. 2012, section 3).
    """
    R = torch.empty(0, matrix.shape[1], dtype=torch.float64, device=device)
    for piece in matrix.split(PIECE * matrix.shape[1]):
        R = torch.linalg.qr(torch.cat([R, piece.to(R)]), mode="r").R
    _, S, Vh = torch.linalg.svd(R)
    return S, Vh


def _left_vectors(matrix: Tensor, S: Tensor, Vh: Tensor) -> Tensor:
    """U = W V S^-1 in float32, (m, k); off by the rounding of float64 times S[0] / S[-1]."""
    scaled = Vh.T / S
    U = torch.empty(len(matrix), len(S), device=S.device)
    size = PIECE * matrix.shape[1]
    for rows, piece in zip(U.split(size), matrix.split(size), strict=True):
        rows.copy_(piece.to(scaled) @ scaled)
    return U


def decompose_checkpoint(
    folder: Path,
    out: Path,
    *,
    patterns: Mapping[str, str] = DEFAULT_PATTERNS,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the factors of all labelled matrices of a model folder to the safetensors file `out`.

    The file holds `{name}.U`, `{name}.S` and `{name}.Vh`; its metadata hold
    `content_hash` (`svdrift.models.folders.weights_hash`), the labels and its own `checksum`.
    Memory stays within a few times the largest matrix, because matrices are read, decomposed and
    written one after the other. `out` appears when complete.

    Args:
        folder: Hugging Face folder of safetensors.
        out: the file to write (replaced if it exists).
        patterns: module to pattern of tensor names, see `Labels`.
        device: where the decompositions run.
        dtype: in which singular vectors are kept; singular values always in float32.

    Raises:
        UserError: see `Weights`; the files are not those that were written; or a matrix holds NaN
            or infinite entries.
    """
    require_unchanged(folder)
    weights = Weights(folder, patterns)
    entries: dict[str, tuple[str, tuple[int, ...]]] = {}
    kept = NAMES[dtype]
    for matrix in weights.matrices:
        rows, columns = matrix.shape
        entries[f"{matrix.name}.U"] = (kept, (rows, matrix.rank))
        entries[f"{matrix.name}.S"] = ("F32", (matrix.rank,))
        entries[f"{matrix.name}.Vh"] = (kept, (matrix.rank, columns))
    labels = [[m.name, m.layer, m.module, m.shape] for m in weights.matrices]
    metadata = {
        "content_hash": weights_hash(folder),
        "matrices": json.dumps(labels),
        "patterns": json.dumps(weights.labels.patterns),
        "checksum": BLANK,
    }
    with TensorFile(out, entries, metadata) as file:
        for matrix, tensor in weights:
            require_finite(folder, [(matrix.name, tensor)])
            for part, factor in zip(("U", "S", "Vh"), decompose(tensor, device), strict=True):
                file.write(f"{matrix.name}.{part}", factor if part == "S" else factor.to(dtype))
    seal(out)


class FactorSource(Protocol):
    """The factors of one checkpoint, read one matrix at a time.

    Attributes:
        content_hash: of the checkpoint that was decomposed.
        matrices: key (layer, module) to matrix, in the order in which they are compared.
    """

    matrices: dict[Key, Matrix]

    @property
    def content_hash(self) -> str: ...  # noqa: D102

    def read(self, key: Key, ranks: Tensor | None = None) -> Factors:
        """Return the float32 factors of one matrix; of all ranks or of chosen ones."""
        ...

    def singular_values(self, key: Key) -> Tensor:
        """Return the singular values of one matrix, falling, shape (r,)."""
        ...


class FactorStore:
    """The factors that `decompose_checkpoint` wrote, read lazily, one matrix at a time.

    Attributes:
        content_hash: of the checkpoint that was decomposed.
        patterns: the patterns that labelled its matrices.
        matrices: key (layer, module) to matrix, in the order of the file.

    Raises:
        UserError: `path` is not such a file, or not as it was written; on reading, that factors
            are not finite.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            require_sealed(path)
            with safe_open(path, framework="pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
            self.content_hash: str = metadata["content_hash"]
            self.patterns: dict[str, str] = json.loads(metadata["patterns"])
            matrices = [
                Matrix(name, layer, module, (shape[0], shape[1]))
                for name, layer, module, shape in json.loads(metadata["matrices"])
            ]
        except FileNotFoundError:
            raise UserError(f"{path}: no such file of factors") from None
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise damaged(path, f"is not a file of factors: {error!r}") from None
        self.matrices: dict[Key, Matrix] = {matrix.key: matrix for matrix in matrices}

    def read(self, key: Key, ranks: Tensor | None = None) -> Factors:
        """Read the float32 factors of one matrix; of all ranks or of chosen ones."""
        name = self.matrices[key].name
        factors = Factors(*(self._read(f"{name}.{part}") for part in ("U", "S", "Vh")))
        return factors if ranks is None else factors.of(ranks)

    def singular_values(self, key: Key) -> Tensor:
        """Read the singular values of one matrix alone, falling, shape (r,)."""
        return self._read(f"{self.matrices[key].name}.S")

    def _read(self, name: str) -> Tensor:
        with safe_open(self.path, framework="pt") as file:
            factor: Tensor = file.get_tensor(name)
        if not is_finite(factor):
            raise damaged(self.path, f"{name} holds NaN or infinite entries")
        return factor.float()


@dataclass(frozen=True)
class Decomposed:
    """A checkpoint with its factors: what drift and recovery compare."""

    weights: Weights
    factors: FactorSource

    @classmethod
    def open(cls, folder: Path, factors: Path) -> Self:
        """Open a model folder together with the factors made from it.

        Raises:
            UserError: one of them cannot be read, or the factors were made from other weights.
        """
        store = FactorStore(factors)
        weights = Weights(folder, store.patterns)
        if tuple(store.matrices.values()) != weights.matrices:
            raise damaged(factors, f"made from other matrices than those of {folder}")
        if store.content_hash != weights_hash(folder):
            require_unchanged(folder)  # which names the file that is damaged
            raise damaged(factors, f"made from other weights than those of {folder}")
        return cls(weights, store)

    def weight(self, key: Key) -> Tensor:
        """Read one labelled matrix, in the file's own type."""
        return self.weights.read(self.factors.matrices[key].name)


def require_same_matrices(first: Decomposed, second: Decomposed) -> None:
    """Refuse to compare checkpoints of different architectures.

    Raises:
        UserError: their labelled matrices or shapes differ.
    """
    keys = first.factors.matrices.keys() | second.factors.matrices.keys()
    for key in sorted(keys, key=lambda key: (key[0] is None, key[0] or 0, key[1])):
        if problem := mismatch(first, second, key):
            raise UserError(problem)


def mismatch(first: Decomposed, second: Decomposed, key: Key) -> str:
    """How two checkpoints differ in the shape of a matrix, or in having it; empty if they agree."""
    what = key[1] if key[0] is None else f"{key[1]} of layer {key[0]}"
    one, other = first.factors.matrices.get(key), second.factors.matrices.get(key)
    folders = first.weights.folder, second.weights.folder
    if one is None or other is None:
        having, lacking = folders if other is None else reversed(folders)
        own = "" if key[0] is not None else " of its own"
        return f"{lacking} has no {what}{own}, {having} has"
    if one.shape == other.shape:
        return ""
    shapes = f"{one.shape} and {other.shape}"
    return f"{folders[0]} and {folders[1]} differ in the shape of {what}: {shapes}"
