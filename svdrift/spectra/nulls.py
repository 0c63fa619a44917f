"""Nulls to compare every measurement with: what meaningless matrices would show.

(a) A freshly initialised matrix has the singular values of the Marchenko-Pastur law. (b) Two
unrelated random matrices have nearly equal values and unrelated vectors. (c) Updates drawn anew,
which keep something of the real one: its norm alone (`isotropic`), its singular values, the norms
of its rows and columns, its inputs, or where its energy lies (`signs_randomised`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import stdtrit
from torch import Tensor

from svdrift.spectra.decomposition import Factors
from svdrift.spectra.matrices import Key

FloatArray = npt.NDArray[np.float64]

DISTANCE_FLOOR = 0.01
EDGE_DEVIATIONS = 5.0
NORMS_TOLERANCE = 1e-6  # relative, of squared norms, so of norms half of it


def largest_random_distance(rank: int) -> float:
    """Largest distance from the law at which a spectrum of `rank` values still looks random.

    Singular values of a random matrix keep their places: the count below any point is off by
    O(log r) at most, so the distance falls like log(r) / r and not like 1 / sqrt(r). Simulated for
    r = 16 to 512, Gaussian and uniform, the largest count in some hundred draws was 2.7 to 3.8;
    2 + 0.6 log r is 3.7 to 5.7. The floor lets a large matrix have a few zeroed rows (padding).
    """
    return max((2 + 0.6 * math.log(rank)) / rank, DISTANCE_FLOOR)


def marchenko_pastur(shape: tuple[int, int], points: int = 4096) -> tuple[FloatArray, FloatArray]:
    """Law of the singular values of an m × n matrix with independent entries of variance 1.

    With M = max(m, n) and y = min(m, n) / M, s²/M follows Marchenko & Pastur (1967) on
    [(1-sqrt y)², (1+sqrt y)²]; for y = 1, s follows the quarter circle. Substituting
    s²/M = 1 + y - 2 sqrt(y) cos φ makes the density (2/π) sin²φ / (s²/M) smooth.

    Returns:
        Rising singular values and the distribution function there, each of shape (points + 1,).
    """
    large, y = max(shape), min(shape) / max(shape)
    edges = np.linspace(0, np.pi, points + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.sin(middle) ** 2 / (1 + y - 2 * math.sqrt(y) * np.cos(middle))
    cdf = np.concatenate([[0.0], np.cumsum(density)])
    values = np.sqrt(large * np.maximum(1 + y - 2 * math.sqrt(y) * np.cos(edges), 0))
    return values, cdf / cdf[-1]


class RandomFit(NamedTuple):
    """How well a spectrum fits the law of a random matrix of its shape."""

    sigma: float  # fitted standard deviation of the entries, ||W||_F / sqrt(m n)
    distance: float  # Kolmogorov-Smirnov distance to the law with that scale, 0 to 1
    edge_ratio: float  # largest singular value / (sigma (sqrt m + sqrt n))
    follows_law: bool


def fit_random(values: Tensor, shape: tuple[int, int]) -> RandomFit:
    """Fit the Marchenko-Pastur law to a spectrum by its second moment, and judge the fit.

    A spectrum follows the law when both the whole of it is near (distance at most
    `largest_random_distance`) and its largest singular value keeps to the edge: s² stays below
    sigma² (mu + 5 tau) with mu = (sqrt m + sqrt n)² and tau = (sqrt m + sqrt n)
    (1/sqrt m + 1/sqrt n)^(1/3) (Johnstone 2001); 5 Tracy-Widom deviations are more than a random
    matrix ever needs (the 99.9 % quantile is 3.3). A trained matrix that has kept its random bulk
    fails the second. Costs O(r).

    Args:
        values: singular values, falling, shape (r,).
        shape: (m, n) of the matrix.
    """
    rows, columns = shape
    observed = values.double().numpy()[::-1]
    sigma = math.sqrt(float(np.square(observed).sum()) / (rows * columns))
    if sigma == 0:
        return RandomFit(0.0, 1.0, math.nan, False)
    rank = len(observed)
    law, cdf = marchenko_pastur(shape)
    expected = np.interp(observed / sigma, law, cdf, left=0.0, right=1.0)
    steps = np.arange(rank + 1) / rank
    distance = float(max((expected - steps[:-1]).max(), (steps[1:] - expected).max()))
    root = math.sqrt(rows) + math.sqrt(columns)
    deviation = root * (1 / math.sqrt(rows) + 1 / math.sqrt(columns)) ** (1 / 3)
    largest = float(observed[-1]) / sigma
    at_edge = largest**2 <= root**2 + EDGE_DEVIATIONS * deviation
    follows = distance <= largest_random_distance(rank)
    return RandomFit(sigma, distance, largest / root, bool(at_edge and follows))


def has_even_lengths(matrix: Tensor) -> bool:
    """Whether rows, and columns, are as nearly of one length as those of independent entries.

    A trained matrix may happen to have a random spectrum; its rows and columns hardly ever have
    one length. The squared length of n independent entries varies by (kurtosis - 1) / n of its
    mean squared, at most 2 / n for the Gaussian, uniform and truncated initialisations; that
    variance, measured on m rows, itself by sqrt((2 + 12 / n) / m) of it, of which up to 6 pass.
    Rows and columns of zeros (padding) are left out. One row or column alone has no variance, and
    so no even lengths.
    """
    for across in (0, 1):
        lengths = torch.linalg.vector_norm(matrix, dim=across, dtype=torch.float64).square()
        lengths = lengths[lengths > 0]
        if len(lengths) < 2:
            return False
        relative = lengths / lengths.mean()
        entries = matrix.shape[across]
        tolerance = 6 * math.sqrt((2 + 12 / entries) / len(lengths))
        if relative.var() > 2 / entries * (1 + tolerance):
            return False
    return True


def law_values(sigma: float, shape: tuple[int, int]) -> FloatArray:
    """Singular values that the law predicts at ranks 0..r-1, falling, shape (r,)."""
    rank = min(shape)
    law, cdf = marchenko_pastur(shape)
    return sigma * np.interp(1 - (np.arange(rank) + 0.5) / rank, cdf, law)


def generator(seed: int, *parts: object) -> torch.Generator:
    """Return a generator of its own for each label, whatever the order in which they are drawn."""
    text = "/".join(map(str, (seed, *parts)))
    return torch.Generator().manual_seed(zlib.crc32(text.encode()))


def random_basis(
    rows: int, columns: int, rng: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """Uniformly (Haar) random orthonormal columns (rows, columns), float64.

    QR of a Gaussian matrix with the signs of R's diagonal taken out (Mezzadri 2007).
    """
    gaussian = torch.randn(rows, columns, generator=rng, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian.to(device))
    basis: Tensor = q * torch.sign(r.diagonal())
    return basis


def unrelated_pair(
    shape: tuple[int, int], rng: torch.Generator, device: torch.device | str = "cpu"
) -> tuple[Factors, Factors]:
    """Null (b): factors of two independent Gaussian matrices of one shape, in float64.

    Only the relative position of their bases matters, and it is Haar distributed, so the first
    basis is the identity and the second is drawn; no singular vectors are computed.

    Drawn on the CPU, so that every device gets the same; computed on `device`.

    Cost: two QRs and two spectra without vectors, on the CPU: milliseconds for 336 × 128, minutes
    for 4096 × 14336. It depends on the shape alone, so a model needs it for some five shapes.
    """
    rows, columns = shape
    rank = min(shape)

    def spectrum() -> Tensor:
        gaussian = torch.randn(rows, columns, generator=rng, dtype=torch.float64)
        values: Tensor = torch.linalg.svdvals(gaussian.to(device))
        return values

    eye = Factors(
        torch.eye(rows, rank, dtype=torch.float64, device=device),
        spectrum(),
        torch.eye(rank, columns, dtype=torch.float64, device=device),
    )
    drawn = Factors(
        random_basis(rows, rank, rng, device),
        spectrum(),
        random_basis(columns, rank, rng, device).T,
    )
    return eye, drawn


# --------------------------------------------------------------------------------------
# Nulls of an update
#
# Drawing is cheap. What costs is the decomposition of anchor + draw that follows, one per draw and
# matrix: 2 ms for 96 × 96 or 256 × 96 on one core; for 4096 × 14336, by extrapolation, some 200
# core-seconds. For large models use a GPU, take few nulls and draws, and measure few pairs.


def isotropic(update: Tensor, rng: torch.Generator) -> Tensor:
    """Without direction: a Gaussian matrix of the update's shape and Frobenius norm."""
    gaussian = torch.randn(update.shape, generator=rng, dtype=torch.float64)
    scale: float = update.norm().item() / gaussian.norm().item()
    return gaussian.mul_(scale).to(update.device)


