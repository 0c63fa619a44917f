"""Probes in the configuration: what they are measured on, and what is refused."""

from typing import Any

import pytest

from svdrift.errors import UserError
from svdrift.findings.paper import paper
from svdrift.study.arm_costs import arm_cost
from tests.study.graphs import METHODS
from tests.study.studies import study

SCORES: dict[str, Any] = {"kind": "scores"}
EFFECT: dict[str, Any] = {"kind": "sample_effect", "of": ["base"], "data": {"gold": "practice"}}


def plan(**keys: Any):
    return study({"probes": {"one": SCORES | keys}}).probed["one"]


def test_none_by_default():
    assert study().probed == {}


def test_null_removes_one():
    assert list(study({"probes": {"one": SCORES, "two": None}}).probed) == ["one"]


def test_the_story_is_measured_on_the_tests_by_default():
    found, story = plan(), study().resolved_story
    ends = [end for role in story.ends for end in role.results.values()]
    assert found.checkpoints == (*story.path, *ends)
    assert [split.name for split in found.splits] == ["id_test", "ood_test"]
    assert found.count is None


def test_the_story_has_the_arms_too_and_a_paper_needs_its_own():
    probes = {"one": SCORES, "two": EFFECT}
    given = {"probes": probes, "papers": ["redistillation"]}
    arms = dict.fromkeys(paper("redistillation").arms, "sft@end")
    found = study(given | {"story": {"arms": arms | {"rl": "ppo@40 of sft@64"}}})
    assert found.probed["one"].checkpoints[-1] == "sft-64.ppo-40"
    del arms["rl"]
    with pytest.raises(UserError) as caught:
        study(given | {"story": {"arms": arms}})
    assert "papers: redistillation compares the arm 'rl' (RL)" in str(caught.value)
    assert "story.arms.rl" in str(caught.value)


def test_a_paper_that_chooses_repairs_needs_them_on_selection_problems():
    arms = {arm: "sft@end" for arm in paper("repairs").arms}
    given = {"probes": {"one": SCORES}, "papers": ["repairs"], "story": {"arms": arms}}
    with pytest.raises(UserError, match="papers: repairs chooses among repairs on problems for"):
        study(given)
    with pytest.raises(UserError, match=r"wanted: recovery.on_selection: true, and repairs"):
        study(given | {"recovery": {"on_selection": True, "repairs": []}})
    found = study(given | {"recovery": {"on_selection": True}})
    assert found.evidence == {"repairs": {"scores": "one"}}
    roles = {split.role for split in found.repaired_splits}
    assert roles == {"fit", "selection", "test"}
    assert {split.role for split in study().repaired_splits} == {"fit", "test"}


def test_an_arm_costs_what_was_read_and_played_on_its_way():
    found = study(
        {
            "stages": {
                "short": {
                    "method": "sft",
                    "from": "base",
                    "on": "demonstrations",
                    "steps": 10,
                    "batch_size": 32,
                    "micro_batch_size": 32,
                }
            }
        }
    )
    assert arm_cost("base", found) == {"samples": 0, "episodes": 0, "replies": 0}
    assert arm_cost("short-10", found) == {"samples": 320, "episodes": 0, "replies": 0}
    # 64 steps of 64, then 40 updates of 128 episodes, each read twice.
    rl = {"samples": 4096 + 10240, "episodes": 5120, "replies": 0}
    assert arm_cost("sft-64.ppo-40", found) == rl


def test_what_is_made_in_one_go_costs_no_steps():
    merged = {"method": str(METHODS / "merged.py"), "from": "sft@64"}
    found = study({"stages": {"merged": merged}})
    assert arm_cost("sft-64.merged-0", found) == {"samples": 4096, "episodes": 0, "replies": 0}


def test_an_arm_costs_what_its_data_took_too():
    """SFT on replies of RL, and RL on problems that the same RL seldom solves: RL counts once."""
    found = study(
        {
            "data": {
                "of_rl": {"replies_of": "ppo@40 of sft@64", "on": "practice"},
                "hard": {
                    "on": "practice",
                    "pass_rate": {"of": "ppo@end of sft@64", "samples": 4, "at_most": 0.25},
                },
                "both": {"mix": {"hard": 0.5, "of_rl": 0.5}},
            },
            "stages": {
                "again": {"method": "sft", "from": "base", "on": "of_rl", "steps": 8},
                "harder": {"method": "ppo", "from": "again@end", "on": "both", "updates": 30},
            },
        }
    )
    practice = found.task.count("practice")
    rl = {"samples": 4096 + 10240, "episodes": 5120}
    assert arm_cost("again-8", found) == {
        "samples": rl["samples"] + 8 * 64,
        "episodes": rl["episodes"],
        "replies": practice,
    }
    assert arm_cost("again-8.harder-30", found) == {  # ppo to its end now, 60 updates
        "samples": 4096 + 15360 + 8 * 64 + 7680,
        "episodes": 7680 + 3840,
        "replies": practice + 4 * practice,
    }


