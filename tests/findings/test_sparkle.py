"""The statements about SPARKLE's training on small tables made by hand."""

import pytest

from svdrift.findings.papers import sparkle
from tests.findings.arm_tables import scores, story

ABOUT = sparkle.PAPER
TABLE = scores(ABOUT, {"before": 3, "start": 6, "prefix": 8, "continued": 9, "fast_sft": 1})
FOUND = {one.statement: one for one in sparkle.findings({"scores": TABLE}, story(ABOUT))}


def test_what_stage_1_reached_is_described():
    for place in ("ID", "OOD"):
        reached = FOUND[f"stage 1 solves more than its start (16 steps of SFT), {place}"]
        assert (reached.claim, reached.verdict) == ("hard", "described")
        assert reached.estimate == pytest.approx(30)


def test_more_training_than_stage_1_is_no_gain_of_beginnings():
    ours = "RL on hard problems with beginnings solves more than"
    assert {FOUND[f"{ours} {rival}, ID"].claim for rival in ("stage 1", "stage 1 continued")} == {
        "practice"
    }
    assert FOUND[f"{ours} stage 1 continued, ID"].estimate == pytest.approx(-10)
    assert FOUND[f"{ours} RL on hard problems, ID"].claim == "prefix"


def test_sft_on_hard_problems_is_tried_at_its_own_rate():
    fast = FOUND["stage 1 solves more than SFT on hard problems at SFT's rate, OOD"]
    assert (fast.claim, fast.estimate) == ("sft", pytest.approx(50))
