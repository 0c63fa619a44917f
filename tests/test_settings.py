import json
from pathlib import Path

import pytest
import yaml

from svdrift.errors import UserError
from svdrift.settings.reference import reference_page
from svdrift.settings.study import Settings, read_settings
from svdrift.settings.training import PAPER_PPO, PPOSettings

ROOT = Path(__file__).parents[1]


def test_defaults_are_a_study():
    assert read_settings({}) == Settings()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sfft": {}}, "unknown key 'sfft', did you mean 'sft'?"),
        ({"sft": {"learning_rat": 1e-3}}, "unknown key 'sft.learning_rat', did you mean"),
        (
            {"task": {"id_rule": "tenz"}},
            "task.id_rule: 'tenz' is not a rule (allowed: tens, faces)",
        ),
        ({"task": {"ood_rule": "tens"}}, "ood_rule: must give the face cards other values"),
        ({"task": {"rules": {"a": [1, 2]}}}, "task.rules.a"),
        ({"sft": {"checkpoints": [8, 99], "steps": 64}}, "sft.checkpoints: step 99 is not between"),
        ({"sft": {"checkpoints": [8, 8]}}, "sft.checkpoints: must be a rising list"),
        ({"sft": {"batch_size": 10, "micro_batch_size": 4}}, "4 does not divide batch_size 10"),
        ({"rl": {"starts": [7]}}, "rl.starts: step 7 is not an SFT checkpoint"),
        (
            {"rl": {"starts": [8], "controls": {"wide": [16]}}},
            "rl.controls.wide: step 16 is not among rl.starts (allowed: 8)",
        ),
        ({"seeds": [1, 1]}, "seeds: holds one value twice"),
        ({"spectra": {"patterns": {}}}, "spectra.patterns: none"),
        ({"spectra": {"patterns": {"q": "("}}}, "spectra.patterns.q: '(': missing )"),
        ({"spectra": {"patterns": {"a/b": "x"}}}, "'a/b' is no name of a module"),
        (
            {"recovery": {"interventions": [{"kind": "values", "top": []}]}},
            "recovery.interventions: top: an empty list leaves nothing to do",
        ),
        ({"seeds": [-1]}, "seeds"),
        ({"rl": {"controls": {"wide": [8, 8]}}}, "rl.controls.wide: holds one value twice"),
        ({"rl": {"moderate_start": 7}}, "rl.moderate_start: step 7 is not among rl.starts"),
        ({"model": {"source": "x"}}, "pretraining_holdout: must be 0"),
        ({"spectra": {"shares": [0.5, 0]}}, "spectra.shares: of the rank, above 0"),
        (
            {"spectra": {"pairs": [["base", "sft-7"]]}},
            "spectra.pairs: 'sft-7' is no checkpoint of this study (allowed: anchor, last, base,",
        ),
        (
            {"spectra": {"pairs": [["base", "last"], ["base", "last"]]}},
            "spectra.pairs: holds two of one name: base-to-last",
        ),
        (
            {"recovery": {"interventions": [{"kind": "directions", "top": 2}]}},
            "recovery.interventions: top, bottom: shares of the rank from 0 to 1",
        ),
        (
            {"recovery": {"side_interventions": [{"kind": "rotate"}]}},
            "recovery.side_interventions: key 'kind' should be 'directions'",
        ),
        (
            {"recovery": {"repairs": [{"target": "grpo-from-8", "anchor": "anchor"}]}},
            "recovery.repairs: 'grpo-from-8' is no checkpoint of this study",
        ),
        (
            {"recovery": {"interventions": [{"kind": "reset", "modules": ["q", "head"]}]}},
            "reset-q_head of last-with-anchor: 'head' is no module of the layers (allowed: q, k,",
        ),
        (
            {"model": {"architecture": {"layers": 2}}},
            "layers: the block (0.25, 0.5) holds none of 2 layers",
        ),
        ({"task": {"prompt_style": "paper"}}, "task.max_reply_tokens: 18 cuts off every reply"),
        ({"compute": {"processes": 3}}, "3 does not divide sft.batch_size 64"),
        ({"evaluation": {"multi_try_splits": ["ood"]}}, "evaluation.multi_try_splits"),
        ({"seeds": []}, "seeds"),
        ({"study": "My Study"}, "study"),
        ({"compute": {"gpus": 1, "processes": 2}}, "2 processes with 1 GPUs"),
        (
            {"compute": {"resources": {"train_sfd": {"mem_mb": 1}}}},
            "compute.resources.train_sfd.[key]' should be 'pretrain', 'import_model', 'train_sft'",
        ),
        (
            {"compute": {"resources": {"train_sft": {"mem": 1}}}},
            "unknown key 'compute.resources.train_sft.mem', did you mean 'mem_mb'?",
        ),
        (
            {
                "compute": {"gpus": 2, "processes": 2, "sharding": "zero3"},
                "rl": {"starts": []},
            },
            "model.dtype: 'float32' is not what compute.sharding 'zero3' saves",
        ),
        ({"model": {"architecture": {"heads": 5}}}, "5 does not divide hidden_size"),
        ({"task": {"hands": {"files": {"practice": "x.csv"}}}}, "'practice' is not a test split"),
    ],
)
def test_a_wrong_key_is_refused_in_one_line(config, message):
    with pytest.raises(UserError) as caught:
        read_settings(config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_field_is_documented():
    page = reference_page()
    assert "None |" not in page
    assert "| `learning_rate` |" in page


def test_generated_documents_are_up_to_date():
    """`make docs` writes them."""
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert schema == Settings.model_json_schema()
    assert (ROOT / "docs/configuration.md").read_text() == reference_page()


STUDIES = [
    path for path in sorted((ROOT / "experiments").rglob("*.yaml")) if "sweeps" not in path.parts
]


@pytest.mark.parametrize("overlay", STUDIES, ids=str)
def test_every_experiment_is_valid_and_has_its_own_name(overlay):
    config = yaml.safe_load(overlay.read_text())
    assert read_settings(config).study == overlay.stem


def test_paper_preset_gives_the_published_values_unless_a_key_is_given():
    paper = PPOSettings.model_validate({"preset": "paper", "updates": 7})
    assert paper.updates == 7
    assert all(getattr(paper, key) == PAPER_PPO[key] for key in PAPER_PPO if key != "updates")


def test_standard_pairs_and_repairs():
    config = {
        "sft": {"checkpoints": [4, 16], "steps": 16},
        "rl": {"starts": [4, 16], "moderate_start": 4},
    }
    study = read_settings(config)
    assert study.pairs == {
        "base-to-sft-4": ("base", "sft-4"),
        "base-to-sft-16": ("base", "sft-16"),
        "anchor-to-last": ("anchor", "sft-16"),
        "sft-4-to-ppo-from-4": ("sft-4", "ppo-from-4"),
        "sft-16-to-ppo-from-16": ("sft-16", "ppo-from-16"),
    }
    repairs = {name: repair[:2] for name, repair in study.repairs.items()}
    assert repairs == {
        "last-with-anchor": ("sft-16", "anchor"),
        "ppo-from-4-with-sft-4": ("ppo-from-4", "sft-4"),
        "sft-4-with-anchor": ("sft-4", "anchor"),
    }
    # Of an even number of starts the moderate one is the lower of the middle.
    two = read_settings(config | {"rl": {"starts": [4, 16], "moderate_start": None}})
    assert two.named_starts == {"moderate": 4, "long": 16}
    # A moderate start that is the last checkpoint is repaired once; without RL only SFT is.
    late = read_settings(config | {"rl": {"starts": [4, 16], "moderate_start": 16}})
    assert list(late.repairs) == ["last-with-anchor", "ppo-from-16-with-sft-16"]
    without = read_settings(config | {"rl": {"starts": []}})
    assert list(without.repairs) == ["last-with-anchor"]
    assert list(without.pairs) == ["base-to-sft-4", "base-to-sft-16", "anchor-to-last"]


def test_an_empty_grid_switches_repairs_off():
    side = read_settings({"recovery": {"side_interventions": []}})
    assert list(side.repairs) == ["last-with-anchor"]
    assert (
        read_settings({"recovery": {"interventions": [], "side_interventions": []}}).repairs == {}
    )


def test_repairs_of_ones_own():
    grid = [{"kind": "values", "top": [0.5, 1]}]
    repair = {"target": "sft-16", "anchor": "base"}
    other = {"target": "last", "anchor": "base", "interventions": grid}
    study = read_settings({"recovery": {"repairs": [repair, other]}})
    own, main = study.repairs["last-with-base"], study.repairs["sft-16-with-base"]
    assert own[:2] == ("sft-256", "base")
    assert [one.id for one in own.interventions] == ["values-top0.5", "values-top1"]
    assert len(main.interventions) > 10
    none = read_settings({"recovery": {"repairs": []}, "spectra": {"pairs": []}})
    assert none.repairs == none.pairs == {}


def test_without_checkpoints_on_the_way_there_is_no_trajectory():
    ppo = {"updates": 4, "checkpoint_every": 2}
    some = read_settings({"rl": {"trajectories": [4], "ppo": ppo}})
    assert some.trajectories == (4,)
    none = read_settings({"rl": {"trajectories": [4], "ppo": ppo | {"checkpoint_every": 4}}})
    assert none.trajectories == ()
