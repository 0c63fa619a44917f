"""RPSFT (arXiv 2605.10973): does SFT forget less, and prepare RL better, if subspaces are held?

Beside the penalty on leading singular subspaces stand the same on random subspaces of as many
dimensions, and L2 to the start with the same coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.arms import UNKNOWN, ends_above
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
        "subspaces": "It is the leading subspaces that count",
    },
    reads=("scores",),
    arms={
        "plain_start": "plain SFT",
        "leading_start": "SFT with leading subspaces held",
        "random_start": "SFT with random subspaces held",
        "whole_start": "SFT with L2 to its start",
        "plain": "RL from plain SFT",
        "leading": "RL from SFT with leading subspaces held",
        "random": "RL from SFT with random subspaces held",
        "whole": "RL from SFT with L2 to its start",
    },
    control="Random subspaces of as many dimensions, and L2 to the start.",
    limits="One coefficient, the released one, and one rank, the released share of the width. "
    "What it holds is measured on OOD problems of one game; L2 with the same coefficient holds "
    "more of a matrix, so it may forget less and learn less.",
)
NEGLIGIBLE = 2.0  # points, set beforehand


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """SFT with leading subspaces held against plain SFT and its controls, before RL and after."""
    scores = tables["scores"]
    return held(
        [
            *ends_above(
                PAPER,
                scores,
                story,
                "keeps",
                [("leading_start", "plain_start", UNKNOWN)],
                places={"OOD": OOD},
            ),
            *ends_above(
                PAPER,
                scores,
                story,
                "costs",
                [("leading_start", "plain_start", UNKNOWN)],
                places={"ID": ID},
                margin=NEGLIGIBLE,
            ),
            *ends_above(PAPER, scores, story, "start", [("leading", "plain", UNKNOWN)]),
            *ends_above(
                PAPER,
                scores,
                story,
                "subspaces",
                [
                    ("leading_start", "random_start", UNKNOWN),
                    ("leading_start", "whole_start", UNKNOWN),
                    ("leading", "random", UNKNOWN),
                    ("leading", "whole", UNKNOWN),
                ],
                places={"OOD": OOD},
            ),
        ]
    )
