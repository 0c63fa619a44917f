"""TRAPO (arXiv 2512.17636): does it help RL to begin with the expert, and to learn from that?

Groups that fail are given beginnings of the gold reply. Beside TrSFT's loss of these stand none,
that of plain SFT, and the latter scaled down to TrSFT's mean weight, which tells whether clipping
helps or mere caution. The rival is SFT on as many gold tokens, and then plain RL.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.findings.arms import UNKNOWN, ends_above, passes_above
from svdrift.findings.finding import Finding, held
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="Trust-region adaptive policy optimization",
    arxiv="2512.17636",
    claims={
        "given": "Beginnings of the gold reply for groups that fail make GRPO end higher",
        "collapse": "Plain SFT's loss of these beginnings makes it end lower than GRPO",
        "trsft": "TrSFT's loss of them makes it end higher than without a loss, and than GRPO",
        "clipping": "It is TrSFT's clipping that helps, not its smaller weight",
        "together": "It ends higher than SFT and then GRPO on as many gold tokens",
        "passes": "It keeps what the start solves in many samples, and GRPO does not",
    },
    reads=("scores", "samples"),
    arms={
        "start": "SFT",
        "plain": "GRPO",
        "given": "GRPO with beginnings",
        "nll": "GRPO with beginnings and SFT's loss",
        "scaled": "GRPO with beginnings and SFT's loss at TrSFT's weight",
        "trsft": "GRPO with beginnings and TrSFT's loss",
        "sft_then_rl": "GRPO after SFT on as many gold tokens",
        "fast_sft_then_rl": "GRPO after SFT on as many gold tokens at SFT's rate",
    },
    control="SFT's loss at TrSFT's mean weight, and SFT then RL. The published rival is in "
    "dispute: arXiv 2604.23747 traces weak SFT-then-RL results of such papers to faults of their "
    "SFT.",
    limits="Advantages are divided by a group's standard deviation, as in plain GRPO here; the "
    "released code does not divide. Guided episodes count in a group's mean, as released. One "
    "alpha (0.1), one start. The gold reply has some 17 tokens; shares count its formula.",
)
K = 64
NEGLIGIBLE = 2.0  # points, set beforehand
GRPO, GIVEN, PLAIN, TRSFT, RIVAL = "50.4", "52.7", "32.3", "56.6", "54.3"  # mean of five, 7B


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Each loss of the beginnings against GRPO and against its control."""
    contests = {
        "given": [("given", "plain", f"{GIVEN} against {GRPO}")],
        "collapse": [("plain", "nll", f"{GRPO} against {PLAIN}")],
        "trsft": [
            ("trsft", "given", f"{TRSFT} against {GIVEN}"),
            ("trsft", "plain", f"{TRSFT} against {GRPO}"),
        ],
        "clipping": [("trsft", "scaled", UNKNOWN)],
        "together": [
            ("trsft", "sft_then_rl", f"{TRSFT} against {RIVAL}"),
            ("trsft", "fast_sft_then_rl", f"{TRSFT} against {RIVAL}"),
        ],
    }
    kept = passes_above(
        PAPER,
        tables["samples"],
        story,
        "passes",
        [("trsft", "start", "not overtaken by the base")],
        k=K,
        margin=NEGLIGIBLE,
    )
    lost = passes_above(
        PAPER,
        tables["samples"],
        story,
        "passes",
        [("start", "plain", "the base overtakes at large k")],
        k=K,
    )
    return held(
        [
            *(
                pair
                for claim, of_claim in contests.items()
                for pair in ends_above(PAPER, tables["scores"], story, claim, of_claim)
            ),
            *kept,
            *lost,
        ]
    )
