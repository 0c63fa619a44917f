"""A corpus of wrong settings as they are written in a file, each with the line that refuses it."""

import pytest

from svdrift.errors import UserError
from svdrift.study.overlays import read_config, require_name
from svdrift.study.settings import read_settings
from tests.study.studies import DEFAULT

REFUSED = [  # a study's file -> the line, from the key on, without the list of what is allowed
    ("seeds: [4294967296]", "key 'seeds.0' must be at most 4294967295, not 4294967296"),
    (
        "seeds: [18446744073709551616]",
        "key 'seeds.0' must be at most 4294967295, not 18446744073709551616",
    ),
    ("seeds: [-1]", "key 'seeds.0' must be at least 0, not -1"),
    ("seeds: [true]", "key 'seeds.0' must be a whole number, not true"),
    ("seeds: ['1']", "key 'seeds.0' must be a whole number, not '1'"),
    ("seeds: [1.0]", "key 'seeds.0' must be a whole number, not 1.0"),
    ("seeds: [0, 0]", "seeds: holds one value twice: 0, 0"),
    ("seeds: 3", "key 'seeds' must be a list, not 3"),
    ("seeds: []", "key 'seeds' must be a list of at least 1, not []"),
    ("seeds: null", "key 'seeds' must be a list, not null"),
    ("study: x/..", "key 'study' cannot be 'x/..'"),
    ("study: x/.", "key 'study' cannot be 'x/.'"),
    ("study: x/...", "key 'study' cannot be 'x/...'"),
    ("study: ..", "key 'study' cannot be '..'"),
    ("study: /tmp/x", "key 'study' cannot be '/tmp/x'"),
    ("study: smoke/seed-0", "key 'study' cannot be 'smoke/seed-0'"),
    ("study: smoke/tables", "key 'study' cannot be 'smoke/tables'"),
    ("study: smoke/logs", "key 'study' cannot be 'smoke/logs'"),
    ("study: smoke/models", "key 'study' cannot be 'smoke/models'"),
    ("study: compare", "key 'study' cannot be 'compare'"),
    ("study: My Study", "key 'study' cannot be 'My Study'"),
    ("study: 7", "key 'study' must be text (in quotes), not 7"),
    ("study: 2024-01-01", "key 'study' must be text (in quotes), not 2024-01-01"),
    ("study: no", "key 'study' must be text (in quotes), not false"),
    ('study: "a\\0"', "key 'study' must be text that a file can hold, not 'a\\x00'"),
    (
        "stages: {base: {steps: 99999999999999999999999}}",
        "key 'stages.base.steps' must be at most 10000000, not 99999999999999999999999",
    ),
    (
        "stages: {base: {architecture: {hidden_size: 1000000}}}",
        "stages.base.architecture.hidden_size: 1000000 with layers 4 and intermediate_size "
        "256 makes 2e+13 parameters, whose training takes 256,049 GB",
    ),
    (
        "stages: {base: {architecture: {layers: 0}}}",
        "key 'stages.base.architecture.layers' must be above 0, not 0",
    ),
    (
        "stages: {base: {architecture: {hidden_size: 100, heads: 4}}}",
        "stages.base.architecture.heads: 4 of hidden_size 100 are of width 25, which rotary "
        "positions need to be even",
    ),
    (
        "stages: {base: {learning_rate: 1.0e+30}}",
        "key 'stages.base.learning_rate' must be at most 1, not 1e+30",
    ),
    (
        "stages: {sft: {learning_rate: .inf}}",
        "key 'stages.sft.learning_rate' must be a finite number, not .inf",
    ),
    (
        "stages: {sft: {learning_rate: .nan}}",
        "key 'stages.sft.learning_rate' must be a finite number, not .nan",
    ),
    ("stages: {sft: {learning_rate: 0}}", "key 'stages.sft.learning_rate' must be above 0, not 0"),
    (
        "stages: {sft: {learning_rate: '0.001'}}",
        "key 'stages.sft.learning_rate' must be a number, not '0.001'",
    ),
    (
        "stages: {sft: {learning_rate: fast}}",
        "key 'stages.sft.learning_rate' must be a number, not 'fast'",
    ),
    ("stages: {sft: {steps: true}}", "key 'stages.sft.steps' must be a whole number, not true"),
    ('stages: {sft: {steps: "16"}}', "key 'stages.sft.steps' must be a whole number, not '16'"),
    ("stages: {sft: {steps: 256.0}}", "key 'stages.sft.steps' must be a whole number, not 256.0"),
    ("stages: {sft: {steps: 1e3}}", "key 'stages.sft.steps' must be a whole number, not '1e3'"),
    ("stages: {sft: {keep: [4, '8']}}", "key 'stages.sft.keep.1' must be a whole number, not '8'"),
    ("stages: {sft: {keep: 4}}", "stages.sft.keep: must be a list of steps, or {every: N}, not 4"),
    ("stages: {sft: {keep: [8, 4]}}", "stages.sft.keep: must be a rising list of steps: [8, 4]"),
    (
        "stages: {sft: {freeze_embeddings: 1}}",
        "key 'stages.sft.freeze_embeddings' must be true or false, not 1",
    ),
    (
        "stages: {sft: {freeze_embeddings: 'yes'}}",
        "key 'stages.sft.freeze_embeddings' must be true or false, not 'yes'",
    ),
    (
        "stages: {sft: {schedule: linear}}",
        "key 'stages.sft.schedule' must be 'constant' or 'cosine', not 'linear'",
    ),
    ("stages: {sft: {from: 3}}", "key 'stages.sft.from' must be text (in quotes) or a list, not 3"),
    (
        "stages: {sft: {from: bse}}",
        "stages.sft.from: there is no stage 'bse', did you mean 'base'?",
    ),
    (
        "stages: {sft: {on: practise}}",
        "stages.sft.on: 'practise' is neither a split of the task nor named data, did you "
        "mean 'practice'?",
    ),
    (
        "stages: {sft: {lerning_rate: 0.001}}",
        "unknown key 'stages.sft.lerning_rate', did you mean 'learning_rate'?",
    ),
    ("stages: {sft: 3}", "key 'stages.sft' must be a mapping, not 3"),
    ("stages: {ppo: {keep: {every: 0}}}", "key 'stages.ppo.keep.every' must be above 0, not 0"),
    (
        "stages: {ppo: {updates: 9000000, keep: {every: 1}}}",
        "stages.ppo.keep.every: 1 would keep 9,000,000 checkpoints of 9,000,000 steps",
    ),
    ("stages: {ppo: {clip: .inf}}", "key 'stages.ppo.clip' must be a finite number, not .inf"),
    (
        "stages: {ppo: {kl_coefficient: -0.1}}",
        "key 'stages.ppo.kl_coefficient' must be at least 0, not -0.1",
    ),
    ("stages: {ppo: {temperature: 0}}", "key 'stages.ppo.temperature' must be above 0, not 0"),
    (
        "stages: {ppo: {reward_scale: .inf}}",
        "key 'stages.ppo.reward_scale' must be a finite number, not .inf",
    ),
    ("stages: {ppo: {method: pppo}}", "stages.ppo.method: 'pppo' is unknown, did you mean 'ppo'?"),
    ("stages: {1: {method: sft}}", "key 'stages.1' must be text (in quotes)"),
    ("stages: []", "key 'stages' must be a mapping, not []"),
    (
        "stages: {wide: {on: {mix: {practice: .nan, demonstrations: 0.5}}}}",
        "key 'stages.wide.on.mix.practice' must be a finite number, not .nan",
    ),
    (
        "stages: {wide: {on: {replies_of: sft@64, on: practice, samples: 0}}}",
        "key 'stages.wide.on.samples' must be above 0, not 0",
    ),
    (
        "stages: {wide: {on: {on: practice, target: 24.0}}}",
        "stages.wide.on: target: 24.0 is not a whole number from 1 to 60",
    ),
    (
        "task: {hands: {demonstrated_multisets: -5}}",
        "key 'task.hands.demonstrated_multisets' must be above 0 or 'all', not -5",
    ),
    (
        "task: {hands: {demonstrated_multisets: 0}}",
        "key 'task.hands.demonstrated_multisets' must be above 0 or 'all', not 0",
    ),
    (
        "task: {hands: {demonstrated_multisets: most}}",
        "key 'task.hands.demonstrated_multisets' must be a whole number or 'all', not 'most'",
    ),
    (
        "task: {hands: {demonstrated_multisets: 100000, demonstrations: 100000}}",
        "task.hands.demonstrated_multisets: 100000 multisets wanted, but only 328 remain "
        "with seed 0",
    ),
    (
        "task: {hands: {test_multisets: 100000}}",
        "task.hands.test_multisets: 100000 multisets wanted, but only 566 remain with seed 0",
    ),
    (
        "task: {hands: {selection_multisets: 700}}",
        "task.hands.selection_multisets: 700 multisets wanted, but only 466 remain with seed 0",
    ),
    (
        "task: {hands: {ood_share: 1.0e-9}}",
        "task.hands.selection: 500 hands wanted for ood_selection, but only 0 exist",
    ),
    (
        "task: {hands: {pretraining_holdout: 0.999}}",
        "task.hands.demonstrated_multisets: 150 multisets wanted, but only 0 remain with seed 0",
    ),
    (
        "task: {hands: {test: 1000000000}}",
        "task.hands.test: 1000000000 hands wanted for id_test, but only 3634 exist",
    ),
    (
        "task: {hands: {files: {id_test: missing.csv}}}",
        "task.hands.files.id_test: missing.csv: cannot be read as a CSV file: No such file "
        "or directory",
    ),
    (
        "task: {hands: {files: {idtest: x.csv}}}",
        "task.hands.files: 'idtest' is not a test split (id_test, ood_test)",
    ),
    ("task: {rules: {tens: [10, 10]}}", "key 'task.rules.tens' must be a list of 3, not [10, 10]"),
    (
        "task: {rules: {tens: [10, 10, 10, 10]}}",
        "key 'task.rules.tens' must be a list of at most 3, not [10, 10, 10, 10]",
    ),
    (
        "task: {rules: {tens: [10, 10, ten]}}",
        "key 'task.rules.tens.2' must be a whole number, not 'ten'",
    ),
    (
        "task: {rules: {tens: [0, 10, 10]}}",
        "task.rules.tens: values of J, Q, K must lie in 1..60: (0, 10, 10)",
    ),
    ("task: {id_rule: tenz}", "task.id_rule: 'tenz' is not a rule, did you mean 'tens'?"),
    ("task: {name: 24}", "task.name: must be text, not 24"),
    (
        "task: {name: general_point}",
        "task.name: 'general_point' is unknown, did you mean 'general_points'?",
    ),
    ("task: {target: 61}", "key 'task.target' must be at most 60, not 61"),
    (
        "task: {partial_reward: -.inf}",
        "key 'task.partial_reward' must be a finite number, not -.inf",
    ),
    (
        "story: {controls: [continud]}",
        "story.controls: there is no stage 'continud', did you mean 'continued'?",
    ),
    ("story: {rl: pppo}", "story.rl: there is no stage 'pppo', did you mean 'ppo'?"),
    ("story: {path: null}", "key 'story.path' must be text, not null"),
    ("comparisons: all", "key 'comparisons' must be a list, not 'all'"),
    ("comparisons: [[sft@64]]", "key 'comparisons.0' must be a list of 2, not ['sft@64']"),
    (
        "evaluation: {temperature: .inf}",
        "key 'evaluation.temperature' must be a finite number, not .inf",
    ),
    ("evaluation: {tries: 6}", "key 'evaluation.tries' must be at most 5, not 6"),
    (
        "evaluation: {multi_try_splits: [id_tests]}",
        "evaluation.multi_try_splits: 'id_tests' is not evaluated, did you mean 'id_test'?",
    ),
    ("generation: {gpu_memory: 1}", "key 'generation.gpu_memory' must be below 1, not 1"),
    ("model: {dtype: float16}", "key 'model.dtype' must be 'float32' or 'bfloat16', not 'float16'"),
    ("spectra: {shares: []}", "key 'spectra.shares' must be a list of at least 1, not []"),
    ("spectra: {shares: [.nan]}", "key 'spectra.shares.0' must be a finite number, not .nan"),
    (
        "spectra: {nulls: [isotropic, isotrop]}",
        "key 'spectra.nulls.1' must be 'isotropic', 'inputs_kept', 'signs_randomised', "
        "'spectrum_kept' or 'norms_kept', not 'isotrop'",
    ),
    (
        "spectra: {patterns: {q: 'x{99999999999}'}}",
        "spectra.patterns.q: 'x{99999999999}': the repetition number is too large",
    ),
    ("spectra: {draws: 1}", "key 'spectra.draws' must be at least 2, not 1"),
    ("recovery: {repairs: all}", "key 'recovery.repairs' must be 'standard' or a list, not 'all'"),
    ("recovery: {repairs: [{target: last}]}", "key 'recovery.repairs.0.anchor' is missing"),
    (
        "recovery: {interventions: [{kind: directions, top: true}]}",
        "recovery.interventions: key 'top' must be a number, not true",
    ),
    (
        "recovery: {interventions: [{kind: random_directions, top: 1, seed: 4294967296}]}",
        "recovery.interventions: key 'seed' must be at most 4294967295, not 4294967296",
    ),
    (
        "recovery: {interventions: [{kind: interpolate, weight: .nan}]}",
        "recovery.interventions: key 'weight' must be a finite number, not .nan",
    ),
    (
        "recovery: {interventions: [{kind: directons, top: 1}]}",
        "recovery.interventions: kind: 'directons' is unknown, did you mean 'directions'?",
    ),
    (
        "compute: {resources: {train_sfft: {mem_mb: 1}}}",
        "compute.resources: 'train_sfft' is no rule whose jobs grow with the model, did you "
        "mean 'train_sft'?",
    ),
    (
        "compute: {resources: {train_sft: {mem_mb: 0}}}",
        "key 'compute.resources.train_sft.mem_mb' must be above 0, not 0",
    ),
    ("compute: {threads: 0}", "key 'compute.threads' must be above 0, not 0"),
    ("compute: {gpus: -1}", "key 'compute.gpus' must be at least 0, not -1"),
    ("computer: {gpus: 1}", "unknown key 'computer', did you mean 'compute'?"),
]


