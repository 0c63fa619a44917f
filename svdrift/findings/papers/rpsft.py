"""RPSFT (arXiv 2605.10973): does SFT forget less, and prepare RL better, if subspaces are held?

Whatever holds a model back also forgets less. So beside the penalty on leading singular subspaces
stand the same on random subspaces of as many dimensions, L2 to the start that lets weights move
about as far, and plain SFT that is stopped early.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.arms import NEGLIGIBLE, ends_above
from svdrift.findings.finding import Finding, held
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="Rotation-preserving supervised fine-tuning",
    arxiv="2605.10973",
    claims={
        "keeps": "SFT that holds leading singular subspaces loses less OOD ability",
        "costs": "It costs little of what SFT teaches",
        "start": "It gives a better start of RL",
        "subspaces": "It is the leading subspaces that count, not that weights move less",
    },
    reads=("scores",),
    arms={
        "base": "the base",
        "plain_start": "plain SFT",
        "half_start": "plain SFT stopped at half",
        "quarter_start": "plain SFT stopped at a quarter",
        "leading_start": "SFT with leading subspaces held",
        "random_start": "SFT with random subspaces held",
        "whole_start": "SFT with L2 to its start",
        "plain": "RL from plain SFT",
        "half": "RL from plain SFT stopped at half",
        "quarter": "RL from plain SFT stopped at a quarter",
        "leading": "RL from SFT with leading subspaces held",
        "random": "RL from SFT with random subspaces held",
        "whole": "RL from SFT with L2 to its start",
    },
    control="L2 to the start that lets weights move about as far, plain SFT that is stopped early, "
    "and random subspaces of as many dimensions.",
    limits="One coefficient, the released one, and one rank, the released share of the width. "
    "L2's coefficient (0.0007) is chosen on one seed so that weights move about as far as with "
    "leading subspaces held. Random subspaces as small hold little of a change, so that weights "
    "move farther there: that arm does not tell leading subspaces from moving less. What SFT keeps "
    "is measured on OOD problems of one game. Where plain SFT solves no more ID problems than the "
    "base, nothing of what it teaches can be lost, and the claim on costs says nothing.",
)
CLAIMED, CONTROL = "claimed (abstract); no figures seen", "no such control seen"
RIVALS = ("random", "whole", "half", "quarter")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """SFT with leading subspaces held against plain SFT and its controls, before RL and after."""
    scores = tables["scores"]
    before = ("leading_start", "plain_start", CLAIMED)
    taught = ends_above(
        PAPER, scores, story, "costs", [("plain_start", "base", CONTROL)], places={"ID": ID}
    )
    controls = [
        (f"leading{stage}", f"{rival}{stage}", CONTROL)
        for stage in ("_start", "")
        for rival in RIVALS
    ]
    return held(
        [
            *ends_above(PAPER, scores, story, "keeps", [before], places={"OOD": OOD}),
            *((replace(said, description=True), found) for said, found in taught),
            *ends_above(
                PAPER, scores, story, "costs", [before], places={"ID": ID}, margin=NEGLIGIBLE
            ),
            *ends_above(PAPER, scores, story, "start", [("leading", "plain", CLAIMED)]),
            *ends_above(PAPER, scores, story, "subspaces", controls),
        ]
    )
