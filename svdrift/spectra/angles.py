"""Angles and distances between subspaces, and what an update does in a basis. Pure functions.

Bases are matrices with orthonormal columns. Angles are in radians; tables give degrees.
"""

from __future__ import annotations

import math

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
    cosines = torch.linalg.svdvals(cross).clamp(max=1)
    residual = second - first @ cross
    if residual.shape[0] < residual.shape[1]:
        raise ValueError(f"{residual.shape[1]} columns cannot be orthonormal in fewer dimensions")
    sines = torch.linalg.svdvals(residual).flip(0).clamp(max=1)
    return torch.where(cosines**2 < 0.5, torch.acos(cosines), torch.asin(sines))


def angles_from_cosines(cross: Tensor) -> Tensor:
    """Principal angles from the block A^T B alone, shape (k, k); several times cheaper.

    Accurate to 1e-7 radians for bases that are orthonormal in float64.
    """
    return torch.acos(torch.linalg.svdvals(cross).clamp(max=1))


def chordal_distance(cross: Tensor) -> Tensor:
    """Chordal (projection-Frobenius) distance between k-dimensional subspaces from A^T B (k, k).

    sqrt(sum of sin²) = ||A A^T - B B^T||_F / sqrt(2), from 0 to sqrt(k) (Edelman, Arias & Smith
    1998, section 4.3). Needs no decomposition: the cosines' squares sum to ||A^T B||_F².
    """
    return (cross.shape[0] - cross.square().sum()).clamp(min=0).sqrt()


def best_alignment(cross: Tensor) -> Tensor:
    """Best alignment max_j |u_i . u'_j| of each column u_i, from U^T U' (r, r'); shape (r,).

    Near-equal singular values mix their vectors freely, which lowers it without any meaning:
    compare with the nulls.
    """
    return cross.abs().amax(dim=1)


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


def update_core(update: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Write an update in the base's singular basis: C = U^T D V, shape (r, r).

    Args:
        update: D, shape (m, n).
        left: U, shape (m, r).
        right: V, shape (n, r).
    """
    return left.T @ update @ right


def energy_shares(core: Tensor, energy: float) -> dict[str, float]:
    """Split an update's energy ||D||_F² (`energy`) over the base's singular basis.

    On the diagonal of C (changes of singular values), off it inside C (rotations within the
    basis), and outside the thin basis (possible in matrices that are not square). They sum to 1.
    """
    if energy == 0:
        return dict.fromkeys(("energy_diagonal", "energy_off_diagonal", "energy_outside"), math.nan)
    inside = core.square().sum().item() / energy
    diagonal = core.diagonal().square().sum().item() / energy
    return {
        "energy_diagonal": diagonal,
        "energy_off_diagonal": inside - diagonal,
        "energy_outside": 1 - inside,
    }


def energy_outside_top(core: Tensor, energy: float, k: int) -> float:
    """Share of an update's energy outside the span of the base's top k: 1 - ||C_kk||² / ||D||²."""
    return 1 - core[:k, :k].square().sum().item() / energy if energy else math.nan
