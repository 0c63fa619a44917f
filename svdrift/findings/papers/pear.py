"""PEAR (arXiv 2602.01058): does SFT prepare RL better when tokens weigh as the model would go on?

Every SFT takes as many steps on the same demonstrations, and the same RL follows. Beside PEAR stand
its own weights given to other tokens, its weights divided by their mean, and a weight that needs no
expert (DFT).
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.findings.arms import (
    PLACES,
    UNKNOWN,
    Pairs,
    ends_above,
    of_solved,
    passes_above,
    solved,
)
from svdrift.findings.finding import Finding, held
from svdrift.findings.paired import weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="Good SFT optimizes for SFT, better SFT prepares for reinforcement learning",
    arxiv="2602.01058",
    claims={
        "order": "Stronger SFT checkpoints can end below weaker ones after the same RL",
        "better": "RL from PEAR's SFT ends above RL from plain SFT",
        "weights": "It is which tokens weigh more that helps",
    },
    reads=("scores", "samples"),
    arms={
        "plain_start": "plain SFT",
        "sequence_start": "PEAR by sequence",
        "token_start": "PEAR by token",
        "block_start": "PEAR by block",
        "wide_start": "PEAR by token with wide bounds",
        "plain": "RL from plain SFT",
        "sequence": "RL from PEAR by sequence",
        "token": "RL from PEAR by token",
        "block": "RL from PEAR by block",
        "wide": "RL from PEAR by token with wide bounds",
        "permuted": "RL from PEAR by token, its weights permuted",
        "wide_permuted": "RL from PEAR by token with wide bounds, its weights permuted",
        "mean_one": "RL from PEAR by token, its weights divided by their mean",
        "dft": "RL from DFT",
    },
    control="The same weights on other tokens: if these do as well, what the expert would do is "
    "not the cause.",
    limits="The expert is certain of each token, so that a weight says how likely the model is to "
    "go on so; an expert who gives any right reply leaves this model at a floor, from which RL "
    "does not lift it. A reply has 17 tokens, not thousands, so that bounds hardly act on whole "
    "weights; a token's are also widened from [-0.08, 0.3] to [-1, 1]. One step of SFT, one RL "
    "method and one learning rate. That starts of PEAR move less in RL is not judged, nor a "
    "teacher whose probabilities are estimated.",
)
VARIANTS = ("sequence", "token", "block", "wide")
K = 8
PUBLISHED = "pass@8 up to +14.6 (AIME 2025)"


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Each level of PEAR against plain SFT, before RL and after it, and against its controls."""
    scores = tables["scores"]
    better = [(arm, "plain", UNKNOWN) for arm in VARIANTS]
    controls = [
        ("token", "permuted", UNKNOWN),
        ("wide", "wide_permuted", UNKNOWN),
        ("token", "mean_one", UNKNOWN),
        ("token", "dft", UNKNOWN),
    ]
    return held(
        [
            *_order(scores, story),
            *ends_above(PAPER, scores, story, "better", better),
            *passes_above(
                PAPER,
                tables["samples"],
                story,
                "better",
                [(arm, "plain", PUBLISHED) for arm in VARIANTS],
                k=K,
            ),
            *ends_above(PAPER, scores, story, "weights", controls),
        ]
    )


def _order(scores: pd.DataFrame, story: Story) -> Pairs:
    """Whether what is behind plain SFT before RL is ahead after it; judged where it is behind."""
    for arm in VARIANTS:
        for name, place in PLACES.items():
            start, plain_start, end, plain = (
                solved(scores, story, one, place)
                for one in (f"{arm}_start", "plain_start", arm, "plain")
            )
            before = weighted([(1, start), (-1, plain_start)], scale=100)
            behind = before is not None and before.high < 0
            yield (
                of_solved(
                    "order",
                    f"{PAPER.arms[f'{arm}_start']}, behind plain SFT, is ahead after RL, {name}",
                    "seen, without figures",
                    description=not behind,
                ),
                weighted(
                    [(1, end), (-1, plain)],
                    scale=100,
                    detail=""
                    if before is None
                    else f"before RL {before.estimate:.1f} [{before.low:.1f}, {before.high:.1f}]"
                    + ("" if behind else ", which is not clearly behind"),
                ),
            )
