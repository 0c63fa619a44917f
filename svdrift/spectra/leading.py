"""How far a matrix's leading directions turn, and how far noise turns them, without whole SVDs.

What `svdrift compare` asks (values and the leading k directions) can be had in the smaller of a
matrix's two dimensions, r. Let W = U S V^T be the matrix before, transposed if it is wide, so that
V is r × r, and D an update. In the basis V the Gram matrix of W + D is

    S² + C + C^T + K,   C = S U^T D V = (W V)^T (D V),   K = V^T D^T D V,

its eigenvalues are the squares of the new singular values, and its leading eigenvectors v' hold the
new right directions. The new left ones, seen from the old ones, are (S v' + U^T D V v') / s'. So an
update is known by C and K. Noise without direction in the left space has its C and K from r × r
matrices alone: no draw needs a matrix of the full shape, or all vectors of an eigenproblem.

A draw begins from a random matrix that all matrices of one shape share, whose rows and columns each
of them permutes, with random signs: the distribution of a Gaussian or Haar matrix stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from scipy.linalg import eigh_tridiagonal, eigvalsh_tridiagonal, lapack
from torch import Tensor

from svdrift.spectra.angles import angles_from_cosines
from svdrift.spectra.decomposition import by_gram
from svdrift.spectra.matrices import Key
from svdrift.spectra.nulls import generator, norms_kept, random_basis

LEAST = 1e-6  # of the largest singular value: the directions of smaller ones are unknown


class Basis(NamedTuple):
    """A matrix W before, m × n with m >= n after transposing: what updates are seen from."""

    S: Tensor  # (r,), falling, float64
    V: Tensor  # (r, r), float64
    scaled: Tensor  # W V = U S, (m, r), float32
    wide: bool  # whether W was transposed


@dataclass(frozen=True)
class Update:
    """An update D, seen from a basis. All float32 but `energy`."""

    cross: Tensor  # C, (r, r)
    gram: Tensor  # K, (r, r)
    energy: float  # ||D||_F²

    @cached_property
    def root(self) -> Tensor:
        """T with T^T T = K, whatever the rank of K; (r, r)."""
        root, failed = torch.linalg.cholesky_ex(self.gram.double(), upper=True)
        if failed.item():
            values, vectors = torch.linalg.eigh(self.gram.double())
            root = values.clamp(min=0).sqrt()[:, None] * vectors.T
        of_float32: Tensor = root.float()
        return of_float32


class Turned(NamedTuple):
    """What an update does to a matrix; angles are NaN where there are no such directions."""

    values: Tensor  # new singular values, falling, (r,), float64
    left: float  # mean principal angle between the leading k directions, in degrees
    right: float


def basis(weight: Tensor, device: torch.device | str = "cpu") -> Basis:
    """Decompose a matrix of any floating type, shape (m, n)."""
    wide = weight.shape[0] < weight.shape[1]
    tall = (weight.T if wide else weight).to(device)
    S, Vh = by_gram(tall, device)
    return Basis(S, Vh.T, tall.float() @ Vh.T.float(), wide)


def seen(update: Tensor, of: Basis) -> Update:
    """See an update from a matrix's basis.

    Args:
        update: D, of the matrix's shape and any floating type.
        of: the matrix before.
    """
    tall = (update.T if of.wide else update).to(of.S.device)
    moved = tall.float() @ of.V.float()
    energy = tall.double().square().sum().item()
    return Update(of.scaled.T @ moved, moved.T @ moved, energy)


def turned(of: Basis, by: Update, k: int) -> Turned:
    """What becomes of a matrix's values and leading k directions."""
    gram = by.cross.double()
    gram = gram + gram.T + by.gram.double()
    gram.diagonal().add_(of.S.square())
    squares, vectors = _leading(gram, k)
    values = squares.clamp(min=0).sqrt()
    if of.S[k - 1] <= LEAST * of.S[0] or values[k - 1] <= LEAST * values[0]:
        return Turned(values, math.nan, math.nan)
    old = of.S[:k, None]
    left = (old * vectors[:k] + by.cross[:k].double() @ vectors / old) / values[:k]
    return Turned(values, _mean_angle(left), _mean_angle(vectors[:k]))


