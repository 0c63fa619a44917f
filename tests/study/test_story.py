"""The story names checkpoints by the stages that play its parts."""

from typing import Any

import pytest

from svdrift.errors import UserError
from svdrift.story import Story
from svdrift.study.story import StorySettings, resolve_story
from tests.study.graphs import LEARN, MORE, PLAY, PPO, ROOT, SFT, graph

PARTS: dict[str, Any] = {"path": "sft", "rl": "ppo", "controls": ["more"]}


def story(changes: dict[str, Any] | None = None, **parts: Any) -> Story:
    return resolve_story(StorySettings.model_validate(PARTS | parts), graph(changes))


def test_parts_become_ids():
    found = story({"ppo": {**PPO, "keep": {"every": 4, "of": "sft@4"}}}, moderate="sft@end")
    assert found.path == ("base", "sft-4", "sft-8", "sft-16")
    assert (found.base, found.last) == ("base", "sft-16")
    assert found.rl is not None
    assert found.rl.results == {"sft-4": "sft-4.ppo-6", "sft-16": "sft-16.ppo-6"}
    assert found.rl.kept == {
        "sft-4": ("sft-4.ppo-4", "sft-4.ppo-6"),
        "sft-16": ("sft-16.ppo-6",),
    }
    assert found.rl.unit == "update"
    assert [control.stage for control in found.controls] == ["more"]
    assert found.controls[0].results["sft-4"] == "sft-4.more-12"
    assert found.moderate == "sft-16"
    assert found.named_starts == {"short": "sft-4", "moderate": "sft-16"}
    assert [role.stage for role in found.ends] == ["ppo", "more"]


def test_a_null_stands_beside_rl_and_what_comes_after_follows_it():
    again = {"method": LEARN, "from": ["ppo@end of sft@16", "ppo@end of sft@4"], "on": "lessons"}
    changes = {"again": again, "null": {**PPO, "from": "starts of ppo"}}
    found = story(changes, rl_null="null", after=["again"])
    assert found.rl_null is not None
    assert found.rl_null.results["sft-4"] == "sft-4.null-6"
    assert found.after[0].results == {
        "sft-4.ppo-6": "sft-4.ppo-6.again-16",
        "sft-16.ppo-6": "sft-16.ppo-6.again-16",
    }
    assert [role.stage for role in found.ends] == ["ppo", "more"]
    assert [role.stage for role in found.roles] == ["ppo", "more", "null", "again"]


def test_arms_of_a_paper_are_checkpoints_by_its_names():
    found = story(arms={"plain": "sft@4", "best": "more@end of sft@4"})
    assert found.arms == {"plain": "sft-4", "best": "sft-4.more-12"}


def test_starts_are_in_the_order_of_the_path():
    found = story({"ppo": {**PPO, "from": ["sft@end", "sft@4", "sft@8"]}})
    assert found.starts == ("sft-4", "sft-8", "sft-16")
    assert found.moderate == "sft-8"


@pytest.mark.parametrize(
    ("starts", "moderate"),
    [(["sft@8"], "sft-8"), (["sft@4", "sft@8"], "sft-4"), (["base", "sft@4", "sft@8"], "sft-4")],
)
def test_the_moderate_start_is_the_middle_one_and_of_two_the_lower(starts, moderate):
    assert story({"ppo": {**PPO, "from": starts}}).moderate == moderate


def test_a_peak_may_be_named():
    assert story().candidates == story().path
    named = story(peak="sft@8")
    assert (named.peak, named.candidates) == ("sft-8", ("sft-8",))


@pytest.mark.parametrize("peak", ["sft@end", "ppo@end of sft@4"])
def test_a_peak_lies_on_the_path_before_its_end(peak):
    with pytest.raises(UserError, match=r"story.peak: .* \(allowed: base, sft-4, sft-8\)"):
        story(peak=peak)


def test_a_story_without_rl():
    found = story({"ppo": None, "more": None}, rl=None, controls=[])
    assert (found.rl, found.controls, found.moderate) == (None, (), None)
    assert found.starts == ()
    assert found.named_starts == {}


def test_labels_are_of_every_stage():
    """A method of one's own that one stage alone has gives its label; sft shares its method."""
    found = story({"more": {**MORE, "label": "More SFT"}})
    assert found.labels == {"base": "Root", "sft": "sft", "ppo": "Player", "more": "More SFT"}
    assert found.controls[0].label == "More SFT"


ELSEWHERE = {"method": LEARN, "from": "base", "on": "lessons"}


@pytest.mark.parametrize(
    ("changes", "parts", "message"),
    [
        (
            {},
            {"path": "dpo"},
            "story.path: there is no stage 'dpo', did you mean 'ppo'? (stages: base, sft, ppo, m",
        ),
        ({}, {"rl": "grpo"}, "story.rl: there is no stage 'grpo'"),
        ({}, {"controls": ["wide"]}, "story.controls: there is no stage 'wide'"),
        ({}, {"path": "base"}, "story.path: base must start from one checkpoint (it starts from"),
        ({}, {"path": "ppo"}, "story.path: ppo must start from one checkpoint (it starts from sft"),
        (
            {"aside": ELSEWHERE, "ppo": {**PPO, "from": "aside@end"}},
            {},
            "story.rl: ppo starts from aside-16, which is not on the path, sft (base, sft-4,",
        ),
        (
            {"other": {"method": ROOT}, "ppo": {**PPO, "from": "other"}},
            {},
            "story.rl: ppo starts from other, which is not on the path",
        ),
        ({}, {"rl": "base"}, "story.rl: base starts from no checkpoint, which is not on"),
        (
            {"more": {**MORE, "from": "sft@8"}},
            {},
            "story.controls: more starts from sft-8, which is not on the starts of story.rl, ppo",
        ),
        ({}, {"rl": None}, "story.controls: there is no story.rl that more could go with"),
        (
            {},
            {"rl": None, "controls": [], "rl_null": "more"},
            "story.rl_null: there is no story.rl that more could go with",
        ),
        (
            {"more": {**MORE, "from": "sft@8"}},
            {"controls": [], "rl_null": "more"},
            "story.rl_null: more starts from sft-8, which is not on the starts of story.rl, ppo",
        ),
        (
            {},
            {"controls": [], "after": ["more"]},
            "story.after: more starts from sft-4, which is not on what story.rl, ppo, keeps",
        ),
        ({}, {"arms": {"best": "more@end"}}, "story.arms.best: more@end: more has several starts"),
        ({}, {"after": ["again"]}, "story.after: there is no stage 'again'"),
        ({}, {"rl_null": "more"}, "story: more plays two parts"),
        ({}, {"controls": ["more", "more"]}, "story: more plays two parts"),
        ({}, {"controls": ["ppo"]}, "story: ppo plays two parts"),
        ({}, {"rl": "sft", "controls": []}, "story: sft plays two parts"),
        (
            {},
            {"rl": None, "controls": [], "moderate": "sft@4"},
            "story.moderate: there is no story.rl whose start it could be",
        ),
        ({}, {"moderate": "sft@8"}, "story.moderate: sft-8 is not a start of ppo (allowed: sft-4,"),
        ({}, {"moderate": "sft-8"}, "story.moderate: 'sft-8' is not a reference to a checkpoint"),
        ({"sft": {**SFT, "method": PLAY}}, {"moderate": "sft@9"}, "step 8 is not between 1 and 6"),
    ],
)
def test_a_stage_that_cannot_play_its_part_is_refused_in_one_line(changes, parts, message):
    with pytest.raises(UserError) as caught:
        story(changes, **parts)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