def test_all_and_a_list():
    assert plan(of="all").checkpoints == study().checkpoints
    found = plan(of=["sft@end", "ppo@end of sft@64"], on=["id_selection"], count=7)
    assert found.checkpoints == ("sft-256", "sft-64.ppo-60")
    assert ([split.name for split in found.splits], found.count) == (["id_selection"], 7)


def test_further_checkpoints_are_resolved():
    found = plan(kind="function_space", peak="sft@16")
    assert found.others == {"peak": "sft-16"}
    assert found.others_of("sft-64.ppo-60") == {"peak": "sft-16", "start": "sft-64"}
    assert "base" not in found.checkpoints  # it starts from nothing


def test_data_are_splits_or_named_data():
    own = {"replies_of": "sft@64", "on": "practice"}
    data = {"gold": "practice", "own": "own"}
    found = study({"data": {"own": own}, "probes": {"one": EFFECT | {"data": data}}})
    assert found.probed["one"].data == data
    assert plan().data == {}


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"kind": "score"}, r"probes.one.kind: 'score' is unknown, did you mean 'scores'\? .*"),
        ({"kind": "nowhere.py"}, r"probes.one.kind: nowhere.py: no such file"),
        ({"kind": "samples", "sample": 3}, r"unknown key 'probes.one.sample'.*samples.*"),
        ({"kind": "samples", "samples": 0}, r".*probes.one.samples.*"),
        ({"kind": "samples", "temperature": 0}, r".*probes.one.temperature.*"),
        ({"kind": "function_space"}, r".*probes.one.peak.*missing.*"),
        ({"kind": "function_space", "peak": "sft@5"}, r"probes.one.peak: .*sft@5.*"),
        (
            {"kind": "function_space", "peak": "sft@16", "of": ["base"]},
            r"probes.one.of: base starts from no checkpoint.*",
        ),
        ({"kind": "sample_effect"}, r".*probes.one.data.*missing.*"),
        ({"kind": "sample_effect", "data": {}}, r".*probes.one.data.*"),
        ({"kind": "sample_effect", "data": ["practice"]}, r".*probes.one.data.*"),
        (EFFECT | {"data": {"a-b": "practice"}}, r"probes.one.data: 'a-b' is not a name .*"),
        (
            EFFECT | {"data": {"gold": "practise"}},
            r"probes.one.data.gold: 'practise' is neither a split of the task nor named data, did "
            r"you mean 'practice'\? .*",
        ),
        (EFFECT | {"rows": 0}, r".*probes.one.rows.*"),
        (EFFECT | {"samples": 1}, r".*probes.one.samples.*"),
        ({"of": ["sft@5"]}, r"probes.one.of: .*sft@5.*"),
        ({"of": []}, r"probes.one.of: names no checkpoint"),
        ({"of": "everything"}, r".*probes.one.of.*"),
        ({"on": ["practice"]}, r"probes.one.on: 'practice' is not evaluated.*"),
        ({"on": ["id_test", "id_test"]}, r"probes.one.on: must name different splits.*"),
        ({"on": []}, r"probes.one.on: must name different splits.*"),
        ({"count": 0}, r".*probes.one.count.*"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(keys, line):
    with pytest.raises(UserError, match=f"^config: {line}$"):
        plan(**keys)


@pytest.mark.parametrize("name", ["One", "1", "a-b", ""])
def test_a_name_is_that_of_a_table(name):
    with pytest.raises(UserError, match=r"not a name of a probe"):
        study({"probes": {name: SCORES}})


def test_a_probe_is_a_mapping():
    with pytest.raises(UserError, match=r"probes.one"):
        study({"probes": {"one": "scores"}})


def test_resources_may_be_asked_for():
    found = study(
        {"probes": {"one": SCORES}, "compute": {"resources": {"probe_one": {"mem_mb": 9000}}}}
    )
    assert found.compute.resources["probe_one"].mem_mb == 9000
    with pytest.raises(UserError, match=r"'probe_one' is no rule"):
        study({"compute": {"resources": {"probe_one": {"mem_mb": 9000}}}})