def inputs_kept(update: Tensor, rng: torch.Generator) -> Tensor:
    """Real inputs, outputs without direction: R D with a Haar-random rotation R of the rows.

    A gradient of y = W x is a sum of outer products of an error in y and an input x, so the row
    space of an update, D^T D and with it the singular values and right singular vectors, is what
    its inputs were like. These stay; the left singular vectors are Haar distributed. For m > n
    the triangular factor of D = Q T stands for D, since R Q is a Haar-random basis whatever Q is.
    """
    rows, columns = update.shape
    kept = torch.linalg.qr(update, mode="r").R if rows > columns else update
    return random_basis(rows, len(kept), rng, update.device) @ kept


def spectrum_kept(update: Tensor, rng: torch.Generator) -> Tensor:
    """The update's singular values with Haar-random vectors: both sides turned at random.

    R D R' with independent Haar-random rotations has the singular values of D, and vectors that
    are independent of them and of each other.
    """
    return inputs_kept(inputs_kept(update, rng).T, rng).T


def norms_kept(update: Tensor, rng: torch.Generator) -> Tensor:
    """A Gaussian matrix whose rows and columns have the norms of the update's, to 1e-6 of each.

    The squares of its entries are scaled by rows and by columns in turn until both sums fit. For
    positive matrices this converges, since both kinds of sums have one total (Sinkhorn 1967,
    Diagonal equivalence to matrices with prescribed row and column sums). Zero rows and columns
    stay zero.
    """
    gaussian = torch.randn(update.shape, generator=rng, dtype=torch.float64).to(update.device)
    squares, wanted = gaussian.square(), update.square()
    rows, columns = wanted.sum(1), wanted.sum(0)
    right = torch.ones_like(columns)
    while True:
        left = rows / (squares @ right)
        right = columns / (squares.T @ left)  # from here on the columns fit
        off = left * (squares @ right) - rows
        if bool((off.abs() <= NORMS_TOLERANCE * rows).all()):
            return gaussian * left.sqrt()[:, None] * right.sqrt()


