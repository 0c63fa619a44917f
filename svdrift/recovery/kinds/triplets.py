"""The anchor's singular triplets (arXiv 2508.16546)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch

    from svdrift.recovery.mixing import LowRank
    from svdrift.spectra.decomposition import Factors

KIND = Kind(
    label="triplets",
    colour="#CC6677",
    marker="s",
    description="singular vectors and values replaced by the anchor's",
    takes_zeros=True,  # each vector comes with its own value
)


def mix(target: Factors, anchor: Factors, rng: torch.Generator) -> LowRank:
    """Replace u, s and v: sum over I of s_a u_a v_a^T - s_t u_t v_t^T."""
    from svdrift.recovery.mixing import exchange

    return exchange(target, anchor.U, anchor.S, anchor.Vh)
