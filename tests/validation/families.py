"""All statements of a study at once, of which none is true."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from svdrift.evaluation.comparisons import mean_over_seeds
from svdrift.findings.estimates import measured
from svdrift.findings.finding import Finding, findings_table, held
from svdrift.findings.finding import Statement as Sentence
from tests.validation.checks import RIGHT, WRONG, Said, Simulate, Simulation, Statement
from tests.validation.episodes import Deal, Design

TITLE = "All statements of a study, none of them true: any verdict at all"
CHECKPOINTS = 9
PAIRS = list(combinations(range(CHECKPOINTS), 2))[:30]
SHARE = 0.3
DESIGN = Design(100, 3.0)
ALONE = f"any of {len(PAIRS)} statements decided, each for itself"
HOLM = f"any of {len(PAIRS)} statements decided, with Holm's correction"
MANY = "why there are verdicts with Holm's correction"


def any_verdict(seeds: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        table = findings_table(null_findings(rng, seeds))
        return {
            name: WRONG if table[column].isin(["holds", "fails"]).any() else RIGHT
            for name, column in ((ALONE, "verdict"), (HOLM, "verdict_holm"))
        }

    return simulate


def null_findings(rng: np.random.Generator, seeds: int) -> list[Finding]:
    """Statements about pairs of equal checkpoints, which share checkpoints and problems."""
    deals = [Deal(rng, DESIGN) for _ in range(seeds)]
    solved = [[deal.solved(SHARE) for _ in range(CHECKPOINTS)] for deal in deals]
    found = []
    for one, two in PAIRS:
        sums = [
            deal.weighted((1.0, own[one]), (-1.0, own[two]))
            for deal, own in zip(deals, solved, strict=True)
        ]
        rows = [vars(mean_over_seeds([own])) | {"seed": seed} for seed, own in enumerate(sums)]
        if seeds > 1:
            rows.append(vars(mean_over_seeds(sums)) | {"seed": np.nan})
        sentence = Sentence("rl", f"{one} > {two}", "points", "above", 0.0, "", "", "")
        found.append((sentence, measured(pd.DataFrame(rows), "value")))
    return held(found)


SIMULATIONS = [
    Simulation(
        f"{words}, pairs of {CHECKPOINTS} equal checkpoints",
        [Statement(ALONE, 1.0, 0.2, MANY), Statement(HOLM)],
        any_verdict(seeds),
        400,
        6,
    )
    for seeds, words in ((1, "one seed"), (5, "five seeds"))
]
