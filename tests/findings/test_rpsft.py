"""The statements about RPSFT on small tables made by hand."""

import pytest

from svdrift.findings.papers import rpsft
from tests.findings.arm_tables import scores, story

FOUND = {
    one.statement: one
    for one in rpsft.findings(
        {
            "scores": scores(
                rpsft.PAPER,
                {"base": 3, "plain_start": 3, "leading_start": 7, "leading": 7, "whole": 9},
            )
        },
        story(rpsft.PAPER),
    )
}


def test_holding_is_set_against_moving_as_far_and_stopping_early():
    ours, plain = "SFT with leading subspaces held", "plain SFT stopped at"
    for rival in (f"{plain} half", f"{plain} a quarter", "SFT with L2 to its start"):
        for place in ("ID", "OOD"):
            start = FOUND[f"{ours} solves more than {rival}, {place}"]
            assert (start.claim, start.estimate) == ("subspaces", pytest.approx(20))
            end = FOUND[f"RL from {ours} solves more than RL from {rival}, {place}"]
            assert end.estimate == pytest.approx(-20 if "L2" in rival else 20)


def test_what_sft_teaches_is_described():
    taught = FOUND["plain SFT solves more than the base, ID"]
    assert (taught.claim, taught.estimate, taught.verdict) == ("costs", 0, "described")
