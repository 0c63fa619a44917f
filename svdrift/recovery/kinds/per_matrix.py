"""The anchor's directions, as many as are chosen for each matrix (after PuRL, arXiv 2007.04756)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.recovery.kind import Kind

if TYPE_CHECKING:
    import torch

    from svdrift.recovery.mixing import LowRank
    from svdrift.spectra.decomposition import Factors

KIND = Kind(
    label="directions, ranks by matrix",
    colour="#117733",
    marker="P",
    description="singular vectors replaced by the anchor's, as many as were chosen for each "
    "matrix, singular values kept",
    by_matrix=True,
)


def mix(target: Factors, anchor: Factors, rng: torch.Generator) -> LowRank:
    """Replace u_t, v_t by u_a, v_a and keep s_t: sum over I of s_t (u_a v_a^T - u_t v_t^T)."""
    from svdrift.recovery.mixing import exchange

    return exchange(target, anchor.U, target.S, anchor.Vh)
