"""Accuracies, and paired differences of two checkpoints: of one model and over training seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from svdrift.evaluation.accuracy import clustered_interval
from svdrift.evaluation.comparisons import mean_over_seeds
from svdrift.evaluation.studies import unpaired_difference
from tests.validation.checks import UNEVEN, Said, Simulate, Simulation, Statement
from tests.validation.episodes import Deal, Design, standard_error

TITLE = "Accuracies and paired differences"
SEEDS = 5
ACCURACY, ONE_SEED = (
    Statement("accuracy of one checkpoint"),
    Statement("paired difference, one seed"),
)
OVER_SEEDS = Statement("paired difference, five seeds")
STUDIES = Statement("difference between two studies with different problems, one seed")


def one_model(design: Design, share: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        deal = Deal(rng, design)
        one, two = deal.solved(share), deal.solved(share)
        low, high = clustered_interval(deal.by_group(one), deal.sizes)
        found = mean_over_seeds([deal.weighted((1.0, one), (-1.0, two))])
        return {ACCURACY.name: Said(low, high, share), ONE_SEED.name: Said(found.low, found.high)}

    return simulate


def two_studies(design: Design, share: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        deals = [Deal(rng, design) for _ in range(2)]
        found = unpaired_difference(*(deal.table(deal.solved(share), "a") for deal in deals))
        return {STUDIES.name: Said(found.low, found.high)}

    return simulate


def over_seeds(
    design: Design, share: float, spread: Callable[[np.random.Generator], float], times: float
) -> Simulate:
    """Seeds whose true differences are `times` the standard error over problems, times a draw."""

    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        width, sums = times * standard_error(design, share) / 2, []
        for _ in range(SEEDS):
            apart = width * spread(rng)
            sums.append(Deal(rng, design).difference((share + apart, share - apart)))
        found = mean_over_seeds(sums)
        return {OVER_SEEDS.name: Said(found.low, found.high)}

    return simulate


def normal(rng: np.random.Generator) -> float:
    return float(rng.standard_normal())


def skewed(rng: np.random.Generator) -> float:
    """Exponential with mean 0 and standard deviation 1: skewness 2."""
    return float(rng.standard_exponential()) - 1


ONE = {
    "60 groups of about 6 problems, 30 % solved": (Design(60, 6.0), 0.3),
    "100 groups of 1 to some 20 problems, 30 % solved": (Design(100, 5.0, uneven=True), 0.3),
    "320 groups of about 2 problems, 30 % solved": (Design(320, 2.0), 0.3),
    "320 groups of about 2 problems, 3 % solved": (Design(320, 2.0), 0.03),
}
MANY = Design(200, 3.0)
TOO_NARROW = "Student's t over five skewed seeds is too narrow on the side of their long tail"

SIMULATIONS = [
    *(
        Simulation(
            words,
            [ACCURACY._replace(limit=0.07, note=UNEVEN) if design.uneven else ACCURACY, ONE_SEED],
            one_model(design, share),
            5000,
            200,
        )
        for words, (design, share) in ONE.items()
    ),
    Simulation(
        "100 groups of 1 to some 20 problems, 30 % solved",
        [STUDIES],
        two_studies(Design(100, 5.0, uneven=True), 0.3),
        500,
        20,
    ),
    *(
        Simulation(
            f"seeds differ by {times:g} times the error of one of them",
            [OVER_SEEDS],
            over_seeds(MANY, 0.5, normal, times),
            5000,
            150,
        )
        for times in (0.0, 1.0, 5.0)
    ),
    Simulation(
        "seeds differ by 5 times the error of one of them, skewed (exponential)",
        [OVER_SEEDS._replace(limit=0.15, note=TOO_NARROW)],
        over_seeds(MANY, 0.5, skewed, 5.0),
        5000,
        150,
    ),
]
