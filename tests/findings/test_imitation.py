"""Statements about imitation against RL, by hand."""

import pytest

from svdrift.findings.papers import imitation
from tests.findings.test_papers import RL, STORY, TABLES


def found(others):
    """All problems are solved; by RL, `others` of 12 with another formula than the demonstration.

    By statement, without its end: `, ID`.
    """
    scores = TABLES["scores"].assign(valid=True, expert_match=True)
    ours = (scores["checkpoint"] == RL["sft-16"]) & (scores["problem"] < others)
    scores.loc[ours, "expert_match"] = False
    rows = imitation.findings(TABLES | {"scores": scores}, STORY)
    return {one.statement.removesuffix(", ID"): one for one in rows}


BIAS = "The match favours more SFT over PPO by more than 2 points, as against the verifier"
ROOM = "The verifier counts replies of PPO as right that the match counts as wrong"


def test_the_bias_of_the_scorer_is_judged_and_cannot_exceed_its_room():
    some = found(others=6)
    assert (some[BIAS].estimate, some[BIAS].verdict) == (pytest.approx(50), "holds")
    assert (some[ROOM].estimate, some[ROOM].verdict) == (pytest.approx(50), "described")
    none = found(others=0)
    assert none[ROOM].estimate == none[BIAS].estimate == 0


def test_controls_that_hold_where_there_is_no_bias_are_not_judged():
    judged = [one for one in found(others=0).values() if one.verdict != "described"]
    of_scorer = [one.statement for one in judged if one.claim == "scorer-decides"]
    assert of_scorer
    assert all("by more than 2 points" in one for one in of_scorer)
