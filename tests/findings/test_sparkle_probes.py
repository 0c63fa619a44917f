"""Which of SPARKLE's probes are judged, and which are true by construction."""

from svdrift.findings.papers import sparkle_probes
from tests.findings.test_papers import STORY, TABLES

FOUND = sparkle_probes.findings(TABLES, STORY)


def test_what_cannot_fail_is_described():
    assert {one.verdict for one in FOUND if one.claim == "pieces"} == {"described"}
    assert all(one.estimate >= 0 for one in FOUND if one.claim == "pieces")
    assert all(one.verdict != "described" for one in FOUND if one.claim in ("raises", "where"))


def test_of_help_the_translation_is_described():
    described = [
        one.statement for one in FOUND if one.claim == "help" and one.verdict == "described"
    ]
    assert len(described) == 2
    assert all(said.startswith("With the translation given, PPO gains more") for said in described)
