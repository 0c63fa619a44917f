"""Which entries of a tensor moved most, for kinds of repair that choose single entries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def largest(scores: Tensor, share: float) -> Tensor:
    """Mark a share of the entries, those with the largest scores; of equals the first.

    Args:
        scores: any shape, not negative. NaN counts as infinite, so that what is broken is chosen
            first.
        share: from 0 to 1; the nearest number of entries is taken.

    Returns:
        Booleans of that shape.
    """
    import numpy as np
    import torch

    flat = torch.nan_to_num(scores.flatten(), nan=math.inf, posinf=math.inf)
    count = math.floor(share * len(flat) + 0.5)
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    place = len(flat) - count
    threshold = float(np.partition(flat.numpy(), place)[place])  # without an index for each entry
    chosen = flat > threshold
    ties = (flat == threshold).nonzero().flatten()
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen.reshape(scores.shape)
