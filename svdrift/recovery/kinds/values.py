"""The anchor's singular values at the target's directions: the reverse control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch

    from svdrift.recovery.mixing import LowRank
    from svdrift.spectra.decomposition import Factors

KIND = Kind(
    label="singular values only",
    colour="#999933",
    marker="D",
    description="singular values replaced by the anchor's, singular vectors kept",
)


def mix(target: Factors, anchor: Factors, rng: torch.Generator) -> LowRank:
    """Replace s and keep the vectors: sum over I of (s_a - s_t) u_t v_t^T."""
    from svdrift.recovery.mixing import LowRank

    return LowRank(target.U * (anchor.S - target.S), target.Vh)
