"""In which settings studies differ."""

from pathlib import Path

import pytest

from svdrift.study.differences import differences
from svdrift.study.overlays import laid_over, read_config
from svdrift.study.settings import read_settings

DEFAULT = read_config(None, Path(__file__).parents[2] / "config.yaml")


def against_default(overlay):
    ours, theirs = (read_settings(c) for c in (laid_over(DEFAULT, overlay), DEFAULT))
    return differences(ours.model_dump(mode="json"), theirs.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        ({}, []),
        ({"study": "another"}, []),
        ({"stages": {"sft": {"learning_rate": 0.001}}},
         [("stages.sft.learning_rate", 0.001, 0.002)]),
        ({"stages": {"ppo": {"clip": 0.3}}}, [("stages.ppo.clip", 0.3, None)]),
        ({"seeds": [0, 1]}, [("seeds", [0, 1], [0])]),
        ({"spectra": {"draws": 3}, "study": "b"}, [("spectra.draws", 3, 10)]),
    ],
)  # fmt: skip
def test_a_study_differs_from_the_default_in_what_its_overlay_changes(overlay, expected):
    assert against_default(overlay) == expected


def test_a_removed_stage_is_told():
    found = against_default({"stages": {"wide": None}, "story": {"controls": ["continued"]}})
    assert ("story.controls", ["continued"], ["continued", "wide"]) in found
    assert ("stages.wide.method", None, "sft") in found
