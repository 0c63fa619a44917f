"""Losses of reply tokens that weight their negative log-likelihood, as pure functions.

All tensors are [sequences, positions]. Replies are the positions where `mask` holds, without gaps;
elsewhere log-probabilities are 0. Weights carry no gradient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from svdrift.training.draws import generator
from svdrift.training.sft.loss_settings import (
    DFTSettings,
    LossSettings,
    PEARSettings,
    TrSFTSettings,
)
from svdrift.training.trsft import trsft, trsft_weights

QUANTILES = (0.1, 0.5, 0.9)


class TokenLosses(NamedTuple):
    """What a loss makes of each reply token.

    Attributes:
        losses: in nats; their gradient is that of the negative log-likelihood times the weight.
        weights: see there.
        metrics: what the weights were made of, as plain means and quantiles over reply tokens.
    """

    losses: Tensor
    weights: Tensor
    metrics: dict[str, Tensor]


def token_losses(
    loss: LossSettings, log_probs: Tensor, expert: Tensor, mask: Tensor, *entropy: int
) -> TokenLosses:
    """The loss of each reply token.

    Args:
        loss: a kind that weights tokens.
        log_probs: of the tokens under the model, in nats.
        expert: the same under the expert who wrote them.
        mask: where replies are.
        entropy: names what is drawn at random: seed and step.
    """
    nll, known = -log_probs, log_probs.detach()
    if isinstance(loss, PEARSettings):
        ratios = known - expert
        logs = log_weights(clipped(ratios, loss.ratio_clip, mask), mask, loss)
        weights = clipped(logs, loss.log_weight_clip, mask).exp() * mask
        if loss.weights == "permuted":
            weights = permuted(weights, mask, *entropy)
        elif loss.weights == "mean_one":
            weights = weights / weights[mask].mean()
        metrics = {
            **quantiles("log_ratio", ratios[mask]),
            "log_ratio_clipped": outside(ratios[mask], loss.ratio_clip),
            "log_weight_clipped": outside(logs[mask], loss.log_weight_clip),
        }
        return TokenLosses(weights * nll, weights, metrics)
    if isinstance(loss, DFTSettings):
        weights = known.exp() * mask
        return TokenLosses(weights * nll, weights, {})
    assert isinstance(loss, TrSFTSettings)
    return TokenLosses(
        trsft(log_probs, loss.alpha) * mask, trsft_weights(known, loss.alpha) * mask, {}
    )


def log_weights(ratios: Tensor, mask: Tensor, loss: PEARSettings) -> Tensor:
    """Logarithms of PEAR's weights before they are clipped (arXiv 2602.01058).

    With d_t the log-ratios and T the length of a reply, t = 1..T:

    - `sequence`: sum of all d;
    - `block`, which ends at e: (T - e) log gamma + sum of the d after e;
    - `token`: as blocks of one token.

    Args:
        ratios: d, clipped; 0 outside of replies.
        mask: where replies are.
        loss: level, block and gamma.
    """
    if loss.level == "sequence":
        return ratios.sum(dim=1, keepdim=True) * mask
    lengths = mask.sum(dim=1, keepdim=True)  # without padding
    numbers = mask.cumsum(dim=1)  # t, within replies
    size = loss.block or 1
    ends = torch.minimum((numbers + size - 1) // size * size, lengths)
    places = mask.int().argmax(dim=1, keepdim=True) + ends - 1
    onwards = ratios.flip(1).cumsum(dim=1).flip(1)
    after = functional.pad(onwards[:, 1:], (0, 1))
    following = after.gather(1, places.clamp(min=0))
    logs: Tensor = (following + (lengths - ends) * math.log(loss.gamma)) * mask
    return logs


def permuted(weights: Tensor, mask: Tensor, *entropy: int) -> Tensor:
    """The weights of reply tokens, each given to another one at random; see `draws.generator`."""
    order = torch.from_numpy(generator(*entropy).permutation(int(mask.sum())))
    return weights.masked_scatter(mask, weights[mask][order.to(weights.device)])


def clipped(values: Tensor, bounds: tuple[float, float], mask: Tensor) -> Tensor:
    """Values of reply tokens within bounds; 0 elsewhere."""
    return values.clamp(*bounds) * mask


def outside(values: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Share of values that lie outside of bounds."""
    return ((values < bounds[0]) | (values > bounds[1])).float().mean()


def quantiles(name: str, values: Tensor) -> dict[str, Tensor]:
    """`{name}_q10`, `_q50` and `_q90` of values."""
    found = values.float().quantile(torch.tensor(QUANTILES, device=values.device))
    return {f"{name}_q{share * 100:.0f}": one for share, one in zip(QUANTILES, found, strict=True)}


def effective_share(weights: Tensor) -> Tensor:
    """(sum w)^2 / (n sum w^2): the share of equally weighted tokens that would say as much."""
    return weights.sum() ** 2 / (weights.numel() * (weights**2).sum())


def summary(found: TokenLosses, log_probs: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What is logged of a forward pass: `nll`, quantiles of log-weights, and the effective share.

    Args:
        found: of `token_losses`.
        log_probs, mask: that it was given.
    """
    weights = found.weights[mask]
    return {
        "nll": -log_probs.detach()[mask].mean(),
        **found.metrics,
        **quantiles("log_weight", weights.clamp(min=torch.finfo(weights.dtype).tiny).log()),
        "effective_share": effective_share(weights),
    }
