"""When imitation outperforms RL (arXiv 2507.05011): does the scorer decide?

The published reward and score are both similarity to one expert. Here the same replies are scored
by that (the demonstrated formula, token by token) and by the verifier, which takes any solution.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from svdrift.findings.arms import NEGLIGIBLE, PLACES, UNKNOWN, Pairs
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
    control="The same replies are scored by the match and by the verifier: where imitation leads "
    "by both, RL is simply worse. Where a problem has one solution the two must agree.",
    limits="The game has a verifier and a known set of solutions, which surgical video lacks. RL "
    "is rewarded by the verifier here; the paper's RL was rewarded by the match itself. The scorer "
    "cannot change more than RL has right replies other than the demonstration. Two arms are "
    "missing: PPO that is rewarded by the match, and SFT on random right replies.",
)
PUBLISHED = "imitation 34.6 against RL 33.2 mAP on the current action, 29.2 against 15.9 at 10 s"

_statement = partial(statement, "scores", "points")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL from the moderate start against each control, under both scorers."""
    return held(_pairs(tables["scores"], story))


def _pairs(scores: pd.DataFrame, story: Story) -> Pairs:
    rl, start = story.rl, story.moderate
    if rl is None or start is None:
        return
    for name, place in PLACES.items():
        ours = of_problems(scores, rl.results[start], place)
        if ours.empty:  # not probed
            continue
        yield _room(ours, rl.label, name)
        for control in story.controls:
            theirs = of_problems(scores, control.results.get(start, ""), place)
            if not theirs.empty:
                yield from _contest(ours, theirs, rl.label, control.label, name)


def _room(ours: pd.DataFrame, rl: str, name: str) -> tuple[Statement, Estimate | None]:
    """RL's right replies that the match counts as wrong: no bias can be larger."""
    return (
        _statement(
            "scorer-decides",
            f"The verifier counts replies of {rl} as right that the match counts as wrong, {name}",
            UNKNOWN,
            description=True,
        ),
        weighted([(1, ours["valid"]), (-1, ours["expert_match"])], scale=100),
    )


def _contest(ours: pd.DataFrame, theirs: pd.DataFrame, rl: str, control: str, name: str) -> Pairs:
    """RL against a control; what the scorer does is judged by the bias alone."""
    shares = (
        f"match {mean(theirs['expert_match'])} and {mean(ours['expert_match'])} %, same "
        f"form {mean(theirs['same_form'])} and {mean(ours['same_form'])} %, right "
        f"{mean(theirs['valid'])} and {mean(ours['valid'])} %"
    )
    yield (
        _statement(
            "imitation-wins",
            f"By match with the demonstration, {control} stands above {rl}, {name}",
            PUBLISHED,
        ),
        weighted(
            [(1, theirs["expert_match"]), (-1, ours["expert_match"])], scale=100, detail=shares
        ),
    )
    yield (
        _statement(
            "scorer-decides",
            f"By the verifier, {rl} stands above {control}, {name}",
            UNKNOWN,
            description=True,
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
            f"The match favours {control} over {rl} by more than {NEGLIGIBLE:g} points, as against "
            f"the verifier, {name}",
            "offered as an explanation",
            bound=NEGLIGIBLE,
        ),
        weighted(bias, scale=100, bound=NEGLIGIBLE),
    )
    single = ours["n_forms"] == 1
    yield (
        _statement(
            "scorer-decides",
            f"The match favours {control} by less than {NEGLIGIBLE:g} points where one form alone "
            f"solves the problem, {name}",
            UNKNOWN,
            side="below",
            bound=NEGLIGIBLE,
            description=True,
        ),
        weighted([(weight, one[single]) for weight, one in bias], scale=100, bound=NEGLIGIBLE),
    )
