"""The mathematics of each kind, as pure functions of chosen factors of target and anchor.

Every kind that mixes factors is W' = W_t + L R with L of shape (m, p), R of shape (p, n) and
p <= 2k for k ranks I: no new decomposition, and little work while k is small. The mixed bases are
not orthonormal; that is part of the method.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from svdrift.recovery.interventions import Intervention, Kind
from svdrift.spectra.angles import rank_count
from svdrift.spectra.decomposition import Factors

BLOCK = 4096  # rows of a weight that are changed at once


class LowRank(NamedTuple):
    """A change of a matrix, kept factored: left @ right."""

    left: Tensor  # (m, p)
    right: Tensor  # (p, n)


def chosen_ranks(intervention: Intervention, rank: int) -> Tensor:
    """Indices of the ranks from the top and from the bottom that are replaced, rising."""
    top = rank_count(intervention.top, rank)
    bottom = min(rank_count(intervention.bottom, rank), rank - top)
    return torch.cat([torch.arange(top), torch.arange(rank - bottom, rank)])


def directions(target: Factors, anchor: Factors) -> LowRank:
    """Replace u_t, v_t by u_a, v_a and keep s_t: sum over I of s_t (u_a v_a^T - u_t v_t^T)."""
    return _exchange(target, anchor.U, target.S, anchor.Vh)


def triplets(target: Factors, anchor: Factors) -> LowRank:
    """Replace u, s and v: sum over I of s_a u_a v_a^T - s_t u_t v_t^T."""
    return _exchange(target, anchor.U, anchor.S, anchor.Vh)


def values(target: Factors, anchor: Factors) -> LowRank:
    """Replace s and keep the vectors: sum over I of (s_a - s_t) u_t v_t^T."""
    return LowRank(target.U * (anchor.S - target.S), target.Vh)


def random_directions(target: Factors, anchor: Factors, rng: torch.Generator) -> LowRank:
    """Turn u_t and v_t of I at random, all by one angle θ, and keep s_t.

    θ makes the Frobenius norm of the change that of `directions`; a change too large for a
    rotation by 90° is left at 90°. Bases stay orthonormal at every k. In float64, since θ comes
    from a difference of nearly equal numbers when target and anchor are close.

    Cost: beyond `directions` one QR of (m, k), or of (m, m) when k > m / 2.
    """
    from scipy.optimize import brentq  # takes half a second and 40 MB, and only this needs it

    target, anchor = target.double(), anchor.double()
    left = _rotations(target.U, rng)
    right = _rotations(target.Vh.T, rng)
    s = target.S
    wanted = _squared_norm(directions(target, anchor))
    # ||U' S V'^T - U S V^T||² = 2 |s|² - 2 <S, A S B^T>, A = U^T U', B = V^T V'
    blocks = [[left[0].T @ part for part in left], [right[0].T @ part for part in right]]
    products = [[torch.sum(s[:, None] * a * s * b).item() for b in blocks[1]] for a in blocks[0]]

    def excess(angle: float) -> float:
        weights = _rodrigues(angle)
        overlap = sum(
            x * y * product
            for x, row in zip(weights, products, strict=True)
            for y, product in zip(weights, row, strict=True)
        )
        return 2 * s.square().sum().item() - 2 * overlap - wanted

    quarter = math.pi / 2
    tiny = 1e-14 * s.square().sum().item()
    if wanted <= tiny:
        angle = 0.0
    else:
        angle = brentq(excess, 0.0, quarter) if excess(quarter) > 0 else quarter
    _, sine, versine = _rodrigues(angle)
    u, v = (basis + sine * j + versine * jj for basis, j, jj in (left, right))
    return LowRank(*(factor.float() for factor in _exchange(target, u, s, v.T)))


def changed(
    weight: Tensor, target: Factors, anchor: Factors, kind: Kind, rng: torch.Generator
) -> Tensor:
    """Apply a kind that mixes factors to one matrix.

    Args:
        weight: W_t, shape (m, n), of any floating type.
        target: its factors of the ranks I.
        anchor: factors of W_a of these ranks.
        kind: one of `RANKED`.
        rng: of `random_directions`; other kinds leave it alone.

    Returns:
        W' in the type of `weight`, computed in float32. With k = 0 `weight` itself.
    """
    if not len(target.S):
        return weight
    # A block of rows at a time, lest an embedding be held in float32 many times.
    changes: Iterable[LowRank]
    if kind == "random_directions":  # turns the columns of U as wholes
        left, right = random_directions(target, anchor, rng)
        changes = (LowRank(rows, right) for rows in left.split(BLOCK))
    else:
        mixed = {"directions": directions, "triplets": triplets, "values": values}[kind]
        blocks = zip(target.U.split(BLOCK), anchor.U.split(BLOCK), strict=True)
        changes = (mixed(target._replace(U=t), anchor._replace(U=a)) for t, a in blocks)
    new = torch.empty_like(weight)
    for made, old, change in zip(new.split(BLOCK), weight.split(BLOCK), changes, strict=True):
        made.copy_(torch.addmm(old.float(), change.left, change.right))
    return new


def interpolated(weight: Tensor, anchor: Tensor, share: float) -> Tensor:
    """Average two tensors: (1 - share) weight + share anchor, exact at both ends."""
    if not weight.is_floating_point():
        return weight
    return torch.lerp(weight.float(), anchor.float(), share).to(weight.dtype)


def _exchange(target: Factors, u: Tensor, s: Tensor, vh: Tensor) -> LowRank:
    """Sum over I of s u v^T - s_t u_t v_t^T."""
    left = torch.cat([u * s, target.U * -target.S], dim=1)
    return LowRank(left, torch.cat([vh, target.Vh]))


def _squared_norm(change: LowRank) -> float:
    """Squared Frobenius norm from the p × p Gram matrices, without the product."""
    left, right = change.left.double(), change.right.double()
    return torch.sum((left.T @ left) * (right @ right.T)).item()


def _rotations(basis: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """U, J U and J² U for a random skew J with J³ = -J: exp(θ J) U = U + sin θ JU + (1-cos θ) J²U.

    While 2k <= m, JU is a random orthonormal basis orthogonal to U, and J² U = -U. Beyond that
    there is no room, and J = Q K Q^T pairs up the columns of a random orthonormal Q (m, m).
    """
    rows, k = basis.shape
    if 2 * k <= rows:
        noise = _randn(rows, k, basis, rng)
        for _ in range(2):  # twice is enough (Parlett 1980, section 6.9)
            noise = noise - basis @ (basis.T @ noise)
        return basis, torch.linalg.qr(noise)[0], -basis
    q = torch.linalg.qr(_randn(rows, rows, basis, rng))[0]
    half = rows // 2
    inside = q.T @ basis  # a last, odd row is left alone: K is zero there
    one, two = inside[:half], inside[half : 2 * half]
    return (
        basis,
        q[:, : 2 * half] @ torch.cat([-two, one]),
        -(q[:, : 2 * half] @ torch.cat([one, two])),
    )


def _randn(rows: int, columns: int, like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, generator=rng, dtype=like.dtype).to(like.device)


def _rodrigues(angle: float) -> tuple[float, float, float]:
    return 1.0, math.sin(angle), 1 - math.cos(angle)
