"""The anchor's directions at the target's singular values ("UV merging", arXiv 2508.16546)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch

    from svdrift.recovery.mixing import LowRank
    from svdrift.spectra.decomposition import Factors

KIND = Kind(
    label="directions (UV merging)",
    colour="#6A51A3",
    marker="o",
    description="singular vectors replaced by the anchor's, singular values kept",
)


def mix(target: Factors, anchor: Factors, rng: torch.Generator) -> LowRank:
    """Replace u_t, v_t by u_a, v_a and keep s_t: sum over I of s_t (u_a v_a^T - u_t v_t^T)."""
    from svdrift.recovery.mixing import exchange

    return exchange(target, anchor.U, target.S, anchor.Vh)
