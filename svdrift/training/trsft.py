"""TrSFT (arXiv 2512.17636): a negative log-likelihood that asks less of unlikely tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def trsft(log_probs: Tensor, alpha: float) -> Tensor:
    """-log p from p = alpha on, else 1 - log alpha - p / alpha.

    Value and gradient are continuous; the latter is -`trsft_weights` of that of log p.
    """
    probabilities = log_probs.exp()
    below = 1 - math.log(alpha) - probabilities / alpha
    return torch.where(probabilities >= alpha, -log_probs, below)


def trsft_weights(log_probs: Tensor, alpha: float) -> Tensor:
    """min(1, p / alpha): how much a token counts, without gradient."""
    return (log_probs.detach().exp() / alpha).clamp(max=1)
