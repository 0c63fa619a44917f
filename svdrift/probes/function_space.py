"""Metrics between what two models compute on the same prompts, and a random change of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor
from transformers import PreTrainedModel

TOP = 10  # most probable tokens that `jaccard` compares
LOGITS = 2**27  # of one forward pass, at most


@dataclass(frozen=True)
class Seen:
    """What a model computes at the end of each prompt.

    Attributes:
        hidden: [prompts, width] last hidden states after the final norm, a mean over the tokens.
        predictions: [prompts, tokens, vocabulary] log-probabilities of the next token.
    """

    hidden: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True)
class Measured:
    """A metric's value, and where it has one for each prompt, those."""

    value: float
    each: np.ndarray | None = None


@dataclass(frozen=True)
class Metric:
    """A metric between a reference and another model.

    Attributes:
        of: what it looks at.
        sign: 1 for a similarity, -1 for a distance.
        measure: computes it.
    """

    of: Literal["hidden", "predictions"]
    sign: Literal[1, -1]
    measure: Callable[[Seen, Seen], Measured]

    def wins(self, before: Measured, after: Measured) -> float:
        """The share of prompts that come closer; NaN without values of each."""
        if before.each is None or after.each is None:
            return float("nan")
        return float((self.sign * (after.each - before.each) > 0).mean())


@torch.inference_mode()
def look(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], tokens: int, batch_size: int
) -> Seen:
    """Run a model over prompts, those of one length together.

    Args:
        model: on any device.
        prompts: token ids.
        tokens: last tokens of each prompt that are read; shorter prompts are read whole.
        batch_size: most prompts in a forward pass.
    """
    shortest = min(map(len, prompts))
    kept = min(tokens, shortest)
    hidden: list[Tensor | None] = [None] * len(prompts)
    predictions: list[Tensor | None] = [None] * len(prompts)
    vocabulary = model.config.get_text_config().vocab_size
    lengths = sorted({len(prompt) for prompt in prompts})
    for length in lengths:
        rows = [row for row, prompt in enumerate(prompts) if len(prompt) == length]
        step = max(1, min(batch_size, LOGITS // (length * vocabulary)))
        for first in range(0, len(rows), step):
            batch = rows[first : first + step]
            given = torch.tensor([list(prompts[row]) for row in batch], device=model.device)
            found = model(given, use_cache=False, output_hidden_states=True)
            states = found.hidden_states[-1][:, -kept:].float().mean(dim=1).cpu()
            logs = torch.log_softmax(found.logits[:, -kept:].double(), dim=-1).cpu()
            for row, state, log in zip(batch, states, logs, strict=True):
                hidden[row], predictions[row] = state, log
    return Seen(
        torch.stack([one for one in hidden if one is not None]).double().numpy(),
        torch.stack([one for one in predictions if one is not None]).double().numpy(),
    )


def changed_at_random(start: PreTrainedModel, end: PreTrainedModel, seed: int) -> PreTrainedModel:
    """`start` with a Gaussian change of each tensor, as large (Frobenius) as from it to `end`."""
    generator = torch.Generator().manual_seed(seed)
    changed = deepcopy(start)
    for (_, weight), (_, other) in zip(
        changed.named_parameters(), end.named_parameters(), strict=True
    ):
        norm = (other.detach().float() - weight.detach().float()).norm().cpu()
        noise = torch.randn(weight.shape, generator=generator)
        noise *= norm / noise.norm()
        weight.data += noise.to(weight.device, weight.dtype)
    return changed


# --------------------------------------------------------------------------------------
# Of hidden states


def cosine(a: Seen, b: Seen) -> Measured:
    """Mean cosine of the two states of each prompt."""
    each = (a.hidden * b.hidden).sum(axis=1) / (
        np.linalg.norm(a.hidden, axis=1) * np.linalg.norm(b.hidden, axis=1)
    )
    return Measured(float(each.mean()), each)


def linear_cka(a: Seen, b: Seen) -> Measured:
    """Linear centred kernel alignment (Kornblith et al. 2019, equation 3 with linear kernels)."""
    x, y = a.hidden - a.hidden.mean(axis=0), b.hidden - b.hidden.mean(axis=0)
    cross = np.linalg.norm(x.T @ y) ** 2
    return Measured(float(cross / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))))


