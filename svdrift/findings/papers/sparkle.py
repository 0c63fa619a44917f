"""SPARKLE's training (arXiv 2506.04723): does RL learn from hard problems if it is given a start?

Hard are the problems that RL's first stage never solves in 20 samples. What the paper compares with
stands here beside two controls that it lacks: the first stage continued, and the first stage
continued after SFT on as many gold tokens as the beginnings give away. Its probes are
`sparkle_probes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from svdrift.findings.arms import ends_above
from svdrift.findings.finding import Finding, held
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="Beyond accuracy: dissecting mathematical reasoning for LLMs under reinforcement "
    "learning (training)",
    arxiv="2506.04723",
    claims={
        "prefix": "RL on hard problems that begin with a part of the solution is better than "
        "without it",
        "hard": "Without a beginning, hard problems lower what stage 1 had reached, alone or mixed "
        "with others",
        "practice": "It adds to stage 1, and more than as much further practice does",
        "leak": "It is RL that uses the beginnings: their tokens alone do not give as much",
        "sft": "SFT on the same problems lowers what RL had reached",
    },
    reads=("scores",),
    arms={
        "before": "its start (16 steps of SFT)",
        "start": "stage 1",
        "prefix": "RL on hard problems with beginnings",
        "hard_only": "RL on hard problems",
        "mixed": "RL on hard and other problems",
        "continued": "stage 1 continued",
        "sft": "SFT on hard problems at RL's rate",
        "fast_sft": "SFT on hard problems at SFT's rate",
        "leaked": "stage 1 continued after SFT on as many gold tokens",
    },
    control="Stage 1 continued, and stage 1 continued after SFT on as many gold tokens.",
    limits="PPO in place of GRPO, and a gold reply of some 17 tokens, whose first quarter is the "
    "numbers that the cards stand for and not yet a step of the solution. What this model never "
    "solves may be easy for a larger one. That RL with beginnings adds more than as much further "
    "practice leaves out the replies that found the hard problems, 20 to each practice problem.",
)
CONTROL = "no such control seen"


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL with beginnings against what has none, and against what else could explain its gain."""
    average, sft = "{} against {} (mean of five benchmarks)".format, "46.7 against 15.0 (AIME24)"
    stage_1, without, mixed, prefix = "65.0", "63.6", "63.1", "67.0"
    contests = {
        "prefix": [
            ("prefix", "hard_only", average(prefix, without)),
            ("prefix", "mixed", average(prefix, mixed)),
        ],
        "hard": [
            ("start", "hard_only", average(stage_1, without)),
            ("start", "mixed", average(stage_1, mixed)),
        ],
        "practice": [
            ("prefix", "start", average(prefix, stage_1)),
            ("prefix", "continued", CONTROL),
        ],
        "leak": [("prefix", "leaked", CONTROL)],
        "sft": [("start", "sft", sft), ("start", "fast_sft", sft)],
    }
    scores = tables["scores"]
    gain = average(stage_1, "the base's 35.2")
    reached = ends_above(PAPER, scores, story, "hard", [("start", "before", gain)])
    return held(
        [
            *((replace(said, description=True), found) for said, found in reached),
            *(
                pair
                for claim, of_claim in contests.items()
                for pair in ends_above(PAPER, scores, story, claim, of_claim)
            ),
        ]
    )
