import copy
from pathlib import Path

import pytest
import yaml

from svdrift.errors import UserError
from svdrift.settings.study import read_settings
from svdrift.sweeps import read_sweep

ROOT = Path(__file__).parents[1]
TWO = {
    "study": "two",
    "seeds": [3],
    "sweep": {"rl.ppo.granularity": ["turn", "token"], "sft.learning_rate": ["1e-4", 2.0e-3]},
}


def test_every_combination_is_a_valid_study_with_its_values():
    before = copy.deepcopy(TWO)
    sweep = read_sweep(TWO)
    assert before == TWO  # the caller's configuration is left alone
    assert sweep.name == "two"
    assert [point.study for point in sweep.points] == [
        "two/rl.ppo.granularity=turn,sft.learning_rate=0.0001",
        "two/rl.ppo.granularity=turn,sft.learning_rate=0.002",
        "two/rl.ppo.granularity=token,sft.learning_rate=0.0001",
        "two/rl.ppo.granularity=token,sft.learning_rate=0.002",
    ]
    for point in sweep.points:
        settings = read_settings(point.config)
        assert settings.study == point.study
        assert settings.seeds == (3,)
        assert settings.rl.ppo.granularity == point.values["rl.ppo.granularity"]
        assert settings.sft.learning_rate == point.values["sft.learning_rate"]
    assert sweep.points[0].values["sft.learning_rate"] == 1e-4  # not YAML's text "1e-4"


def test_a_list_can_be_swept():
    steps = {"sft.checkpoints": [[4], [4, 8]]}
    sweep = read_sweep(
        {"study": "lists", "sft": {"steps": 8}, "rl": {"starts": []}, "sweep": steps}
    )
    assert [p.study for p in sweep.points] == [
        "lists/sft.checkpoints=4",
        "lists/sft.checkpoints=4-8",
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "sweep: must name one or two settings"),
        ({"sweep": {}}, "sweep: must name one or two settings"),
        ({"sweep": ["sft.learning_rate"]}, "sweep: must name one or two settings"),
        ({"sweep": {"seeds": [[0], [1]]}}, "'seeds' changes no accuracy (allowed: settings below"),
        ({"sweep": {"recovery.repairs": [[], []]}}, "'recovery.repairs' changes no accuracy"),
        ({"sweep": {"sft.learning_rate": [1e-3]}}, "sft.learning_rate: must be a list of two"),
        ({"sweep": {"sft.learning_rate": 1e-3}}, "sft.learning_rate: must be a list of two"),
        (
            {"sweep": {"sft.learning_rte": [1e-3, 1e-4]}},
            "sweep: at sft.learning_rte = 0.001: config: unknown key 'sft.learning_rte', did you",
        ),
        (
            {"sweep": {"sft.steps": [256, 100]}},
            "at sft.steps = 100: config: sft.checkpoints: step 256 is not between 1 and steps",
        ),
        ({"sweep": {"sft.learning_rate.x": [1, 2]}}, "key 'sft.learning_rate' should be a valid"),
        ({"sweep": {"sft.learning_rate": [1e-3, 0.001]}}, "stands for two points"),
        ({"study": "default", "sweep": {"sft.steps": [256, 300]}}, "a name of its own"),
        ({"study": "a/b", "sweep": {"sft.steps": [256, 300]}}, "without a slash"),
    ],
)
def test_a_mistake_is_named_in_one_line_with_its_point(config, message):
    with pytest.raises(UserError) as caught:
        read_sweep({"study": "mine"} | config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/sweeps").glob("*.yaml")), ids=str)
def test_every_sweep_is_valid_and_has_its_own_name(path):
    assert read_sweep(yaml.safe_load(path.read_text())).name == path.stem
