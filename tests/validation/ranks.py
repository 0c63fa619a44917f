"""Rank correlations over the starts of RL, where strength and outcome have nothing in common."""

from __future__ import annotations

import numpy as np
import pandas as pd

from svdrift.findings.ranks import rank_correlation
from tests.validation.checks import NOTHING, Said, Simulate, Simulation, Statement

TITLE = "Rank correlations over starts"
BY_STEP = (
    "seeds are no independent evidence where both follow the step: look at what is left given it"
)


def correlation(name: str, seeds: int, starts: int, shared: float = 0.0) -> Simulate:
    """Two values of each start; the share `shared` of their variance is common to all seeds."""

    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        def values() -> pd.Series:
            common, own = rng.standard_normal(starts), rng.standard_normal((seeds, starts))
            mixed = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
            names = [range(seeds), [f"sft-{2**i}" for i in range(starts)]]
            index = pd.MultiIndex.from_product(names, names=["seed", "from_"])
            return pd.Series(mixed.ravel(), index)

        found = rank_correlation(values(), values(), "runs")
        return {name: NOTHING if found is None else Said(found.low, found.high)}

    return simulate


def simulation(seeds: int, starts: int, shared: float = 0.0) -> Simulation:
    name = f"rank correlation, {seeds} seed{'s' * (seeds > 1)} of {starts} starts"
    if not shared:
        return Simulation("unrelated", [Statement(name)], correlation(name, seeds, starts), 500, 15)
    return Simulation(
        "unrelated, but each follows the step in a way of its own, the same in all seeds",
        [Statement(name, limit=1.0, least=0.15, note=BY_STEP)],
        correlation(name, seeds, starts, shared),
        500,
        15,
    )


SIMULATIONS = [
    *(simulation(seeds, starts) for seeds in (1, 3, 5) for starts in (3, 4, 6)),
    simulation(5, 4, shared=0.9),
]
