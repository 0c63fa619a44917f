"""A whole study: what its settings decide together, and mistakes refused in one line."""

import pytest

from svdrift.errors import UserError
from svdrift.study.overlays import read_config
from svdrift.study.settings import read_settings
from svdrift.training.ppo.settings import PAPER_PPO
from svdrift.training.ppo.settings import Settings as PPOSettings
from tests.study.studies import DEFAULT, ROOT, study

NO_RL = {
    "stages": {"ppo": None, "continued": None, "wide": None},
    "story": {"rl": None, "controls": [], "moderate": None},
}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sfft": {}}, "unknown key 'sfft'"),
        ({"stories": {}}, "unknown key 'stories', did you mean"),
        (
            {"stages": {"sft": {"learning_rat": 1e-3}}},
            "unknown key 'stages.sft.learning_rat', did you mean 'learning_rate'?",
        ),
        ({"stages": {"ppo": None}}, "stages.continued.matches: there is no stage 'ppo'"),
        (
            {"stages": {"ppo": None, "continued": None, "wide": None}},
            "story.rl: there is no stage 'ppo'",
        ),
        ({"task": {"id_rul": "tens"}}, "unknown key 'task.id_rul', did you mean 'id_rule'?"),
        ({"task": {"target": "x"}}, "key 'task.target' must be a whole number"),
        (
            {"task": {"id_rule": "tenz"}},
            "task.id_rule: 'tenz' is not a rule, did you mean 'tens'? (allowed: tens, faces)",
        ),
        (
            {"task": {"ood_rules": ["tens"]}},
            "task.ood_rules: must give the face cards other values",
        ),
        ({"task": {"rules": {"a": [1, 2]}}}, "task.rules.a"),
        ({"task": {"name": "chess"}}, "task.name: 'chess' is unknown (allowed: "),
        ({"task": {"prompt_style": "paper"}}, "task.max_reply_tokens: 18 cuts off every reply"),
        ({"task": {"hands": {"files": {"practice": "x.csv"}}}}, "'practice' is not a test split"),
        (
            {"stages": {"sft": {"batch_size": 10, "micro_batch_size": 4}}},
            "stages.sft.micro_batch_size: 4 does not divide batch_size 10",
        ),
        (
            {"stages": {"base": {"architecture": {"heads": 5}}}},
            "stages.base.architecture.heads: 5 does not divide hidden_size",
        ),
        ({"seeds": [1, 1]}, "seeds: holds one value twice"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"study": "My Study"}, "study"),
        (
            {"stages": {"base": {"method": "import_model", "source": "x"}}},
            "task: holds out 0.2 of its problems from pretraining",
        ),
        ({"spectra": {"patterns": {"q": "("}}}, "spectra.patterns.q: '(': missing )"),
        ({"spectra": {"patterns": {"a/b": "x"}}}, "'a/b' is no name of a module"),
        ({"spectra": {"shares": [0.5, 0]}}, "spectra.shares: of the rank, above 0"),
        (
            {"spectra": {"pairs": [["base", "sft-4"]]}},
            "spectra.pairs: 'sft-4' is not a reference to a checkpoint (allowed: base, sft@64,",
        ),
        ({"spectra": {"pairs": [["base", "sft@7"]]}}, "spectra.pairs: sft@7: step 7 is not kept"),
        (
            {"spectra": {"pairs": [["base", "last"], ["base", "last"]]}},
            "spectra.pairs: holds two of one name: base-to-last",
        ),
        ({"comparisons": [["ppo@end", "base"]]}, "comparisons: ppo@end: ppo has several starts"),
        (
            {"recovery": {"extra_interventions": [{"kind": "interpolate", "weight": [0.1, 0.5]}]}},
            "recovery.extra_interventions: interpolate-weight0.5 is among the interventions "
            "already (allowed: others than these)",
        ),
        (
            {"recovery": {"extra_interventions": [{"kind": "values", "top": [0.5, 0.5]}]}},
            "recovery.extra_interventions: holds values-top0.5 twice",
        ),
        (
            {"recovery": {"interventions": [{"kind": "values", "top": []}]}},
            "recovery.interventions: top: an empty list leaves nothing to do",
        ),
        (
            {"recovery": {"repairs": [{"target": "grpo@end", "anchor": "anchor"}]}},
            "recovery.repairs: there is no stage 'grpo'",
        ),
        (
            {"recovery": {"interventions": [{"kind": "reset", "modules": ["q", "head"]}]}},
            "reset-q_head of last-with-anchor: 'head' is no module of the layers (allowed: q, k,",
        ),
        (
            {"stages": {"base": {"architecture": {"layers": 2}}}},
            "layers: 25-50% holds none of 2 layers",
        ),
        ({"compute": {"processes": 3}}, "compute.processes: stages.sft."),
        ({"compute": {"gpus": 1, "processes": 2}}, "2 processes with 1 GPUs"),
        (
            {"compute": {"resources": {"train_sfd": {"mem_mb": 1}}}},
            "compute.resources: 'train_sfd' is no rule whose jobs grow with the model, did you "
            "mean 'train_sft'? (allowed: train_base, train_sft,",
        ),
        (
            {"compute": {"resources": {"train_sft": {"mem": 1}}}},
            "unknown key 'compute.resources.train_sft.mem', did you mean 'mem_mb'?",
        ),
        (
            {"compute": {"gpus": 2, "processes": 2, "sharding": "zero3"}} | NO_RL,
            "model.dtype: 'float32' is not what compute.sharding 'zero3' saves",
        ),
        (
            {
                "compute": {"gpus": 2, "processes": 2, "sharding": "zero3"},
                "model": {"dtype": "bfloat16"},
            },
            "compute.sharding: 'zero3' cannot train stages.ppo by PPO (allowed: fsdp2, none)",
        ),
        (
            {"evaluation": {"multi_try_splits": ["practice"]}},
            "evaluation.multi_try_splits: 'practice' is not evaluated (allowed: demonstrated,",
        ),
        ({"generation": {"backend": "vllm"}}, "generation.backend: 'vllm' needs a GPU"),
        (
            {"stages": {"wide": {"on": {"on": "practice", "rule": "nines"}}}},
            "stages.wide.on: rule: 'nines' is not a rule (allowed: tens, faces)",
        ),
        (
            {"stages": {"wide": {"on": {"on": "practice", "suits": 4}}}},
            "stages.wide.on: 'suits' cannot vary (allowed: rule, target)",
        ),
        (
            {"stages": {"sft": {"loss": "pear"}}},
            "key 'stages.sft.loss' must be a mapping with a kind, not 'pear'",
        ),
        (
            {"stages": {"sft": {"loss": {"kind": "peer"}}}},
            "stages.sft.loss.kind: 'peer' is no loss, did you mean 'pear'? (allowed: nll, pear,",
        ),
        (
            {"stages": {"sft": {"loss": {"kind": "pear", "gama": 1}}}},
            "stages.sft.loss.gama: is no key of 'pear', did you mean 'gamma'? (allowed: kind,",
        ),
        (
            {"stages": {"sft": {"loss": {"kind": "pear", "level": "block"}}}},
            "stages.sft.loss.block: is null, and level is 'block' (allowed: a number of tokens",
        ),
        (
            {"stages": {"sft": {"loss": {"kind": "rpsft"}}}},
            "stages.sft.loss.rank: is null, and subspaces is 'leading' (allowed: null with",
        ),
        (
            {
                "stages": {
                    "sft": {
                        "loss": {"kind": "pear", "weights": "permuted"},
                        "micro_batch_size": 32,
                    }
                }
            },
            "micro_batch_size: 32 is a part of batch_size 64, and the loss looks at a whole step",
        ),
        (
            {
                "stages": {"sft": {"loss": {"kind": "rpsft", "rank": 4}}},
                "compute": {"processes": 2},
            },
            "compute.processes: stages.sft.loss: 'rpsft' as it is set looks at a whole step or at",
        ),
        (
            {"stages": {"sft": {"loss": {"kind": "rpsft", "rank": 4}, "lora": {}}}},
            "lora: adapters have no weights whose change 'rpsft' could penalise",
        ),
        (
            {
                "stages": {
                    "wide": {"matches": None, "loss": {"kind": "pear"}, "on": "mixed"},
                },
                "data": {
                    "own": {"replies_of": "sft@64", "on": "practice"},
                    "mixed": {"mix": {"own": 0.5, "practice": 0.5}},
                },
            },
            "stages.wide.on: its loss reads how likely the expert was to reply so, which own does",
        ),
        (
            {"data": {"any": {"on": "practice", "expert": "sampled"}}},
            "key 'data.any.expert' must be 'uniform', not 'sampled'",
        ),
        (
            {
                "task": {"name": "determinant"},
                "data": {"any": {"on": "practice", "expert": "uniform"}},
            },
            "data.any.expert: 'uniform' draws from all right replies, which task 'determinant' ",
        ),
        (
            {
                "data": {
                    "hard": {"on": "turned", "target": 12},
                    "turned": {"on": "practice", "rule": "faces"},
                }
            },
            "data.hard: 'turned' is not a split of the task, whose rules could vary",
        ),
    ],
)
def test_a_wrong_key_is_refused_in_one_line(config, message):
    with pytest.raises(UserError) as caught:
        study(config)
    assert message in str(caught.value)
    assert str(caught.value).startswith("config: ")
    assert "\n" not in str(caught.value)


