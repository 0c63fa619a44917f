"""An average of the weights of target and anchor (WiSE-FT, Wortsman et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    from torch import Tensor

KIND = Kind(
    label="interpolation of weights",
    colour="#000000",
    marker=".",
    ranked=False,
    weighted=True,
    description="tensors averaged with the anchor's",
)


def blend(weight: Tensor, anchor: Tensor, share: float) -> Tensor:
    """Average two tensors: (1 - share) weight + share anchor, exact at both ends."""
    import torch

    return torch.lerp(weight.float(), anchor.float(), share).to(weight.dtype)