def beside(of: Basis, later: Basis, k: int) -> Turned:
    """The same from a decomposition of the later matrix, also where it is little or nothing."""
    if not later.S[0] or min(of.S[k - 1] / of.S[0], later.S[k - 1] / later.S[0]) <= LEAST:
        return Turned(later.S, math.nan, math.nan)
    left, other = (one.scaled[:, :k].double() / one.S[:k] for one in (of, later))
    return Turned(later.S, _mean_angle(left.T @ other), _mean_angle(of.V[:, :k].T @ later.V[:, :k]))


def _mean_angle(cross: Tensor) -> float:
    return float(angles_from_cosines(cross).mean().rad2deg())


def _leading(gram: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All eigenvalues, falling, and the vectors of the k largest, (r, k)."""
    if gram.is_cuda or len(gram) == 1:
        values, vectors = torch.linalg.eigh(gram)
        return values.flip(0), vectors[:, -k:].flip(1)
    # LAPACK's dsyevr step by step, since it gives either all values or chosen vectors. A
    # tridiagonal matrix takes most of the time; dormqr is what dormtr calls.
    size = len(gram)
    work = int(lapack.dsytrd_lwork(size, lower=1)[0])
    reflectors, diagonal, off, tau, _ = lapack.dsytrd(gram.numpy(), lower=1, lwork=work)
    values = eigvalsh_tridiagonal(diagonal, off, check_finite=False)
    chosen = (size - k, size - 1)
    _, vectors = eigh_tridiagonal(
        diagonal, off, select="i", select_range=chosen, check_finite=False, lapack_driver="stemr"
    )
    vectors[1:], _, _ = lapack.dormqr(
        "L", "N", reflectors[1:, :-1], tau, vectors[1:], max(1, 64 * k)
    )
    return torch.from_numpy(values[::-1].copy()), torch.from_numpy(vectors[:, ::-1].copy())


def in_basis(of: Basis, by: Update) -> Tensor:
    """U^T D V, (r, r); rows of directions without a singular value are 0."""
    S = of.S.float()[:, None]
    return torch.where(LEAST * S[0] < S, by.cross / S, 0)


# --------------------------------------------------------------------------------------
# Nulls, as in `svdrift.spectra.nulls`, of an update that is known by C and K


class Stock:
    """Random matrices that all matrices of one shape share.

    Args:
        shape: (m, r) of the matrices, transposed if they are wide.
        seed: of the draws.
        device: where they are used.
    """

    def __init__(self, shape: tuple[int, int], seed: int, device: torch.device | str) -> None:
        self._shape, self._seed, self._device = shape, seed, device
        self._kept: dict[tuple[str, int], Tensor] = {}

    def gaussian(self, number: int) -> tuple[Tensor, Tensor]:
        """The first r rows of a Gaussian matrix of norm 1, and its Gram matrix; both (r, r)."""

        def make(rng: torch.Generator) -> Tensor:
            whole = torch.randn(self._shape, generator=rng)
            whole /= whole.norm()
            return torch.stack([whole[: self._shape[1]], whole.T @ whole])

        first, gram = self._once("gaussian", number, make)
        return first, gram

    def haar(self, number: int) -> Tensor:
        """The first r rows of r Haar-random orthonormal columns of length m."""
        return self._once("outputs", number, lambda rng: self._basis(self._shape[0], rng))

    def square(self, number: int) -> Tensor:
        """A Haar-random rotation, (r, r)."""
        return self._once("inputs", number, lambda rng: self._basis(self._shape[1], rng))

    def _basis(self, rows: int, rng: torch.Generator) -> Tensor:
        return random_basis(rows, self._shape[1], rng)[: self._shape[1]].float()

    def _once(self, kind: str, number: int, make: Callable[[torch.Generator], Tensor]) -> Tensor:
        if (kind, number) not in self._kept:
            rng = generator(self._seed, kind, self._shape, number)
            self._kept[kind, number] = make(rng).to(self._device)
        return self._kept[kind, number]


@lru_cache(maxsize=1)
def stock_of(shape: tuple[int, int], seed: int, device: torch.device | str) -> Stock:
    """The stock of a shape; kept until that of another one is asked for."""
    return Stock(shape, seed, device)


class _Mixing(NamedTuple):
    """A permutation of r places, with signs: among the rotations that no Haar matrix feels."""

    order: Tensor
    signs: Tensor

    @classmethod
    def draw(cls, like: Tensor, rng: torch.Generator) -> _Mixing:
        order = torch.randperm(len(like), generator=rng)
        signs = 2.0 * torch.randint(2, (len(like),), generator=rng) - 1
        return cls(order.to(like.device), signs.to(like.device))

    def rows(self, matrix: Tensor) -> Tensor:
        return matrix.index_select(0, self.order) * self.signs[:, None]

    def columns(self, matrix: Tensor) -> Tensor:
        return matrix.index_select(1, self.order) * self.signs


def _isotropic(by: Update, of: Basis, stock: Stock, number: int, rng: torch.Generator) -> Update:
    first, gram = stock.gaussian(number)
    left, right = _Mixing.draw(first, rng), _Mixing.draw(first, rng)
    size = math.sqrt(by.energy)
    cross = of.S.float()[:, None] * right.columns(left.rows(first)) * size
    return Update(cross, right.rows(right.columns(gram)) * by.energy, by.energy)


def _inputs_kept(by: Update, of: Basis, stock: Stock, number: int, rng: torch.Generator) -> Update:
    """R D; see `svdrift.spectra.nulls.inputs_kept`.

    In the basis U of a tall W the first r rows of R D V are those of a Haar matrix times any root
    of K. A wide W was transposed, so that R stands on the right: D^T V Q with Q = V^T R^T V.
    """
    if of.wide:
        return _turned_inputs(by, stock, number, rng)
    haar = stock.haar(number)
    left, right = _Mixing.draw(haar, rng), _Mixing.draw(haar, rng)
    outputs = right.columns(left.rows(haar))
    return Update(of.S.float()[:, None] * (outputs @ by.root), by.gram, by.energy)


def _spectrum_kept(
    by: Update, of: Basis, stock: Stock, number: int, rng: torch.Generator
) -> Update:
    """R D R'; see `svdrift.spectra.nulls.spectrum_kept`."""
    tall = of._replace(wide=False)
    return _turned_inputs(_inputs_kept(by, tall, stock, number, rng), stock, number, rng)


def _turned_inputs(by: Update, stock: Stock, number: int, rng: torch.Generator) -> Update:
    """D R' with a Haar-random rotation, seen from a basis: C Q and Q^T K Q."""
    square = stock.square(number)
    left, right = _Mixing.draw(square, rng), _Mixing.draw(square, rng)
    Q = right.columns(left.rows(square))
    return Update(by.cross @ Q, Q.T @ (by.gram @ Q), by.energy)


def _signs_randomised(
    by: Update, of: Basis, stock: Stock, number: int, rng: torch.Generator
) -> Update:
    """Entries of U^T D V with random signs; what lies outside U keeps its norm by columns.

    See `svdrift.spectra.nulls.signs_randomised`.
    """
    core = in_basis(of, by)
    signs = 2.0 * torch.randint(2, core.shape, generator=rng) - 1
    drawn = core * signs.to(core.device)
    outside = (by.gram.diagonal() - core.square().sum(0)).clamp(min=0).sqrt()
    gram = drawn.T @ drawn
    if (more := len(of.scaled) - len(core)) > 0:
        random = torch.randn(more, len(core), generator=rng).to(core.device)
        random *= outside / random.norm(dim=0)
        gram += random.T @ random
    return Update(of.S.float()[:, None] * drawn, gram, by.energy)


DRAWN = {
    "isotropic": _isotropic,
    "inputs_kept": _inputs_kept,
    "spectrum_kept": _spectrum_kept,
    "signs_randomised": _signs_randomised,
}
"""How an update is drawn anew from C and K; `norms_kept` needs the update itself."""


def draw(
    null: str, update: Tensor, by: Update, of: Basis, seed: int, key: Key, number: int
) -> Update:
    """One draw of a null of a matrix's update, the same whatever else is drawn.

    Args:
        null: its name.
        update: D, in the matrix's own shape.
        by: the same, seen.
        of: the matrix before.
        seed: of the draws.
        key: of the matrix.
        number: of the draw.
    """
    rng = generator(seed, "leading", null, *key, number)
    if null == "norms_kept":
        return seen(norms_kept(update.double(), rng), of)
    rows, columns = of.scaled.shape
    return DRAWN[null](by, of, stock_of((rows, columns), seed, of.S.device), number, rng)
