"""pass@k: how often at least one of k sampled replies to a problem is right."""

from __future__ import annotations

import math

import pandas as pd


def pass_at(k: int, samples: pd.Series[int], correct: pd.Series[int]) -> pd.Series[float]:
    """Unbiased estimate of pass@k of each problem: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021).

    Args:
        k: at most n.
        samples, correct: n and c.

    Raises:
        ValueError: k is larger than a number of samples.
    """
    if (samples < k).any():
        raise ValueError(f"pass@{k} needs {k} samples of each problem, not {samples.min()}")

    def one(n: int, c: int) -> float:
        return 1.0 - math.prod((n - c - i) / (n - i) for i in range(k)) if n - c >= k else 1.0

    values = [one(int(n), int(c)) for n, c in zip(samples, correct, strict=True)]
    return pd.Series(values, index=samples.index, dtype=float)
