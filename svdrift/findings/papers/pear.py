"""PEAR (arXiv 2602.01058): does SFT prepare RL better when tokens weigh as the model would go on?

Every SFT takes as many steps on the same demonstrations, and the same RL follows. Beside PEAR stand
its own weights given to other tokens, its weights divided by their mean, and a weight that needs no
expert (DFT). Plain SFT is also shorter and longer, to see whether what is ahead before RL stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from svdrift.evaluation.contrasts import ID
from svdrift.findings.arms import PLACES, Pairs, ends_above, of_solved, passes_above, solved
from svdrift.findings.estimates import at
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
        "others": "Other weights do not do as well",
    },
    reads=("scores", "samples"),
    arms={
        "plain_start": "plain SFT",
        "early_start": "plain SFT of 4 steps",
        "late_start": "plain SFT of 64 steps",
        "sequence_start": "PEAR by sequence",
        "token_start": "PEAR by token",
        "block_start": "PEAR by block",
        "wide_start": "PEAR by token with wide bounds",
        "plain": "RL from plain SFT",
        "early": "RL from plain SFT of 4 steps",
        "late": "RL from plain SFT of 64 steps",
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
    "weights; a token's are also widened from [-0.08, 0.3] to [-1, 1]. Adam cancels a constant "
    "factor, so that weights divided by their mean are nearly PEAR's own. Of SFT's lengths only "
    "plain SFT has three; there is one RL method and one learning rate. That starts of PEAR move "
    "less in RL is not judged, nor a teacher whose probabilities are estimated.",
)
VARIANTS = ("sequence", "token", "block", "wide")
K = 8
CLAIMED, UNTOLD = "claimed (abstract); no figures seen", "no figures seen"
CONTROL = "no such control seen"
SOLVED = "around +40 points on logic games (second-hand)"
PASSES = "pass@8 up to +14.6 (AIME 2025)"
PLAIN = (("early", "plain"), ("early", "late"), ("plain", "late"))


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Each level of PEAR against plain SFT, before RL and after it, and against its controls."""
    scores = tables["scores"]
    contests = {
        "weights": [("token", "permuted", CONTROL), ("wide", "wide_permuted", CONTROL)],
        "others": [("token", "mean_one", CONTROL), ("token", "dft", CONTROL)],
    }
    return held(
        [
            *_order(scores, story, PLAIN, CLAIMED),
            *_order(scores, story, [(arm, "plain") for arm in VARIANTS], UNTOLD),
            *_better(tables, story),
            *(
                pair
                for claim, of_claim in contests.items()
                for pair in ends_above(PAPER, scores, story, claim, of_claim)
            ),
        ]
    )


def _order(
    scores: pd.DataFrame, story: Story, arms: Iterable[tuple[str, str]], published: str
) -> Pairs:
    """Two arms after RL, and beside it how they were before it; described."""
    for ours, theirs in arms:
        for name, place in PLACES.items():
            before, after = (
                [solved(scores, story, f"{arm}{stage}", place) for arm in (ours, theirs)]
                for stage in ("_start", "")
            )
            gap = weighted([(1, before[0]), (-1, before[1])], scale=100)
            if gap is None:
                continue
            yield (
                of_solved(
                    "order",
                    f"{PAPER.arms[ours]} against {PAPER.arms[theirs]}, {name}",
                    published,
                    description=True,
                ),
                weighted(
                    [(1, after[0]), (-1, after[1])],
                    scale=100,
                    detail=f"before RL {gap.estimate:+.1f} [{gap.low:.1f}, {gap.high:.1f}]",
                ),
            )


def _better(tables: Mapping[str, pd.DataFrame], story: Story) -> Pairs:
    """Each level against plain SFT. What was published, of no level, stands beside one, ID."""
    for arm in VARIANTS:
        for name, place in PLACES.items():
            told = (SOLVED, PASSES) if (arm, place) == ("token", ID) else (UNTOLD, UNTOLD)
            by_solved, by_passes = ((arm, "plain", one) for one in told)
            yield from ends_above(
                PAPER, tables["scores"], story, "better", [by_solved], places={name: place}
            )
            yield from passes_above(
                PAPER, at(tables["samples"], place), story, "better", [by_passes], k=K
            )
