"""Re-distillation (arXiv 2505.17988): does SFT of the base on RL's replies give what RL gave?

Beside the redistilled model stand SFT on the right replies of RL's *start* (self-text without RL)
and on the demonstrations of the problems that RL solves (the same problems, another's text).
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.findings.arms import PLACES, UNKNOWN, Pairs, ends_above, of_solved, solved
from svdrift.findings.finding import Finding, held
from svdrift.findings.paired import weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="Towards revealing the effectiveness of small-scale fine-tuning in R1-style RL",
    arxiv="2505.17988",
    claims={
        "recovers": "SFT of the base on RL's replies gives what RL gave, with far fewer samples",
        "needs-rl": "It takes RL's replies: right replies of RL's start do not give it",
        "replies": "It is the replies that help, not the problems they answer",
    },
    reads=("scores",),
    arms={
        "start": "RL's start",
        "rl": "RL",
        "redistilled": "SFT of the base on RL's right replies",
        "rejection": "SFT of the base on the right replies of RL's start",
        "canonical": "SFT of the base on demonstrations of the problems that RL solves",
        "redistilled_demonstrated": "SFT of the base on RL's right replies to the demonstrated "
        "problems",
    },
    control="SFT on the right replies of RL's start, and on demonstrations of the very problems "
    "that RL solves.",
    limits="RL brings little here, so a share of what it brings is judged only where its gain is "
    "clear. The paper's replies are long; ours are one formula, of which a problem has few. The "
    "paper's measure of a sample's worth (sample effect) is not measured.",
)
SHARE = 0.8  # of RL's gain, set beforehand
PUBLISHED = "1.5B with 1,000 replies as good as its RL with 128,000 (K&K)"


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """The redistilled model against RL, its start and two other sources of text."""
    scores = tables["scores"]
    return held(
        [
            *_recovers(scores, story),
            *ends_above(PAPER, scores, story, "needs-rl", [("redistilled", "rejection", UNKNOWN)]),
            *ends_above(
                PAPER,
                scores,
                story,
                "replies",
                [
                    ("redistilled", "canonical", UNKNOWN),
                    ("redistilled_demonstrated", "start", UNKNOWN),
                ],
            ),
        ]
    )


def _recovers(scores: pd.DataFrame, story: Story) -> Pairs:
    """Whether SHARE of RL's gain over its start comes back; judged only where RL clearly gains."""
    for name, place in PLACES.items():
        start, rl, again = (
            solved(scores, story, arm, place) for arm in ("start", "rl", "redistilled")
        )
        gain = weighted([(1, rl), (-1, start)], scale=100)
        clear = gain is not None and gain.low > 0
        yield (
            of_solved(
                "recovers",
                f"{PAPER.arms['redistilled']} gains at least {SHARE:.0%} of what RL gains over its "
                f"start, {name}",
                PUBLISHED,
                description=not clear,
            ),
            weighted(
                [(1, again), (SHARE - 1, start), (-SHARE, rl)],
                scale=100,
                detail=""
                if gain is None
                else f"RL gains {gain.estimate:.1f} [{gain.low:.1f}, {gain.high:.1f}]"
                + ("" if clear else ", which is not clear"),
            ),
        )
    yield from ends_above(PAPER, scores, story, "recovers", [("redistilled", "start", PUBLISHED)])
