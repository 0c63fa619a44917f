"""scripts/train.py: its command line, and what a run by a method of one's own leaves."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.scripting import content_hash
from svdrift.tasks import task_class

ROOT = Path(__file__).parents[2]
STEADY = str(Path(__file__).parent / "steady.py")
TASK = '{"name": "tests/tasks/toy_task.py"}'


def run_script(*arguments):
    return run_program(sys.executable, "scripts/train.py", *arguments)


def run_program(*command):
    return subprocess.run(
        [*map(str, command)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def ended(monkeypatch, capfd):
    """Runs train.py to its early end in this process: exit status, stdout, stderr."""

    def run(*arguments):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["scripts/train.py", *map(str, arguments)])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which a script replaces
        with pytest.raises(SystemExit) as end:
            runpy.run_path("scripts/train.py", run_name="__main__")
        return end.value.code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A model to start from, and problems to learn from."""
    work = tmp_path_factory.mktemp("given")
    tokenizer = make_tokenizer(task_class("tests/tasks/toy_task.py").words)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16}
    model = make_model(len(tokenizer), ArchitectureSettings(**shape))
    save_checkpoint(model, tokenizer, work / "start")
    pd.DataFrame({"a": [1, 2], "b": [3, 5]}).to_parquet(work / "problems.parquet")
    return work


def arguments(given, out, **changed):
    """The command line of a run that is all right, but for what is `changed`; None leaves out."""
    plain = {
        "method": STEADY,
        "task": TASK,
        "start": given / "start",
        "problems": given / "problems.parquet",
        "models": f"{out}/models/{{step}}",
        "tables": f"{out}/{{table}}.parquet",
        "work": out / "work",
        "keep": ["1", "3"],
    }
    return [
        word
        for name, value in (plain | changed).items()
        if value is not None
        for word in (f"--{name}", *(value if isinstance(value, list) else [value]))
    ]


def test_help_names_the_arguments_with_and_without_a_method(ended):
    without, with_one = ended("--help"), ended("--method", "ppo", "--help")
    assert without[0] == with_one[0] == 0
    for option in ("--method", "--task", "--keep", "--models", "--work"):
        assert option in without[1]
    assert "--settings" not in without[1]
    assert "--settings" in with_one[1]


