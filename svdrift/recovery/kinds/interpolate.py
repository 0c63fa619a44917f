"""An average of the weights of target and anchor (WiSE-FT, Wortsman et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KIND = Kind(
    label="interpolation of weights",
    colour="#000000",
    marker=".",
    ranked=False,
    weighted=True,
    description="tensors averaged with the anchor's",
)


def blend(
    weight: Tensor, anchor: Tensor, share: float, depth: float, rng: torch.Generator
) -> Tensor:
    """Average two tensors: (1 - share) weight + share anchor, exact at both ends."""
    import torch

    if share in (0, 1):  # else NaN in the other tensor, or the sign of a zero, would count
        return anchor.to(weight.dtype) if share else weight
    work = torch.promote_types(weight.dtype, torch.float32)
    return torch.lerp(weight.to(work), anchor.to(work), share).to(weight.dtype)
