"""Cycles of SFT and RL (OpenVLThinker, arXiv 2503.17352): does turning the wheel again help?

Cycle i is SFT of the *base* on right replies of the last RL, then RL. The paper shows that each
cycle ends above the one before; beside it stand what that does not rule out: one RL of equal
length, cycles of SFT alone, SFT on top of the last RL, and the demonstrations of the same problems.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.findings.arms import UNKNOWN, ends_above
from svdrift.findings.finding import Finding, held
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="OpenVLThinker: complex vision-language reasoning via iterative SFT-RL cycles",
    arxiv="2503.17352",
    claims={
        "rises": "Each cycle of SFT and RL ends above the one before",
        "beats-long": "Cycles end above one RL of the same number of samples",
        "needs-rl": "RL between makes the better data: cycles of SFT alone do less",
        "restart": "SFT starts from the base each time, which beats SFT on top of the last RL",
        "replies": "RL's replies teach more than demonstrations of the same problems",
    },
    reads=("scores",),
    arms={
        "sft_1": "SFT in cycle 1",
        "rl_1": "RL in cycle 1",
        "sft_2": "SFT in cycle 2",
        "rl_2": "RL in cycle 2",
        "sft_3": "SFT in cycle 3",
        "rl_3": "RL in cycle 3",
        "long_2": "one RL twice as long",
        "long_3": "one RL three times as long",
        "own_2": "SFT in cycle 2 of SFT alone",
        "own_3": "SFT in cycle 3 of SFT alone",
        "chained_2": "RL in cycle 2 after SFT on top of the last RL",
        "canonical_2": "SFT of the base on demonstrations of the problems of cycle 2",
    },
    control="One RL of as many samples, and cycles of SFT alone.",
    limits="The paper's first data come from a text model's reading of captions, with flaws that "
    "later cycles lack; ours are right from the start. Its later cycles also practise harder "
    "problems; ours the same.",
)
SFT, RL = "62.5 to 66.1 (MathVista)", "65.6 to 69.4 to 70.2 (MathVista)"


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Each cycle against the one before it, and against what else could explain its gain."""
    contests = {
        "rises": [
            ("sft_2", "sft_1", SFT),
            ("rl_2", "rl_1", RL),
            ("sft_3", "sft_2", UNKNOWN),
            ("rl_3", "rl_2", RL),
        ],
        "beats-long": [("rl_2", "long_2", UNKNOWN), ("rl_3", "long_3", UNKNOWN)],
        "needs-rl": [("sft_2", "own_2", UNKNOWN), ("sft_3", "own_3", UNKNOWN)],
        "restart": [("rl_2", "chained_2", UNKNOWN)],
        "replies": [("sft_2", "canonical_2", UNKNOWN)],
    }
    return held(
        pair
        for claim, of_claim in contests.items()
        for pair in ends_above(PAPER, tables["scores"], story, claim, of_claim)
    )
