"""Shuffle-R1 (arXiv 2508.05612): does it matter which of GRPO's episodes train?

Pairs of a group's best and worst episodes, drawn by their advantages, against all episodes, and
against what else leaves out episodes that teach nothing: as many at random, as many from groups
whose rewards differ, and those with the largest advantages, unpaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from svdrift.findings.arms import NEGLIGIBLE, ends_above
from svdrift.findings.finding import Finding, held
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="Shuffle-R1: efficient RL framework for multimodal large language models via "
    "data-centric dynamic shuffle",
    arxiv="2508.05612",
    claims={
        "pairs": "Training on pairs of a group's best and worst is better than on all episodes",
        "shuffle": "Drawing the pairs in proportion to their advantages adds to that",
        "contrast": "It is the contrast within pairs that helps, not what any choice leaves out",
        "steps": "It helps by which episodes train, not by taking fewer steps",
        "faster": "It ends as high as GRPO in half the updates",
    },
    reads=("scores",),
    arms={
        "start": "the start (16 steps of SFT)",
        "all": "GRPO on all episodes",
        "as_many_steps": "GRPO on all episodes, stopped after as many steps",
        "random": "GRPO on a random half",
        "mixed": "GRPO on as many episodes from groups whose rewards differ",
        "top": "GRPO on the half with the largest advantages",
        "pairs": "GRPO on the first half of the pairs",
        "shuffled": "GRPO on pairs drawn by advantage",
        "half_as_long": "GRPO on pairs drawn by advantage, half as long",
    },
    control="As many episodes at random, as many from groups whose rewards differ, and those with "
    "the largest advantages: if these do as well, the pairs are not the cause.",
    limits="All arms play as many episodes in minibatches of one size, so GRPO on all of them "
    "takes twice as many steps; stopped after as many, it has played half as many. Eight problems "
    "an update, not 512, and partial credit, so that fewer groups are flat than under a reward of "
    "right or wrong; a reward of that kind is not tried. Nor are drawing by advantage without "
    "pairs, the best or the worst episodes alone, and random episodes repeated as often as drawing "
    "repeats. What drawing by advantage does to the variety of replies (pass@64) is not measured.",
)
ALL, PAIRS, SHUFFLED = "42.6", "46.2", "47.9"  # Geometry3K, 3B
CONTROL = "no such control seen"
OTHERS = ("random", "mixed", "top")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Each choice of episodes against all, and against the choices that need no pairs."""
    contests = {
        "pairs": [("pairs", "all", f"{PAIRS} against {ALL} (Geometry3K)")],
        "shuffle": [
            ("shuffled", "pairs", f"{SHUFFLED} against {PAIRS} (Geometry3K)"),
            ("shuffled", "all", f"{SHUFFLED} against {ALL} (Geometry3K)"),
        ],
        "contrast": [(ours, other, CONTROL) for ours in ("pairs", "shuffled") for other in OTHERS],
        "steps": [(ours, "as_many_steps", CONTROL) for ours in ("pairs", "shuffled")],
        "faster": [("half_as_long", "all", "as accurate in half the steps")],
    }
    scores = tables["scores"]
    gained = ends_above(PAPER, scores, story, "faster", [("all", "start", "no figures seen")])
    return held(
        [
            *(
                pair
                for claim, of_claim in contests.items()
                for pair in ends_above(
                    PAPER,
                    scores,
                    story,
                    claim,
                    of_claim,
                    margin=NEGLIGIBLE if claim == "faster" else 0.0,
                )
            ),
            *((replace(said, description=True), found) for said, found in gained),
        ]
    )
