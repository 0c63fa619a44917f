"""How well a model's confidence in its replies goes with their being right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from svdrift.evaluation.accuracy import Floats, clustered_interval

BINS = 15  # as in the release of arXiv 2509.12235
RESAMPLES = 200


def bins_of(confidence: ArrayLike, bins: int = BINS) -> np.ndarray:
    """The bin of each confidence, from 0: bins of equal mass, between quantiles.

    Equal confidences share a bin, so that their order decides nothing; bins are then of unequal
    size, and some may be empty.
    """
    sure = np.asarray(confidence, dtype=float)
    edges = np.quantile(sure, np.arange(1, bins) / bins)
    places: np.ndarray = np.searchsorted(edges, sure, side="left")
    return places


def reliability(
    confidence: ArrayLike, correct: ArrayLike, groups: Sequence[Any], bins: int = BINS
) -> pd.DataFrame:
    """Mean confidence and accuracy in the bins of `bins_of`, for a reliability diagram.

    Args:
        confidence: of each reply, 0 to 1.
        correct: whether it is right.
        groups: of each reply.
        bins: at most.

    Returns:
        One row a bin that is not empty, rising: `n`, `confidence` and `accuracy` (means), and
        `low` and `high`, the accuracy's 95 % interval, clustered by group (`clustered_interval`).
    """
    table = pd.DataFrame(
        {
            "bin": bins_of(confidence, bins),
            "confidence": np.asarray(confidence, dtype=float),
            "accuracy": np.asarray(correct, dtype=float),
            "group": pd.factorize(pd.Index(groups))[0],
        }
    )
    rows = []
    for _, part in table.groupby("bin"):
        clusters = part.groupby("group")["accuracy"].agg(["sum", "count"])
        low, high = clustered_interval(clusters["sum"], clusters["count"])
        means = part[["confidence", "accuracy"]].mean()
        rows.append({"n": len(part), **means.to_dict(), "low": low, "high": high})
    return pd.DataFrame(rows)


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al. 2015), with the bins of `bins_of`.

    The mean over replies of |mean confidence - accuracy| of their bin. Few replies in a bin bias it
    upwards, so compare checkpoints on the same problems.
    """
    places = bins_of(confidence, bins)
    gaps = np.asarray(confidence, dtype=float) - np.asarray(correct, dtype=float)
    return float(np.abs(np.bincount(places, gaps, bins)).sum() / len(gaps))


def brier(confidence: ArrayLike, correct: ArrayLike) -> Floats:
    """Brier score (1950) of each reply: (confidence - correct) squared, 0 to 1."""
    gap = np.asarray(confidence, dtype=float) - np.asarray(correct, dtype=float)
    squared: Floats = gap**2
    return squared


def bootstrap_error(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence[Any],
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
