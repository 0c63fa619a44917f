"""The statements about Shuffle-R1 on small tables made by hand."""

import pytest

from svdrift.findings.papers import shuffle_r1
from tests.findings.arm_tables import scores, story

ABOUT = shuffle_r1.PAPER
TABLE = scores(ABOUT, {"start": 2, "all": 6, "random": 7, "pairs": 8, "shuffled": 9})
FOUND = {one.statement: one for one in shuffle_r1.findings({"scores": TABLE}, story(ABOUT))}


def test_pairs_drawn_or_not_are_held_against_each_choice_without_pairs():
    contrast = [one for one in FOUND.values() if one.claim == "contrast"]
    assert len(contrast) == 2 * len(shuffle_r1.OTHERS) * 2  # arms, controls, places
    for ours, difference in (("pairs", 10), ("shuffled", 20)):
        for place in ("ID", "OOD"):
            said = f"{ABOUT.arms[ours]} solves more than GRPO on a random half, {place}"
            assert FOUND[said].estimate == pytest.approx(difference)


def test_what_grpo_gained_is_described():
    gained = FOUND["GRPO on all episodes solves more than the start (16 steps of SFT), OOD"]
    assert (gained.estimate, gained.verdict) == (pytest.approx(40), "described")
