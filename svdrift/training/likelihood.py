"""Log-probabilities of sampled tokens, as every method of RL needs them."""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_log_probs(logits: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the sampled tokens and entropies of their distributions, in nats.

    Args:
        logits: [..., vocabulary], of any floating type; the result is float32.
        tokens: [...], the sampled ids.
        temperature: logits are divided by it, as they were when sampling.

    Returns:
        Two tensors of the shape of `tokens`.
    """
    log_probs = torch.log_softmax(logits.float() / temperature, dim=-1)
    entropy = -(log_probs.exp() * log_probs).sum(dim=-1)
    return log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1), entropy


def k3(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Estimate KL(policy || reference) from each sample of the policy; never negative.

    The estimator k3 of Schulman's note "Approximating KL Divergence" (2020).

    Args:
        log_probs: of samples under the policy.
        reference: of the same samples under the reference.
    """
    log_ratio = reference - log_probs
    return log_ratio.expm1() - log_ratio
