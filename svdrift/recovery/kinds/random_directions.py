"""The target's directions turned at random: the control for the size of the change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from svdrift.recovery.mixing import LowRank
    from svdrift.spectra.decomposition import Factors

KIND = Kind(
    label="random directions",
    colour="#767676",
    marker="X",
    description="singular vectors turned at random, by a change of the same size as "
    "under `directions` (a control)",
    random=True,
    by_rows=False,  # it turns the columns of U as wholes
)


def mix(target: Factors, anchor: Factors, rng: torch.Generator) -> LowRank:
    """Turn u_t and v_t of I at random, all by one angle θ, and keep s_t.

    θ makes the Frobenius norm of the change that of `directions`; a change too large for a
    rotation by 90° is left at 90°. Bases stay orthonormal at every k. In float64, since θ comes
    from a difference of nearly equal numbers when target and anchor are close.

    Cost: beyond `directions` one QR of (m, k), or of (m, m) when k > m / 2.
    """
    import torch
    from scipy.optimize import brentq

    from svdrift.recovery.mixing import LowRank, exchange

    target, anchor = target.double(), anchor.double()
    left = _rotations(target.U, rng)
    right = _rotations(target.Vh.T, rng)
    s = target.S
    wanted = _squared_norm(exchange(target, anchor.U, target.S, anchor.Vh))
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
    return LowRank(*(factor.float() for factor in exchange(target, u, s, v.T)))


def _squared_norm(change: LowRank) -> float:
    """Squared Frobenius norm from the p × p Gram matrices, without the product."""
    import torch

    left, right = change.left.double(), change.right.double()
    return torch.sum((left.T @ left) * (right @ right.T)).item()


def _rotations(basis: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """U, J U and J² U for a random skew J with J³ = -J: exp(θ J) U = U + sin θ JU + (1-cos θ) J²U.

    While 2k <= m, JU is a random orthonormal basis orthogonal to U, and J² U = -U. Beyond that
    there is no room, and J = Q K Q^T pairs up the columns of a random orthonormal Q (m, m).
    """
    import torch

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
    import torch

    return torch.randn(rows, columns, generator=rng, dtype=like.dtype).to(like.device)


def _rodrigues(angle: float) -> tuple[float, float, float]:
    return 1.0, math.sin(angle), 1 - math.cos(angle)
