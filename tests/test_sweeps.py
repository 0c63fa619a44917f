import copy
from pathlib import Path
from typing import Any

import pytest

from svdrift.errors import UserError
from svdrift.study.overlays import laid_over, read_config
from svdrift.study.settings import read_settings
from svdrift.sweeps import read_sweep

ROOT = Path(__file__).parents[1]
TWO = {
    "study": "two",
    "seeds": [3],
    "sweep": {
        "stages.ppo.granularity": ["turn", "token"],
        "stages.sft.learning_rate": ["1e-4", 2.0e-3],
    },
}
RULES = {"tens": [10, 10, 10], "faces": [11, 12, 13]}
NO_RL = {
    "stages": {"ppo": None, "continued": None, "wide": None},
    "story": {"peak": None, "rl": None, "controls": [], "moderate": None},
}


def config(changes: dict[str, Any]) -> dict[str, Any]:
    return laid_over(read_config(None, ROOT / "config.yaml"), changes)


def test_every_combination_is_a_valid_study_with_its_values():
    two = config(TWO)
    before = copy.deepcopy(two)
    sweep = read_sweep(two)
    assert before == two  # the caller's configuration is left alone
    assert sweep.name == "two"
    assert [point.study for point in sweep.points] == [
        "two/stages.ppo.granularity=turn,stages.sft.learning_rate=0.0001",
        "two/stages.ppo.granularity=turn,stages.sft.learning_rate=0.002",
        "two/stages.ppo.granularity=token,stages.sft.learning_rate=0.0001",
        "two/stages.ppo.granularity=token,stages.sft.learning_rate=0.002",
    ]
    for point in sweep.points:
        settings = read_settings(point.config)
        stages = settings.graph.stages
        assert settings.study == point.study
        assert settings.seeds == (3,)
        for key, value in point.values.items():
            _, stage, own = key.split(".")
            assert getattr(stages[stage].settings, own) == value
    assert sweep.points[0].values["stages.sft.learning_rate"] == 1e-4  # not YAML's text "1e-4"


@pytest.mark.parametrize(
    ("key", "values", "labels"),
    [
        ("stages.sft.keep", [[4], [4, 8]], ["4", "4-8"]),
        ("stages.base.architecture.layers", [4, 8], ["4", "8"]),
        ("stages.sft.on", ["demonstrations", "practice"], ["demonstrations", "practice"]),
        ("task.hands.practice", [100, 200], ["100", "200"]),
    ],
)
def test_lists_nested_keys_and_the_keys_of_every_stage_can_be_swept(key, values, labels):
    sweep = read_sweep(config({"study": "one", "sweep": {key: values}} | NO_RL))
    assert [p.study for p in sweep.points] == [f"one/{key}={label}" for label in labels]
    assert [list(p.values.values()) for p in sweep.points] == [[value] for value in values]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "sweep: must name one or two settings"),
        ({"sweep": {}}, "sweep: must name one or two settings"),
        ({"sweep": ["stages.sft.learning_rate"]}, "sweep: must name one or two settings"),
        ({"sweep": {"seeds": [[0], [1]]}}, "'seeds' changes no accuracy (allowed: settings below"),
        ({"sweep": {"recovery.repairs": [[], []]}}, "'recovery.repairs' changes no accuracy"),
        ({"sweep": {"stages.sft.steps": [9]}}, "stages.sft.steps: must be a list of two"),
        ({"sweep": {"stages.sft.steps": 9}}, "stages.sft.steps: must be a list of two"),
        (
            {"sweep": {"stages.sft.learning_rte": [1e-3, 1e-4]}},
            "at stages.sft.learning_rte = 0.001: config: unknown key 'stages.sft.learning_rte'",
        ),
        (
            {"sweep": {"stages.sft.steps": [256, 100]}},
            "at stages.sft.steps = 100: config: stages.sft.keep: step 256 is not between 1 and 100",
        ),
        (
            {"sweep": {"stages.dpo.steps": [1, 2]}},
            "at stages.dpo.steps = 1: config: key 'stages.dpo.method' is missing",
        ),
        ({"sweep": {"stages.sft.learning_rate.x": [1, 2]}}, "stages.sft.learning_rate' must be"),
        ({"sweep": {"stages.sft.learning_rate": [1e-3, 0.001]}}, "stands for two points"),
        ({"study": "default", "sweep": {"task.target": [24, 30]}}, "a name of its own"),
        (
            {"sweep": {"stages.sft.steps": [True, 256]}},
            "at stages.sft.steps = true: config: key 'stages.sft.steps' must be a whole number",
        ),
        (
            {"sweep": {"stages.sft.learning_rate": [1e-3, float("inf")]}},
            "at stages.sft.learning_rate = .inf: config: key 'stages.sft.learning_rate' must be a ",
        ),
        (
            {"sweep": {"task.rules": [{**RULES, "x" * 200: [1, 2, 3]}, RULES]}},
            "would be in the name of a file, and has",
        ),
        ({"sweep": {"stages.sft.steps": [256, 300]}, "study": ".."}, "key 'study' cannot be '..'"),
        ({"study": "a/b", "sweep": {"task.target": [24, 30]}}, "without a slash"),
    ],
)
def test_a_mistake_is_named_in_one_line_with_its_point(changes, message):
    with pytest.raises(UserError) as caught:
        read_sweep(config({"study": "mine"} | changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/sweeps").glob("*.yaml")), ids=str)
def test_every_sweep_is_valid_and_has_its_own_name(path):
    assert read_sweep(read_config(path, ROOT / "config.yaml")).name == path.stem
