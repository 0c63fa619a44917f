"""Forgetting along a path whose checkpoints fluctuate and do not fall."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from svdrift.evaluation.accuracy import Floats
from svdrift.evaluation.comparisons import WeightedSum, mean_over_seeds
from svdrift.evaluation.contrasts import best_of_others
from tests.validation.checks import Said, Simulate, Simulation, Statement
from tests.validation.episodes import Deal, Design

TITLE = "Forgetting, where the checkpoints of a path are exchangeable"
CHECKPOINTS, NAMED = 7, 1
MEAN, FLUCTUATION = 0.35, 0.06  # of the checkpoints' true shares
SELECTION, TEST = Design(60, 3.0), Design(100, 3.0)
NAMED_STEP = "fall from a step named in advance"
OTHER_SEEDS = "fall from the step chosen by the other seeds"
OWN_PEAK = "fall from each seed's own peak (described, not judged)"
ALIKE = "each seed's choice rests on the others' curves, so falls are not independent"
ALIKE = "each seed's step rests on the curves of the others, so their falls are not independent"
BY_CONSTRUCTION = "why it gets no verdict: the highest of a curve lies above its end"


class Played(NamedTuple):
    """One seed: solved shares on selection problems, the test, and the true shares; by step."""

    curve: Floats
    deal: Deal
    solved: list[np.ndarray]
    truth: Floats

    def fall(self, step: int) -> WeightedSum:
        """From a step to the end of the path."""
        return self.deal.weighted((1.0, self.solved[step]), (-1.0, self.solved[-1]))


def play(rng: np.random.Generator, fluctuation: float) -> Played:
    """True shares of the checkpoints fluctuate independently around one mean."""
    shares = MEAN + fluctuation * rng.standard_normal(CHECKPOINTS)
    selection, test = Deal(rng, SELECTION), Deal(rng, TEST)
    curve = np.array([selection.solved(share).mean() for share in shares])
    return Played(curve, test, [test.solved(share) for share in shares], shares)


def one_seed(fluctuation: float) -> Simulate:
    """The fall of one model, of which alone one seed speaks."""

    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        played = play(rng, fluctuation)
        found = mean_over_seeds([played.fall(NAMED)])
        truth = float(played.truth[NAMED] - played.truth[-1])
        return {NAMED_STEP: Said(found.low, found.high, truth)}

    return simulate


def over_seeds(seeds: int, fluctuation: float) -> Simulate:
    """The fall of new models, which is 0 on average from any step chosen elsewhere."""

    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        played = [play(rng, fluctuation) for _ in range(seeds)]
        steps = {
            NAMED_STEP: [NAMED] * seeds,
            OTHER_SEEDS: best_of_others(np.array([one.curve[:-1] for one in played])),
            OWN_PEAK: [int(np.argmax(one.curve)) for one in played],
        }
        said = {}
        for name, chosen in steps.items():
            falls = [one.fall(step) for one, step in zip(played, chosen, strict=True)]
            found = mean_over_seeds(falls)
            said[name] = Said(found.low, found.high)
        return said

    return simulate


SIMULATIONS = [
    Simulation(
        f"one seed; true shares fluctuate by {100 * FLUCTUATION:.0f} points",
        [Statement(NAMED_STEP)],
        one_seed(FLUCTUATION),
        5000,
        150,
    ),
    *(
        Simulation(
            f"{seeds} seeds; true shares fluctuate by {100 * fluctuation:.0f} points",
            [
                Statement(NAMED_STEP),
                Statement(OTHER_SEEDS, limit=0.09, note=ALIKE),
                Statement(OWN_PEAK, 1.0, least, BY_CONSTRUCTION),
            ],
            over_seeds(seeds, fluctuation),
            2000,
            40,
        )
        for seeds, fluctuation, least in ((3, 0.06, 0.05), (5, 0.06, 0.3), (5, 0.0, 0.0))
    ),
]
