"""Angles and distances between subspaces, and what an update does in a basis. Pure functions.

Bases are matrices with orthonormal columns. Angles are in radians; tables give degrees. Where a
shape begins with `...`, several matrices may be stacked in front, such as the draws of a null.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


def rank_count(share: float, rank: int) -> int:
    """Number of singular directions that a share of the full rank is: the nearest integer.

    A positive share is at least one direction.
    """
    return max(math.floor(share * rank + 0.5), 1 if share > 0 else 0)


def principal_angles(first: Tensor, second: Tensor) -> Tensor:
    """Principal angles between two subspaces of equal dimension, smallest first.

    Large ones from the cosines, the singular values of A^T B (Björck & Golub 1973); small ones
    from the sines, those of B - A A^T B, since arccos loses half the digits near 1 (Knyazev &
    Argentati 2002, algorithm 3.1; as in `scipy.linalg.subspace_angles`).

    Args:
        first: A, shape (m, k).
        second: B, shape (m, k).

    Returns:
        Angles in [0, pi/2], shape (k,).
    """
    cross = first.T @ second
    cosines = _singular_values(cross).clamp(max=1)
    residual = second - first @ cross
    if residual.shape[0] < residual.shape[1]:
        raise ValueError(f"{residual.shape[1]} columns cannot be orthonormal in fewer dimensions")
    sines = _singular_values(residual).flip(0).clamp(max=1)
    return torch.where(cosines**2 < 0.5, torch.acos(cosines), torch.asin(sines))


def angles_from_cosines(cross: Tensor) -> Tensor:
    """Principal angles from the block A^T B alone, shape (..., k, k); several times cheaper.

    The cosines' squares are eigenvalues of the block's Gram matrix. Accurate to 1e-7 radians for
    bases that are orthonormal in float64.
    """
    squares = torch.linalg.eigvalsh(cross.mT @ cross).flip(-1)
    return torch.acos(squares.clamp(0, 1).sqrt())


def _singular_values(matrix: Tensor) -> Tensor:
    # cuSOLVER's default, of Jacobi's kind, is good to a few digits only.
    values: Tensor = torch.linalg.svdvals(matrix, driver="gesvd" if matrix.is_cuda else None)
    return values


def chordal_distance(cross: Tensor) -> Tensor:
    """Chordal (projection-Frobenius) distance of two subspaces of k dimensions, of shape (...).

    sqrt(sum of sin²) = ||A A^T - B B^T||_F / sqrt(2), from 0 to sqrt(k) (Edelman, Arias & Smith
    1998, section 4.3). Needs no decomposition: the cosines' squares sum to ||A^T B||_F².

    Args:
        cross: A^T B, shape (..., k, k).
    """
    return (cross.shape[-1] - cross.square().sum((-2, -1))).clamp(min=0).sqrt()


def best_alignment(cross: Tensor) -> Tensor:
    """Best alignment max_j |u_i . u'_j| of each u_i, from U^T U' (..., r, r'); shape (..., r).

    Near-equal singular values mix their vectors freely, which lowers it without any meaning:
    compare with the nulls.
    """
    return cross.abs().amax(dim=-1)


def signed_projection(update: Tensor, onto: Tensor) -> tuple[float, float]:
    """Project one update on another: <D, E> / <E, E>, and the cosine <D, E> / (|D| |E|).

    The projection of RL's update on SFT's is -1 when RL undoes all of SFT's update, 0 when it is
    orthogonal to it. Both are NaN if an update that is divided by vanishes.
    """
    product = torch.sum(update * onto).item()
    own, other = update.norm().item(), onto.norm().item()
    return (
        product / other**2 if other else math.nan,
        product / (own * other) if own * other else math.nan,
    )


class Projected(NamedTuple):
    """An update D, shape (..., m, n), seen from the thin singular basis U, V of the base."""

    left: Tensor  # U^T D, shape (..., r, n)
    right: Tensor  # D V, shape (..., m, r)
    core: Tensor  # U^T D V, shape (..., r, r)
    energy: Tensor  # ||D||_F², shape (...)


def project(update: Tensor, left: Tensor, right: Tensor) -> Projected:
    """See an update from the base's singular basis.

    Args:
        update: D, shape (..., m, n).
        left: U, shape (m, r).
        right: V, shape (n, r).
    """
    seen = left.T @ update
    return Projected(seen, update @ right, seen @ right, _energy(update))


def energy_shares(update: Projected) -> dict[str, Tensor]:
    """Split an update's energy over the base's singular basis; each of shape (...), NaN without.

    On the diagonal of U^T D V (changes of singular values), off it (rotations within the basis),
    and outside the thin basis (possible in matrices that are not square). They sum to 1.
    """
    inside = _energy(update.core) / update.energy
    diagonal = update.core.diagonal(dim1=-2, dim2=-1).square().sum(-1) / update.energy
    return {
        "energy_diagonal": diagonal,
        "energy_off_diagonal": inside - diagonal,
        "energy_outside": 1 - inside,
    }


def energy_in_top(update: Projected, k: int) -> dict[str, Tensor]:
    """Shares of an update's energy in the span of the base's top k, by side; of shape (...).

    ||U_k^T D||², ||D V_k||² and, on both sides, ||U_k^T D V_k||², over ||D||². Without direction
    they are k/m, k/n and k²/(m n).
    """
    parts = {
        "left": update.left[..., :k, :],
        "right": update.right[..., :k],
        "both": update.core[..., :k, :k],
    }
    return {side: _energy(part) / update.energy for side, part in parts.items()}


def _energy(matrices: Tensor) -> Tensor:
    return matrices.square().sum((-2, -1))
