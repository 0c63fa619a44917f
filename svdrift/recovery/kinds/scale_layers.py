"""The update scaled by a factor that grows with depth (LiNeS, arXiv 2410.17146)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KIND = Kind(
    label="updates scaled by depth",
    colour="#AA4499",
    marker=">",
    ranked=False,
    weighted=True,
    weight_meaning="for the anchor at the first layer, falling linearly to 0 at the last",
    description="tensors averaged with the anchor's, the less the deeper their layer",
)


def blend(
    weight: Tensor, anchor: Tensor, share: float, depth: float, rng: torch.Generator
) -> Tensor:
    """Scale the update by alpha + beta (l - 1) / (L - 1) at layer l of L.

    With alpha = 1 - share and beta = share, so that the last layer keeps its update whole: the
    weight of the anchor is share (1 - depth). A share of 0 is the target; one of 1 gives the first
    layer back and leaves the last. All outside the layers is scaled by alpha, as in the release
    (https://github.com/wang-kee/LiNeS); without `embedding_and_head` it stays the target's.
    """
    from svdrift.recovery.kinds import interpolate

    return interpolate.blend(weight, anchor, share * (1 - depth), depth, rng)