def mmd(a: Seen, b: Seen) -> Measured:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012, lemma 6), Gaussian kernel.

    The width is the median distance within the reference, so that it is the same for all models.
    """
    within = cdist(a.hidden, a.hidden)
    n = len(within)
    width = float(np.median(within[np.triu_indices(n, k=1)])) or 1.0
    xx, yy, xy = (
        np.exp(-(distance**2) / (2 * width**2))
        for distance in (within, cdist(b.hidden, b.hidden), cdist(a.hidden, b.hidden))
    )
    off = n * (n - 1)
    return Measured(float((xx.sum() - n) / off + (yy.sum() - n) / off - 2 * xy.mean()))


def energy_distance(a: Seen, b: Seen) -> Measured:
    """2 E|X-Y| - E|X-X'| - E|Y-Y'| (Szekely and Rizzo 2013) over all pairs of prompts."""
    between = cdist(a.hidden, b.hidden).mean()
    within = cdist(a.hidden, a.hidden).mean() + cdist(b.hidden, b.hidden).mean()
    return Measured(float(2 * between - within))


# --------------------------------------------------------------------------------------
# Of predictions: log-probabilities p and q


def jensen_shannon(a: Seen, b: Seen) -> Measured:
    """Jensen-Shannon divergence (nats), a mean over tokens."""
    p, q = a.predictions, b.predictions
    middle = np.logaddexp(p, q) - np.log(2)
    each = 0.5 * (np.exp(p) * (p - middle) + np.exp(q) * (q - middle)).sum(axis=2).mean(axis=1)
    return Measured(float(each.mean()), each)


def hellinger(a: Seen, b: Seen) -> Measured:
    """Hellinger distance, a mean over tokens."""
    roots = np.exp(0.5 * a.predictions) - np.exp(0.5 * b.predictions)
    each = np.sqrt(0.5 * (roots**2).sum(axis=2)).mean(axis=1)
    return Measured(float(each.mean()), each)


def jaccard(a: Seen, b: Seen) -> Measured:
    """Overlap of the `TOP` most probable tokens: shared over all of both, a mean over tokens."""
    count = min(TOP, a.predictions.shape[2])
    top_a, top_b = (np.argsort(-one.predictions, axis=2)[..., :count] for one in (a, b))
    shared = (top_a[..., :, None] == top_b[..., None, :]).sum(axis=(2, 3))
    each = (shared / (2 * count - shared)).mean(axis=1)
    return Measured(float(each.mean()), each)


def entropy_gap(a: Seen, b: Seen) -> Measured:
    """How far the mean entropy (nats) of the predictions is from the reference's."""
    mean_a, mean_b = (
        -(np.exp(one.predictions) * one.predictions).sum(axis=2).mean() for one in (a, b)
    )
    return Measured(float(abs(mean_a - mean_b)))


def margin_gap(a: Seen, b: Seen) -> Measured:
    """How far the mean margin of the most probable token over the next is from the reference's."""
    margins = []
    for one in (a, b):
        top = np.sort(np.exp(one.predictions), axis=2)
        margins.append((top[..., -1] - top[..., -2]).mean())
    return Measured(float(abs(margins[0] - margins[1])))


METRICS = {
    "cosine": Metric("hidden", 1, cosine),
    "linear CKA": Metric("hidden", 1, linear_cka),
    "MMD": Metric("hidden", -1, mmd),
    "energy distance": Metric("hidden", -1, energy_distance),
    "Jensen-Shannon": Metric("predictions", -1, jensen_shannon),
    "Hellinger": Metric("predictions", -1, hellinger),
    "Jaccard": Metric("predictions", 1, jaccard),
    "entropy": Metric("predictions", -1, entropy_gap),
    "margin": Metric("predictions", -1, margin_gap),
}