def signs_randomised(update: Tensor, before: Factors, rng: torch.Generator) -> Tensor:
    """The update's energy where it lies, without coherence: U (S ∘ U^T D V) V^T, random signs S.

    In the singular basis of the matrix before, every entry keeps its size, so each pair of
    directions gets as much energy as it had; whatever entries do together is lost. An observed
    angle no larger than this one is due to where the energy lies alone.

    Outside the thin basis (m > n: the null space of W^T, which has no basis of its own) each
    column D v_j keeps its norm and gets a random direction of that space.

    Args:
        update: D, shape (m, n).
        before: all factors of the matrix W before, in float64.
        rng: of the signs.
    """
    rows, columns = update.shape
    if rows < columns:
        return signs_randomised(update.T, Factors(before.Vh.T, before.S, before.U.T), rng).T
    U, V = before.U, before.Vh.T
    seen = update @ V
    core = U.T @ seen
    signs = 2.0 * torch.randint(2, core.shape, generator=rng, dtype=torch.float64) - 1
    drawn: Tensor = U @ (core * signs.to(core.device))
    if rows > columns:
        gaussian = torch.randn(update.shape, generator=rng, dtype=torch.float64).to(U.device)
        outside, gaussian = seen - U @ core, gaussian - U @ (U.T @ gaussian)
        drawn += gaussian * (outside.norm(dim=0) / gaussian.norm(dim=0))
    return drawn @ V.T


NULLS: dict[str, Callable[[Tensor, Factors, torch.Generator], Tensor]] = {
    "isotropic": lambda update, _, rng: isotropic(update, rng),
    "spectrum_kept": lambda update, _, rng: spectrum_kept(update, rng),
    "norms_kept": lambda update, _, rng: norms_kept(update, rng),
    "inputs_kept": lambda update, _, rng: inputs_kept(update, rng),
    "signs_randomised": signs_randomised,
}
"""How an update is drawn anew: from itself, the factors of the matrix before, and a generator."""


def draw(null: str, update: Tensor, before: Factors, seed: int, key: Key, number: int) -> Tensor:
    """One draw of a null of a matrix's update, the same whatever else is drawn.

    Args:
        null: which one.
        update: D, shape (m, n), float64.
        before: factors of the matrix before.
        seed: of the study.
        key: of the matrix.
        number: of the draw.
    """
    own = () if null == "isotropic" else (null,)
    return NULLS[null](update, before, generator(seed, *own, *key, number))


# --------------------------------------------------------------------------------------
# An observation beside draws of its null


@cache
def _quantile(level: float, freedom: int) -> float:
    return float(stdtrit(freedom, (1 + level) / 2))


class Excess(NamedTuple):
    """An observation minus its null."""

    null: float  # mean of the draws
    difference: float
    low: float
    high: float


def minus_null(observed: float, draws: list[float], level: float = 0.95) -> Excess:
    """Subtract a null, with a prediction interval for one more draw of it.

    Student's prediction interval: mean ± t(draws - 1) · sd · sqrt(1 + 1/draws). It holds 0 in 95 %
    of cases when the observation is itself a draw of the null. NaN without draws.
    """
    if not draws:
        return Excess(*[math.nan] * 4)
    mean = math.fsum(draws) / len(draws)
    variance = math.fsum((draw - mean) ** 2 for draw in draws) / (len(draws) - 1)
    half = _quantile(level, len(draws) - 1) * math.sqrt(variance * (1 + 1 / len(draws)))
    return Excess(mean, observed - mean, observed - mean - half, observed - mean + half)
