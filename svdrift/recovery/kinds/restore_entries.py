"""The anchor's value at the entries that moved most, relatively (after arXiv 2509.16596)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KIND = Kind(
    label="entries that moved most, restored",
    colour="#44AA99",
    marker="v",
    ranked=False,
    weighted=True,
    weight_meaning="as the share of entries that are given back",
    copies=True,
    description="those entries of each tensor replaced by the anchor's that moved most relative to "
    "their size in the anchor",
)


def blend(
    weight: Tensor, anchor: Tensor, share: float, depth: float, rng: torch.Generator
) -> Tensor:
    """Give back the anchor's value at a share of the entries: 0 is the target, 1 the anchor.

    Those with the largest |w_t - w_a| / |w_a|, in each tensor by itself. An entry that left 0 moved
    infinitely far. The paper restores the parameters that SFT changed most; a rank over all
    tensors at once would hold two whole models in memory.
    """
    import torch

    from svdrift.recovery.entries import largest

    work = torch.promote_types(weight.dtype, torch.float32)
    before = anchor.to(work)
    moved = weight.to(work).sub(before).abs_()
    relative = torch.where(moved == 0, 0.0, moved / before.abs())  # 0 / 0 did not move
    return torch.where(largest(relative, share), anchor.to(weight.dtype), weight)
