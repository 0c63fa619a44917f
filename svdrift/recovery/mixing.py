"""How kinds with ranks change a matrix, from chosen factors of target and anchor.

The change is W' = W_t + L R with L of shape (m, p), R of shape (p, n) and p <= 2k for k ranks I: no
new decomposition, and little work while k is small. The mixed bases are not orthonormal; that is
part of the method.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from svdrift.recovery import kind as kinds
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.angles import rank_count
from svdrift.spectra.decomposition import Factors
from svdrift.spectra.matrices import Matrix

BLOCK = 4096  # rows of a weight that are changed at once


class LowRank(NamedTuple):
    """A change of a matrix, kept factored: left @ right."""

    left: Tensor  # (m, p)
    right: Tensor  # (p, n)


def chosen_ranks(intervention: Intervention, matrix: Matrix) -> Tensor:
    """Indices of the ranks from the top and from the bottom that are replaced, rising."""
    rank = matrix.rank
    top = rank_count(intervention.top_of(*matrix.key), rank)
    bottom = min(rank_count(intervention.bottom, rank), rank - top)
    return torch.cat([torch.arange(top), torch.arange(rank - bottom, rank)])


def changed(
    weight: Tensor, target: Factors, anchor: Factors, kind: str, rng: torch.Generator
) -> Tensor:
    """Apply a kind with ranks to one matrix.

    Args:
        weight: W_t, shape (m, n), of any floating type.
        target: its factors of the ranks I.
        anchor: factors of W_a of these ranks.
        kind: its name, or the path of its file.
        rng: for kinds that draw.

    Returns:
        W' in the type of `weight`, computed in float32. With k = 0 `weight` itself.
    """
    if not len(target.S):
        return weight
    module = kinds.load(kind)
    # A block of rows at a time, so that no embedding is held in float32 several times.
    changes: Iterable[LowRank]
    if module.KIND.by_rows:
        blocks = zip(target.U.split(BLOCK), anchor.U.split(BLOCK), strict=True)
        changes = (module.mix(target._replace(U=t), anchor._replace(U=a), rng) for t, a in blocks)
    else:
        left, right = module.mix(target, anchor, rng)
        changes = (LowRank(rows, right) for rows in left.split(BLOCK))
    new = torch.empty_like(weight)
    for made, before, change in zip(new.split(BLOCK), weight.split(BLOCK), changes, strict=True):
        made.copy_(torch.addmm(before.float(), change.left, change.right))
    return new


def exchange(target: Factors, u: Tensor, s: Tensor, vh: Tensor) -> LowRank:
    """Sum over I of s u v^T - s_t u_t v_t^T."""
    left = torch.cat([u * s, target.U * -target.S], dim=1)
    return LowRank(left, torch.cat([vh, target.Vh]))
