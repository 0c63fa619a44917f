"""The anchor's whole matrices in place of the target's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KIND = Kind(
    label="reset of whole layers",
    colour="#882255",
    marker="^",
    ranked=False,
    copies=True,
    description="tensors replaced by the anchor's",
)


def blend(
    weight: Tensor, anchor: Tensor, share: float, depth: float, rng: torch.Generator
) -> Tensor:
    """The anchor's tensor in the target's type."""
    return anchor.to(weight.dtype)
