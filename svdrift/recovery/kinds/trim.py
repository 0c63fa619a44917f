"""The largest entries of the update kept, the others the anchor's (TIES, arXiv 2306.01708)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KIND = Kind(
    label="smallest changes trimmed",
    colour="#A6761D",
    marker="<",
    ranked=False,
    weighted=True,
    weight_meaning="as the share of entries that are trimmed",
    copies=True,
    description="those entries of each tensor replaced by the anchor's that moved least",
)


def blend(
    weight: Tensor, anchor: Tensor, share: float, depth: float, rng: torch.Generator
) -> Tensor:
    """Trim a share of the update's entries: 0 is the target, 1 the anchor.

    The entries with the largest |w_t - w_a| keep the target's value, in each tensor by itself
    (TIES ranks all tensors together and keeps 20 %: a share of 0.8). This is the first step of
    TIES alone: the other two, electing a sign and averaging what agrees with it, concern several
    updates, and change nothing where there is one.
    """
    import torch

    from svdrift.recovery.entries import largest

    work = torch.promote_types(weight.dtype, torch.float32)
    moved = weight.to(work).sub(anchor.to(work)).abs_()
    return torch.where(largest(moved, 1 - share), weight, anchor.to(weight.dtype))