def read(tmp_path, text):
    """All that is asked of a study before any job."""
    file = tmp_path / "mine.yaml"
    file.write_text(text if text.startswith("study:") else f"study: mine\n{text}")
    config = read_config(file, DEFAULT)
    require_name(config, [file], DEFAULT)
    settings = read_settings(config)
    settings.task.check_problems()
    settings.check_files()
    settings.task.check_supply(settings.seeds)


def refusal(tmp_path, text):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    return str(caught.value)


@pytest.mark.parametrize(("text", "line"), REFUSED)
def test_it_is_refused_in_the_users_words(tmp_path, text, line):
    said = refusal(tmp_path, text).removeprefix("config: ")
    assert said.partition(" (allowed")[0].partition(" (stages")[0] == line
    assert "\n" not in said
    assert len(said) < 500


TAKEN = [  # odd, but meant
    "stages: {sft: {learning_rate: 1e-3}}",  # text to YAML 1.1
    "stages: {sft: {learning_rate: 1E-3}}",
    "stages: {ppo: {kl_coefficient: 0}}",
    "stages: {ppo: {max_grad_norm: 1000000}}",
    "seeds: [0, 4294967295]",
    "seeds: [1_000]",
    "stages: {sft: {on: practice}}",  # `on` is true to YAML 1.1
    "study: '2024-01-01'",
    "study: a..b",
    "study: 1e3",
    "task: {hands: {demonstrated_multisets: all}}",
    "recovery: {interventions: [{kind: interpolate, weight: [0, 1, 5e-1]}]}",
]


@pytest.mark.parametrize("text", TAKEN)
def test_it_is_taken(tmp_path, text):
    read(tmp_path, text)


def test_a_name_too_long_for_a_file_is_refused(tmp_path):
    assert "has 300 characters" in refusal(tmp_path, f"study: {'x' * 300}")
    stage = "{method: sft, from: base, on: practice}"
    assert "has 213 characters" in refusal(tmp_path, f"stages: {{{'x' * 209}: {stage}}}")


def test_many_mistakes_are_counted(tmp_path):
    keys = ", ".join(f"key{n}: 1" for n in range(200))
    said = refusal(tmp_path, f"task: {{hands: {{{keys}}}}}")
    assert said.count("unknown key") == 5
    assert said.endswith("; … and 195 more")


def test_many_bad_hands_are_counted(tmp_path):
    """Of 20,000 rows the first few are named."""
    (tmp_path / "own.csv").write_text("cards\n" + "x\n" * 20_000)
    said = refusal(tmp_path, f"task: {{hands: {{files: {{id_test: {tmp_path}/own.csv}}}}}}")
    assert "line 2, 'x': unknown rank 'X'" in said
    assert said.endswith("; … and 19,995 more")
    assert len(said) < 1000
