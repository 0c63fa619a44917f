"""When imitation outperforms RL (arXiv 2507.05011): does the scorer decide?

The published reward and score are both similarity to one expert. Here the same replies are scored
by that (the demonstrated formula, token by token) and by the verifier, which takes any solution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.finding import Estimate, Finding, Statement, held
from svdrift.findings.paired import mean, of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="When imitation learning outperforms reinforcement learning in surgical action planning",
    arxiv="2507.05011",
    claims={
        "imitation-wins": "Imitation scores above RL where the score is a match with the expert",
        "scorer-decides": "It does so because of the scorer: RL's other right answers count as "
        "wrong",
    },
    reads=("scores",),
    control="The same replies are scored by the match and by the verifier, and where a problem "
    "has one solution the two must agree.",
    limits="The game has a verifier and a known set of solutions, which surgical video has not. RL "
    "is rewarded by the verifier here; the paper's RL was rewarded by the match itself.",
)
PUBLISHED = "imitation 34.6 against RL 33.2 mAP on the current action, 29.2 against 15.9 at 10 s"
NEGLIGIBLE = 2.0  # points, set beforehand

_statement = partial(statement, "scores", "points")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL from the moderate start against each control, under both scorers."""
    return held(_pairs(tables["scores"], story))


def _pairs(scores: pd.DataFrame, story: Story) -> Iterator[tuple[Statement, Estimate | None]]:
    rl, start = story.rl, story.moderate
    if rl is None or start is None:
        return
    for control in story.controls:
        if start not in control.results:
            continue
        for name, place in (("ID", ID), ("OOD", OOD)):
            ours = of_problems(scores, rl.results[start], place)
            theirs = of_problems(scores, control.results[start], place)
            if ours.empty or theirs.empty:  # not probed
                continue
            shares = (
                f"match {mean(theirs['expert_match'])} and {mean(ours['expert_match'])} %, same "
                f"form {mean(theirs['same_form'])} and {mean(ours['same_form'])} %, right "
                f"{mean(theirs['valid'])} and {mean(ours['valid'])} %"
            )
            yield (
                _statement(
                    "imitation-wins",
                    f"By match with the demonstration, {control.label} stands above {rl.label}, "
                    f"{name}",
                    PUBLISHED,
                ),
                weighted(
                    [(1, theirs["expert_match"]), (-1, ours["expert_match"])],
                    scale=100,
                    detail=shares,
                ),
            )
            yield (
                _statement(
                    "scorer-decides",
                    f"By the verifier, {rl.label} stands above {control.label}, {name}",
                    "not measured",
                ),
                weighted([(1, ours["valid"]), (-1, theirs["valid"])], scale=100),
            )
            bias = [
                (1, theirs["expert_match"]),
                (-1, ours["expert_match"]),
                (-1, theirs["valid"]),
                (1, ours["valid"]),
            ]
            yield (
                _statement(
                    "scorer-decides",
                    f"The match favours {control.label} over {rl.label}, as against the verifier, "
                    f"{name}",
                    "offered as an explanation",
                ),
                weighted(bias, scale=100),
            )
            single = ours["n_forms"] == 1
            yield (
                _statement(
                    "scorer-decides",
                    f"The match favours {control.label} by less than {NEGLIGIBLE:g} points where "
                    f"one form alone solves the problem, {name}",
                    "not measured",
                    side="below",
                    bound=NEGLIGIBLE,
                ),
                weighted(
                    [(weight, one[single]) for weight, one in bias], scale=100, bound=NEGLIGIBLE
                ),
            )
