"""The statements about TRAPO on small tables made by hand."""

import pytest

from svdrift.findings.papers import trapo
from tests.findings.arm_tables import scores, story

ABOUT = trapo.PAPER
TABLE = scores(ABOUT, {"trsft": 6, "scaled": 8, "trsft_high": 9, "scaled_high": 4})
FOUND = {
    one.statement: one for one in trapo.findings({"scores": TABLE, "samples": TABLE}, story(ABOUT))
}


def test_each_alpha_is_held_against_its_own_scaled_loss():
    for alpha, difference in (("", -20), ("_high", 50)):
        ours, theirs = (ABOUT.arms[f"{loss}{alpha}"] for loss in ("trsft", "scaled"))
        clips = FOUND[f"{ours} solves more than {theirs}, OOD"]
        assert (clips.claim, clips.estimate) == ("clipping", pytest.approx(difference))
        assert clips.published == trapo.CONTROL


def test_what_is_kept_is_measured_at_the_start():
    ours = f"{ABOUT.arms['trsft']} has a pass@8 at most 2 points below that of"
    kept = FOUND[f"{ours} the start (4 steps of SFT), ID"]
    assert (kept.claim, kept.estimate, kept.bound) == ("passes", pytest.approx(10), -2)