def test_a_method_of_ones_own_leaves_checkpoints_tables_and_provenance(given, tmp_path):
    settings = '{"change": 0.25}'
    done = run_script(*arguments(given, tmp_path, settings=settings, seed="7"))
    assert done.returncode == 0, done.stderr
    start = load_model(given / "start").state_dict()
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["1", "3"]
    for step in (1, 3):
        folder = tmp_path / "models" / str(step)
        for name, weight in load_model(folder).state_dict().items():
            torch.testing.assert_close(weight, start[name] + 0.25 * step)
        assert load_tokenizer(folder).get_vocab() == load_tokenizer(given / "start").get_vocab()
        noted = json.loads((folder / "provenance.json").read_text())
        assert noted["seed"] == 7
        assert noted["inputs"]["start"]["sha256"] == content_hash(given / "start")
        assert noted["inputs"].keys() == {"start", "problems"}
        assert noted["settings"]["method"] == STEADY
        assert noted["settings"]["settings"] == {"steps": 4, "change": 0.25}
        assert noted["settings"]["longest_reply"] == 0  # a note of the method
    assert list(pd.read_parquet(tmp_path / "moves.parquet")["step"]) == [1, 2, 3]
    examples = pd.read_parquet(tmp_path / "examples.parquet")
    assert examples.to_dict("list") == {"prompt": ["1 plus 3", "2 plus 5"], "reply": ["4", "7"]}
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_metrics_are_shown_once_while_it_trains(given, tmp_path, processes):
    tracking = {"tool": "tensorboard", "run": "seed-0/steady", "folder": str(tmp_path / "events")}
    command = arguments(given, tmp_path, tracking=json.dumps(tracking))
    launch = ["--config_file", "workflow/accelerate/cpus.yaml", "--num_processes=2"]
    done = (
        run_script(*command)
        if processes == 1
        else run_program("accelerate", "launch", *launch, "scripts/train.py", *command)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("metrics while it trains: ") == 1
    (events,) = (tmp_path / "events" / "seed-0" / "steady").iterdir()
    shown = EventAccumulator(str(events)).Reload().Scalars("change")
    assert [event.step for event in shown] == [1, 2, 3]


EARLY = json.dumps(
    {"steps": 8, "batch_size": 2, "micro_batch_size": 1, "early_stopping": {"patience": 2}}
)


@pytest.mark.parametrize("processes", [1, 2])
def test_sft_that_ends_early_leaves_the_best_checkpoint_at_all_later_steps(
    given, tmp_path, processes
):
    """A model that solves nothing does not rise above its first kept step."""
    pd.DataFrame({"a": [1, 2, 3], "b": [3, 5, 1]}).to_parquet(tmp_path / "small_trial.parquet")
    command = arguments(
        given,
        tmp_path,
        method="sft",
        settings=EARLY,
        keep=["1", "2", "3", "5", "8"],
        selection=tmp_path / "small_trial.parquet",
        **{"max-reply-tokens": "3"},
    )
    launch = ["--config_file", "workflow/accelerate/cpus.yaml", "--num_processes=2"]
    done = (
        run_script(*command)
        if processes == 1
        else run_program("accelerate", "launch", *launch, "scripts/train.py", *command)
    )
    assert done.returncode == 0, done.stderr
    weights, notes = {}, {}
    for step in (1, 2, 3, 5, 8):
        folder = tmp_path / "models" / str(step)
        load_model(folder)
        weights[step] = (folder / "model.safetensors").read_bytes()
        noted = json.loads((folder / "provenance.json").read_text())
        assert noted["inputs"].keys() == {"start", "problems", "small_trial"}
        notes[step] = noted["settings"]["early_stopping"]
    assert notes[1] == notes[8]
    assert notes[1]["stopped_at"] == 3
    assert notes[1]["holds"] == {"1": 1, "2": 2, "3": 3, "5": 1, "8": 1}
    assert set(notes[1]["selection_accuracy"]) == {"1", "2", "3"}
    assert len({weights[step] for step in (1, 2, 3)}) == 3
    assert weights[5] == weights[8] == weights[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max-reply-tokens": "3"}, "--selection: early stopping needs it"),
        ({"selection": "small_trial.parquet"}, "--max-reply-tokens: early stopping needs it"),
    ],
)
def test_early_stopping_needs_problems_and_a_length(given, tmp_path, ended, changed, message):
    status, _, said = ended(*arguments(given, tmp_path, method="sft", settings=EARLY, **changed))
    assert status == 2
    assert f"error: {message}" in said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": '{"changes": 1}'}, "--settings: "),
        ({"settings": '{"steps": 0}'}, "steps"),
        ({"settings": "steps"}, "--settings: not a JSON object"),
        (
            {"method": "pqo"},
            "'pqo' is unknown, did you mean 'ppo'? (allowed: grpo, import_model, ppo, pretrain,",
        ),
        ({"method": "no/such.py"}, "no/such.py: no such file"),
        ({"task": '{"name": "chess"}'}, "'chess' is unknown"),
        ({"start": None}, "--start: steady change needs it"),
        ({"problems": None}, "--problems: steady change needs it"),
        ({"task": None}, "--task: steady change needs it"),
        ({"keep": ["3", "1"]}, "--keep: [3, 1] are not rising steps"),
        ({"keep": ["5"]}, "(allowed: 0 to 4)"),
        ({"models": "models"}, "must hold {step}"),
        ({"start": Path("nowhere")}, "nowhere: no such file or folder"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(given, tmp_path, ended, changed, message):
    status, _, said = ended(*arguments(given, tmp_path, **changed))
    assert status == 2, said
    assert message in said
    assert (said.count("\n"), said[:7]) == (1, "error: ")
    assert not list(tmp_path.iterdir())


def test_an_imported_model_is_links_and_leaves_what_is_there(given, tmp_path):
    kept = tmp_path / "model" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("years of work")
    changed = {"method": "import_model", "task": None, "start": None, "problems": None}
    changed |= {"keep": ["0"], "models": kept.parent, "tables": None}
    settings = json.dumps({"source": str(given / "start")})
    done = run_script(*arguments(given, tmp_path, settings=settings, **changed))
    assert done.returncode == 0, done.stderr
    assert kept.read_text() == "years of work"
    weights = kept.parent / "model.safetensors"
    assert weights.readlink() == given / "start" / "model.safetensors"
    noted = json.loads((kept.parent / "provenance.json").read_text())
    assert noted["inputs"]["model"]["path"] == str(given / "start")
    assert noted["settings"]["commit"] is None
