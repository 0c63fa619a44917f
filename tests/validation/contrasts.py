"""The window of RL, and repairs at equal cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from svdrift.evaluation.comparisons import mean_over_seeds
from svdrift.evaluation.contrasts import FIT, OOD, Played, Study, equal_id
from tests.validation.checks import Said, Simulate, Simulation, Statement
from tests.validation.episodes import Deal, Design

TITLE = "Contrasts of several checkpoints"
DESIGN = Design(100, 5.0)
WINDOW = "window: the lead of RL from one start minus that from another"
EQUAL_ID = "equal ID: a repair minus the interpolation that costs as much"
PATH = {0.25: "w0.25", 0.5: "w0.5", 0.75: "w0.75"}
WEIGHTS = {"last": 0.0, **{name: weight for weight, name in PATH.items()}, "anchor": 1.0}


def equal_leads(name: str, seeds: int, spread: float) -> Simulate:
    """RL gains 10 points over its control from both starts; runs differ by `spread`."""

    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        sums = []
        for _ in range(seeds):
            deal = Deal(rng, DESIGN)
            shares = np.array([0.5, 0.4, 0.3, 0.2]) + spread * rng.standard_normal(4)
            played = [deal.solved(share) for share in shares]
            sums.append(deal.weighted(*zip((1.0, -1.0, -1.0, 1.0), played, strict=True)))
        found = mean_over_seeds(sums)
        return {name: Said(found.low, found.high)}

    return simulate


def equal_costs(name: str, seeds: int, weight: float) -> Simulate:
    """A repair that lies on the path of interpolations, at the weight `weight` of the anchor."""

    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        rows = equal_id(repaired(rng, seeds, weight), "repair", PATH)
        return {name: whole(rows)}

    return simulate


def repaired(rng: np.random.Generator, seeds: int, weight: float) -> Study:
    weights = WEIGHTS | {"repair": weight}
    study = {}
    for seed in range(seeds):
        fitted, test = Deal(rng, DESIGN, "fitted"), Deal(rng, DESIGN)
        episodes = {}
        for name, anchor in weights.items():
            episodes[name, FIT] = fitted.table(fitted.solved(0.9 - 0.4 * anchor), name)
            episodes[name, OOD] = test.table(test.solved(0.2 + 0.3 * anchor), name)
        study[seed] = Played("anchor", "last", episodes)
    return study


def whole(rows: pd.DataFrame) -> Said:
    """What is said over all seeds, or of the only one."""
    over = rows[rows["seed"].isna()]
    row = (over if len(over) else rows).iloc[0]
    return Said(row["low"], row["high"])


def window(seeds: int, spread: float, words: str) -> Simulation:
    name = f"{WINDOW}, {words}"
    apart = f"; runs differ by {100 * spread:.0f} points" if seeds > 1 else ""
    return Simulation(
        f"equal leads{apart}",
        [Statement(name)],
        equal_leads(name, seeds, spread),
        5000 // seeds,
        150 // seeds,
    )


def equal_cost(seeds: int, weight: float, words: str, long: int, short: int) -> Simulation:
    name = f"{EQUAL_ID}, {words}"
    where = "at a weight of the grid" if weight in PATH else "midway between two weights"
    simulate = equal_costs(name, seeds, weight)
    return Simulation(f"a repair {where}", [Statement(name)], simulate, long, short)


SIMULATIONS = [
    window(1, 0.0, "one seed"),
    window(5, 0.0, "five seeds"),
    window(5, 0.05, "five seeds"),
    equal_cost(1, 0.375, "one seed", 500, 15),
    equal_cost(1, 0.5, "one seed", 500, 15),
    equal_cost(5, 0.375, "five seeds", 120, 3),
]