STUDIES = [
    path for path in sorted((ROOT / "experiments").rglob("*.yaml")) if "sweeps" not in path.parts
]


@pytest.mark.parametrize("overlay", STUDIES, ids=str)
def test_every_experiment_is_valid_and_has_its_own_name(overlay):
    assert read_settings(read_config(overlay, DEFAULT)).study == overlay.stem


def test_paper_preset_gives_the_published_values_unless_a_key_is_given():
    paper = PPOSettings.model_validate({"preset": "paper", "updates": 7})
    assert paper.updates == 7
    assert all(getattr(paper, key) == PAPER_PPO[key] for key in PAPER_PPO if key != "updates")


SMALL = {
    "stages": {
        "sft": {"keep": [4, 16], "steps": 16},
        "ppo": {"from": ["sft@4", "sft@16"], "keep": []},
        "wide": {"from": "sft@4"},
    },
    "story": {"peak": None, "moderate": "sft@4"},
}


def test_a_named_peak_is_the_only_candidate_for_the_anchor():
    chosen, named = study(SMALL), study(SMALL | {"story": {"peak": "sft@4", "moderate": "sft@4"}})
    assert chosen.candidates("anchor", "sft-16") == ("base", "sft-4", "sft-16")
    assert named.candidates("anchor", "sft-16") == ("sft-4", "sft-16")


