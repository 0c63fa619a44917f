"""Random entries of the update dropped, the others scaled up (DARE, arXiv 2311.03099)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KIND = Kind(
    label="random changes dropped, others rescaled",
    colour="#661100",
    marker="d",
    ranked=False,
    weighted=True,
    weight_meaning="as the probability that an entry is dropped",
    random=True,
    description="changes of random entries dropped, and those of the others scaled up, so that "
    "their mean stays (a control)",
)


def blend(
    weight: Tensor, anchor: Tensor, share: float, depth: float, rng: torch.Generator
) -> Tensor:
    """Drop each entry of the update with probability `share`; divide the others by 1 - share.

    So its mean over draws stays w_t - w_a. 0 is the target; 1, where nothing is left to scale, is
    the anchor.
    """
    import torch

    if share in (0, 1):
        return anchor.to(weight.dtype) if share else weight
    work = torch.promote_types(weight.dtype, torch.float32)
    dropped = torch.rand(weight.shape, generator=rng) < share
    before = anchor.to(work)
    update = weight.to(work).sub(before).div_(1 - share).masked_fill_(dropped, 0)
    return (before + update).to(weight.dtype)
