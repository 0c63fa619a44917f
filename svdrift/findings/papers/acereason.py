"""AceReason-Nemotron (arXiv 2505.16400): RL by stages, domain by domain, one step a rollout.

Domains are rules of the task here: RL practises the first rule, then a second one, and a third is
never trained. What the paper varies together stands apart: order, steps of a rollout beside a lower
learning rate, and which problems are practised beside as many random ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.evaluation.contrasts import ID
from svdrift.findings.arms import NEGLIGIBLE, PLACES, UNKNOWN, Pairs, ends_above
from svdrift.findings.finding import Finding, held
from svdrift.findings.paired import of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="AceReason-Nemotron: advancing math and code reasoning through reinforcement learning",
    arxiv="2505.16400",
    claims={
        "transfers": "RL on one domain raises another one; SFT on the same problems lowers it",
        "kept": "RL on a second domain costs little of the first",
        "order": "One domain after the other is better than both at once",
        "strict": "One optimizer step a rollout is better than several, which use up the entropy",
        "filter": "Leaving out what the start solves often makes RL better",
    },
    reads=("scores", "samples"),
    arms={
        "start": "RL's start",
        "first": "RL on the first rule",
        "first_half": "RL on the first rule, half as long",
        "sft": "SFT on the problems of the first rule",
        "first_then_second": "RL on the first rule, then on the second",
        "second_then_first": "RL on the second rule, then on the first",
        "mixed": "RL on both rules at once",
        "one_step": "RL with one step a rollout",
        "four_steps": "RL with four steps a rollout",
        "eight_steps": "RL with eight steps a rollout",
        "eight_small_steps": "RL with eight steps a rollout at an eighth of the learning rate",
        "hard": "RL on problems that its start solves seldom",
        "hard_possible": "RL on problems that its start solves seldom, and not never",
        "random": "RL on as many problems at random",
    },
    control="A lower learning rate for more steps a rollout, as many random problems for a "
    "filter, and the other order of domains.",
    limits="Two rules of one game are closer than mathematics and code. Replies have one length, "
    "so the paper's stages of growing length are not there. All arms play as many episodes; those "
    "with more steps a rollout compute more.",
)
SECOND: Mapping[str, tuple[str, str]] = {"second rule": ("test", "odd")}
EVERYWHERE = {**PLACES, **SECOND}


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Arms against each other, claim by claim."""
    scores = tables["scores"]

    def above(claim: str, *contests: tuple[str, str, str]) -> Pairs:
        return ends_above(PAPER, scores, story, claim, contests, places=EVERYWHERE)

    raised = "+6.8 (7B) and +5.8 (14B) on code after RL on mathematics"
    return held(
        [
            *ends_above(
                PAPER, scores, story, "transfers", [("first", "start", raised)], places=SECOND
            ),
            *ends_above(
                PAPER, scores, story, "transfers", [("first", "sft", UNKNOWN)], places=SECOND
            ),
            *ends_above(
                PAPER,
                scores,
                story,
                "kept",
                [("first_then_second", "first_half", "little loss in mathematics")],
                places={"ID": ID},
                margin=NEGLIGIBLE,
            ),
            *above(
                "order",
                ("first_then_second", "mixed", UNKNOWN),
                ("first_then_second", "second_then_first", UNKNOWN),
            ),
            *above(
                "strict",
                ("one_step", "four_steps", "collapse near step 100"),
                ("one_step", "eight_steps", UNKNOWN),
                ("one_step", "eight_small_steps", UNKNOWN),
            ),
            *_entropy(tables["samples"], story),
            *above("filter", ("hard", "random", UNKNOWN), ("hard_possible", "hard", UNKNOWN)),
        ]
    )


def _entropy(samples: pd.DataFrame, story: Story) -> Pairs:
    """What several steps a rollout leave of the entropy, at both learning rates."""
    for name, place in PLACES.items():
        one = of_problems(samples, story.arms["one_step"], place)["entropy"]
        for arm in ("four_steps", "eight_steps", "eight_small_steps"):
            other = of_problems(samples, story.arms[arm], place)["entropy"]
            yield (
                statement(
                    "samples",
                    "nats",
                    "strict",
                    f"{PAPER.arms[arm]} leaves less entropy than {PAPER.arms['one_step']}, {name}",
                    "collapse near step 100",
                    side="below",
                ),
                weighted(
                    [(1, other), (-1, one)],
                    detail=f"{other.mean():.3f} against {one.mean():.3f} nats a token",
                ),
            )
