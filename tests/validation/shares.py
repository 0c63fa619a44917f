"""Shares of a loss that come back, at the bounds of the statements about them."""

from __future__ import annotations

import numpy as np

from svdrift.evaluation.comparisons import share_over_clusters
from tests.validation.checks import UNEVEN, Said, Simulate, Simulation, Statement
from tests.validation.episodes import Deal, Design

TITLE = "Shares of a loss that come back, where the loss is clear"
ANCHOR = 0.5  # share of problems that the anchor solves
DESIGN = Design(100, 5.0, uneven=True)


def at_bound(name: str, loss: float, bound: float, seeds: int = 1, spread: float = 0.0) -> Simulate:
    """A variant that regains just the share `bound` of its target's loss against the anchor.

    Target and variant of the seeds differ by `spread` (standard deviation), independently.
    """

    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        clusters = []
        for _ in range(seeds):
            deal = Deal(rng, DESIGN)
            shares = (ANCHOR - loss * (1 - bound), ANCHOR - loss)
            variant, target = (deal.solved(s + spread * rng.standard_normal()) for s in shares)
            gain, lost = variant * 1.0 - target, deal.solved(ANCHOR) * 1.0 - target
            clusters.append((deal.by_group(gain), deal.by_group(lost), deal.sizes))
        found = share_over_clusters(clusters)
        return {name: Said(found.low, found.high, bound)}

    return simulate


def simulation(loss: float, bound: float, seeds: int = 1, spread: float = 0.0) -> Simulation:
    many = f"{seeds} seeds" if seeds > 1 else "one seed"
    name = f"share of the loss that comes back: {bound:.0%}, {many}".replace("%", " %")
    apart = f"; seeds differ by {100 * spread:.0f} points" if seeds > 1 else ""
    return Simulation(
        f"loss of {100 * loss:.0f} points{apart}",
        [Statement(name, limit=0.08, note=UNEVEN) if seeds == 1 else Statement(name)],
        at_bound(name, loss, bound, seeds, spread),
        5000 // seeds,
        150 // seeds,
    )


SIMULATIONS = [
    *(simulation(0.2, bound) for bound in (0.1, 0.3, 0.5, 0.7)),
    *(simulation(0.08, bound) for bound in (0.1, 0.5)),
    *(simulation(0.2, bound, 5, 0.05) for bound in (0.1, 0.3, 0.5, 0.7)),
    simulation(0.2, 0.5, 5),
]