def test_standard_pairs_repairs_and_comparisons():
    small = study(SMALL)
    assert small.pairs == {
        "base-to-sft-4": ("base", "sft-4"),
        "base-to-sft-16": ("base", "sft-16"),
        "anchor-to-last": ("anchor", "sft-16"),
        "sft-4-to-sft-4.ppo-60": ("sft-4", "sft-4.ppo-60"),
        "sft-16-to-sft-16.ppo-60": ("sft-16", "sft-16.ppo-60"),
    }
    repairs = {name: repair[:2] for name, repair in small.repairs.items()}
    assert repairs == {
        "last-with-anchor": ("sft-16", "anchor"),
        "sft-4.ppo-60-with-sft-4": ("sft-4.ppo-60", "sft-4"),
        "sft-4-with-anchor": ("sft-4", "anchor"),
    }
    assert small.compared == (
        ("sft-4.ppo-60", "sft-4"),
        ("sft-4.ppo-60", "sft-4.continued-120"),
        ("sft-4.ppo-60", "sft-4.wide-120"),
        ("sft-16.ppo-60", "sft-16"),
        ("sft-16.ppo-60", "sft-16.continued-120"),
    )


def test_a_moderate_start_that_is_the_last_checkpoint_is_repaired_once():
    late = study(SMALL | {"story": {"peak": None, "moderate": "sft@16"}})
    assert list(late.repairs) == ["last-with-anchor", "sft-16.ppo-60-with-sft-16"]


def test_a_study_without_rl():
    without = study(NO_RL)
    assert list(without.repairs) == ["last-with-anchor"]
    assert without.compared == ()
    assert without.update_starts == ()
    assert [name for name in without.pairs if name.startswith("sft-")] == []


def test_an_empty_grid_switches_repairs_off():
    side = study({"recovery": {"side_interventions": []}})
    assert list(side.repairs) == ["last-with-anchor"]
    assert study({"recovery": {"interventions": [], "side_interventions": []}}).repairs == {}


