"""TRAPO (arXiv 2512.17636): does it help RL to begin with the expert, and to learn from that?

Groups that fail are given beginnings of the gold reply. Beside TrSFT's loss of these stand none,
that of plain SFT, and the latter scaled down to gradients as large as TrSFT's, which tells whether
clipping helps or mere caution; both once more at a higher alpha, which clips more. The rival is SFT
on about as many gold tokens, and then plain RL.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.findings.arms import NEGLIGIBLE, ends_above, passes_above
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
        "clipping": "It is TrSFT's clipping that helps, not its smaller gradient",
        "together": "It ends higher than SFT and then GRPO on about as many gold tokens",
        "passes": "It keeps what the start solves in many samples, and GRPO does not",
    },
    reads=("scores", "samples"),
    arms={
        "start": "the start (4 steps of SFT)",
        "plain": "GRPO",
        "given": "GRPO with beginnings",
        "nll": "GRPO with beginnings and SFT's loss",
        "scaled": "GRPO with beginnings and SFT's loss scaled to TrSFT's",
        "trsft": "GRPO with beginnings and TrSFT's loss",
        "scaled_high": "GRPO with beginnings and SFT's loss scaled to TrSFT's at alpha 0.3",
        "trsft_high": "GRPO with beginnings and TrSFT's loss at alpha 0.3",
        "sft_then_rl": "GRPO after SFT on gold tokens",
        "fast_sft_then_rl": "GRPO after SFT on gold tokens at SFT's rate",
    },
    control="SFT's loss scaled to gradients as large as TrSFT's, and SFT then RL. The published "
    "rival is in dispute: arXiv 2604.23747 traces weak SFT-then-RL results of such papers to "
    "faults of their SFT.",
    limits="Advantages are divided by a group's standard deviation, as in plain GRPO here; the "
    "released code does not divide. Guided episodes count in a group's mean, as released. Two "
    "values of alpha (0.1, the published one, and 0.3), one start. How many gold tokens SFT then "
    "RL reads is set beforehand, near what guidance gives, which depends on how often groups fail; "
    "SFT reads them once, and GRPO passes twice over what it was given. The gold reply has some 17 "
    "tokens; shares count its formula.",
)
K = 64
GRPO, GIVEN, PLAIN, TRSFT, RIVAL = "50.4", "52.7", "32.3", "56.6", "54.3"  # mean of five, 7B
CONTROL, OTHER_ALPHA = "no such control seen", "no figures seen of this alpha"


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Each loss of the beginnings against GRPO and against its control."""
    contests = {
        "given": [("given", "plain", f"{GIVEN} against {GRPO}")],
        "collapse": [("plain", "nll", f"{GRPO} against {PLAIN}")],
        "trsft": [
            ("trsft", "given", f"{TRSFT} against {GIVEN}"),
            ("trsft", "plain", f"{TRSFT} against {GRPO}"),
            ("trsft_high", "given", OTHER_ALPHA),
            ("trsft_high", "plain", OTHER_ALPHA),
        ],
        "clipping": [
            ("trsft", "scaled", CONTROL),
            ("trsft_high", "scaled_high", CONTROL),
        ],
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
        [("trsft", "start", "the base does not overtake it")],
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
