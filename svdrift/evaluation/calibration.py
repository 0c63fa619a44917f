"""How well a model's confidence in its replies goes with their being right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from svdrift.evaluation.accuracy import Floats

BINS = 15  # as in the release of arXiv 2509.12235
RESAMPLES = 200


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """Mean confidence and accuracy in bins of equal mass.

    Edges are quantiles of the confidences. Equal confidences share a bin, so that their order
    decides nothing; bins are then of unequal size, and may be fewer.

    Args:
        confidence: of each reply, 0 to 1.
        correct: whether it is right.
        bins: at most.

    Returns:
        One row a bin that is not empty, rising: `n`, `confidence` and `accuracy` (means).
    """
    sure, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    edges = np.unique(np.quantile(sure, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, sure, side="left")
    n = np.bincount(place, minlength=len(edges) + 1)
    filled = n > 0
    sums = [np.bincount(place, side, len(edges) + 1)[filled] for side in (sure, right)]
    means = [side / n[filled] for side in sums]
    return pd.DataFrame({"n": n[filled], "confidence": means[0], "accuracy": means[1]})


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al. 2015): mean |confidence - accuracy| over `bins`.

    The bins are those of `reliability`, weighted by their size. Few replies in a bin bias it
    upwards, so compare checkpoints on the same problems.
    """
    table = reliability(confidence, correct, bins)
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float((gaps * table["n"]).sum() / table["n"].sum())


def brier(confidence: ArrayLike, correct: ArrayLike) -> Floats:
    """Brier score (1950) of each reply: (confidence - correct) squared, 0 to 1."""
    gap = np.asarray(confidence, dtype=float) - np.asarray(correct, dtype=float)
    squared: Floats = gap**2
    return squared


def bootstrap_error(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence[object],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> float:
    """Standard error of a statistic of clustered rows, by a bootstrap of whole groups.

    Args:
        statistic: computes it from indices of rows, which may repeat.
        groups: of each row; at least two different ones.
        seed: of the draws.
        resamples: how many.
    """
    codes, names = pd.factorize(np.asarray(groups))
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(
            np.concatenate([rows[group] for group in rng.integers(0, len(names), len(names))])
        )
        for _ in range(resamples)
    ]
    return float(np.std(drawn, ddof=1))