def test_an_overlay_adds_interventions_to_those_that_are_there():
    before = study({}).repairs
    further = [{"kind": "triplets", "top": [0.3, 0.4]}]
    after = study({"recovery": {"extra_interventions": further}}).repairs
    old, new = (
        [one.id for one in found["last-with-anchor"].interventions] for found in (before, after)
    )
    assert new == [*old, "triplets-top0.3", "triplets-top0.4"]
    assert {name: repair for name, repair in after.items() if name != "last-with-anchor"} == {
        name: repair for name, repair in before.items() if name != "last-with-anchor"
    }
    own = {"target": "last", "anchor": "base", "interventions": [{"kind": "values", "top": 1}]}
    alone = study({"recovery": {"repairs": [own], "extra_interventions": further}}).repairs
    assert [one.id for one in alone["last-with-base"].interventions] == ["values-top1"]
    only = study({"recovery": {"interventions": [], "extra_interventions": further}}).repairs
    assert [one.id for one in only["last-with-anchor"].interventions] == new[-2:]


def test_repairs_pairs_and_comparisons_of_ones_own():
    grid = [{"kind": "values", "top": [0.5, 1]}]
    repair = {"target": "sft@16", "anchor": "base"}
    other = {"target": "last", "anchor": "base", "interventions": grid}
    own = study(
        {
            "recovery": {"repairs": [repair, other]},
            "comparisons": [["ppo@40 of sft@64", "wide@end"]],
            "spectra": {"pairs": [["sft@16", "ppo@end of sft@16"], ["anchor", "sft@end"]]},
        }
    )
    assert own.repairs["last-with-base"][:2] == ("sft-256", "base")
    assert [one.id for one in own.repairs["last-with-base"].interventions] == [
        "values-top0.5",
        "values-top1",
    ]
    assert len(own.repairs["sft-16-with-base"].interventions) > 10
    assert own.compared == (*study().compared, ("sft-64.ppo-40", "sft-64.wide-120"))
    assert own.pairs == {
        "sft-16-to-sft-16.ppo-60": ("sft-16", "sft-16.ppo-60"),
        "anchor-to-sft-256": ("anchor", "sft-256"),
    }
    none = study({"recovery": {"repairs": []}, "spectra": {"pairs": []}})
    assert none.repairs == none.pairs == {}


def test_data_that_a_checkpoint_makes():
    replies = {"replies_of": "ppo@end of sft@64", "on": "practice"}
    redistil = {"method": "sft", "from": "base", "on": replies, "keep": [64]}
    deeper = {"method": "ppo", "from": "redistil@64", "on": "practice"}
    found = study({"stages": {"redistil": redistil, "ppo2": deeper}})
    assert found.asked == {"redistil": "sft-64.ppo-60"}
    assert found.graph.stages["redistil"].data == "redistil"
    assert "redistil-64.ppo2-60" in found.checkpoints
    assert found.resolved_story == study().resolved_story.model_copy(
        update={"labels": found.resolved_story.labels}
    )


def test_playing_takes_the_rules_of_all_problems_that_are_mixed():
    data = {
        "both": {"mix": {"practice": 0.5, "turned": 0.5}},
        "turned": {"on": "practice", "rule": "faces"},
    }
    found = study({"data": data})
    assert set(found.play_settings("practice")["rules"]) == {"tens"}
    assert set(found.play_settings("turned")["rules"]) == {"faces"}
    assert set(found.play_settings("both")["rules"]) == {"tens", "faces"}
    # What a reply earns is for jobs that ask: SFT does not.
    assert found.play_settings("practice")["partial_reward"] == -1
    assert "partial_reward" not in found.play_settings("practice", rewards=False)


def test_yaml_may_read_the_key_on_as_true():
    found = study({"stages": {"wide": {True: "demonstrations"}}})
    assert found.graph.stages["wide"].data == "demonstrations"


def test_settings_survive_json():
    found = study()
    again = type(found).model_validate_json(found.model_dump_json())
    assert again == found
    assert again.checkpoints == found.checkpoints


def test_a_task_without_a_split_that_figures_need_is_refused(tmp_path):
    toy = (ROOT / "tests/tasks/toy_task.py").read_text()
    (tmp_path / "half.py").write_text(toy.replace('role="fit"', 'role="training"'))
    with pytest.raises(UserError) as caught:
        study(
            {
                "task": {"name": str(tmp_path / "half.py")},
                "stages": {
                    "sft": {"on": "lessons"},
                    "ppo": {"on": "exercises"},
                    "continued": {"on": "lessons"},
                    "wide": {"on": "exercises"},
                },
            }
        )
    assert "has no split of role 'fit' and shift 'id' (needed: fit id, " in str(caught.value)
