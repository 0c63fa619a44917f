"""SPARKLE's training (arXiv 2506.04723): does RL learn from hard problems if it is given a start?

Hard are the problems that RL's first stage never solves in 20 samples. What the paper compares with
stands here beside two controls that it lacks: the first stage continued, and the first stage
continued after SFT on as many gold tokens as the beginnings give away. Its probes are
`sparkle_probes`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.findings.arms import UNKNOWN, ends_above
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
        "practice": "It is better than as much further practice",
        "leak": "It is RL that uses the beginnings: their tokens alone do not give as much",
        "sft": "SFT on the same problems lowers what RL had reached",
    },
    reads=("scores",),
    arms={
        "start": "stage 1",
        "prefix": "RL on hard problems with beginnings",
        "hard_only": "RL on hard problems",
        "mixed": "RL on hard and other problems",
        "continued": "stage 1 continued",
        "sft": "SFT on hard problems",
        "leaked": "stage 1 continued after SFT on as many gold tokens",
    },
    control="Stage 1 continued, and stage 1 continued after SFT on as many gold tokens.",
    limits="PPO in place of GRPO, and a gold reply of some 17 tokens, whose first quarter is the "
    "numbers that the cards stand for and not yet a step of the solution. What this model never "
    "solves may be easy for a larger one.",
)


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL with beginnings against what has none, and against what else could explain its gain."""
    average = "67.0 against {} (mean of five benchmarks)".format
    contests = {
        "prefix": [
            ("prefix", "start", average("65.0")),
            ("prefix", "hard_only", average("63.6")),
            ("prefix", "mixed", average("63.1")),
        ],
        "hard": [
            ("start", "hard_only", "65.0 against 63.6 (mean of five benchmarks)"),
            ("start", "mixed", "65.0 against 63.1 (mean of five benchmarks)"),
        ],
        "practice": [("prefix", "continued", UNKNOWN)],
        "leak": [("prefix", "leaked", UNKNOWN)],
        "sft": [("start", "sft", "46.7 against 15.0 (AIME24)")],
    }
    return held(
        pair
        for claim, of_claim in contests.items()
        for pair in ends_above(PAPER, tables["scores"], story, claim, of_claim)
    )
