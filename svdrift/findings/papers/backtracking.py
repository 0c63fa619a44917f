"""How much backtracking is enough? (arXiv 2505.24273): dead ends in demonstrations, then RL.

Demonstrations of the same hands hold traces with a number of dead ends and returns from them. The
published generator repeats one dead end; here they differ. Beside them stand right steps repeated
to the same length, traces whose results are all wrong, and RL with no demonstrations to speak of.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.arms import NEGLIGIBLE, UNKNOWN, Pairs, ends_above, of_solved, solved
from svdrift.findings.finding import Finding, held
from svdrift.findings.paired import of_problems, weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="How much backtracking is enough? Exploring the interplay of SFT and RL in enhancing "
    "LLM reasoning",
    arxiv="2505.24273",
    claims={
        "warm-up": "A short SFT before RL helps",
        "helps": "Demonstrations with dead ends and returns make RL end higher",
        "more": "More of them make it end higher still",
        "difficulty": "They help more where problems are harder",
        "content": "Whether their content is right hardly matters",
    },
    reads=("scores",),
    arms={
        "cold": "RL from step 4 of SFT",
        "direct": "RL after formulas without steps",
        "steps": "RL after steps without dead ends",
        "one": "RL after traces with one dead end",
        "three": "RL after traces with three dead ends",
        "five": "RL after traces with five dead ends",
        "filler": "RL after right steps repeated to the length of three dead ends",
        "corrupt": "RL after traces with three dead ends and wrong results",
        "shuffled": "RL after traces with three dead ends in random order",
    },
    control="Right steps repeated to the same length, which have no dead ends; and dead ends that "
    "differ from each other, where the published ones repeat.",
    limits="A dead end has three steps here, and a hand few ways to go. All arms train for as many "
    "steps, so those with longer replies see more tokens. The trace is not verified, only the "
    "formula after it.",
)
HARD = 2  # forms that solve a hand: as many or fewer make it hard


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Arms after RL against each other."""
    scores = tables["scores"]

    def above(claim: str, *contests: tuple[str, str, str]) -> Pairs:
        return ends_above(PAPER, scores, story, claim, contests)

    return held(
        [
            *above("warm-up", ("direct", "cold", "moderate gains, less on harder tasks")),
            *above(
                "helps",
                ("one", "steps", "one is best on Countdown"),
                ("three", "steps", UNKNOWN),
                ("three", "filler", UNKNOWN),
                ("three", "direct", UNKNOWN),
                ("three", "shuffled", UNKNOWN),
            ),
            *above("more", ("three", "one", UNKNOWN), ("five", "three", "five is best on Sudoku")),
            *_difficulty(scores, story),
            *ends_above(
                PAPER,
                scores,
                story,
                "content",
                [("corrupt", "three", "wrong content hardly matters")],
                margin=NEGLIGIBLE,
            ),
        ]
    )


def _difficulty(scores: pd.DataFrame, story: Story) -> Pairs:
    """The gain on hard hands minus that on the others.

    With h = 1 on hard hands and p their share, that is the mean of gain * (h - p) / (p (1 - p)).
    """
    for name, place in (("ID", ID), ("OOD", OOD)):
        hard = (of_problems(scores, story.arms["steps"], place)["n_forms"] <= HARD).astype(float)
        if hard.empty or hard.groupby(level="seed").nunique().min() < 2:  # all are hard, or none
            continue
        share = hard.groupby(level="seed").transform("mean")
        contrast = (hard - share) / (share * (1 - share))
        for arm in ("one", "three", "five"):
            with_ends, without = (solved(scores, story, one, place) for one in (arm, "steps"))
            yield (
                of_solved(
                    "difficulty",
                    f"{PAPER.arms[arm]} gains more over {PAPER.arms['steps']} on hands that "
                    f"{HARD} forms or fewer solve than on others, {name}",
                    "the best number grows with difficulty",
                ),
                weighted(
                    [(1, with_ends * contrast), (-1, without * contrast)],
                    scale=100,
                    detail=f"{100 * hard.mean():.0f} % of the hands",
                ),
            )
