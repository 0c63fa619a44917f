"""What `pip install svdrift` gives: every command but those of the workflow, without its extra.

The programs run in processes in which the extra's libraries cannot be found, as if they were not
installed. `tests/test_packaging.py` says which these are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import svdrift
from svdrift.cli import EXTRA
from svdrift.models.tiny import make_tokenizer
from tests.cli.checkpoints import trained
from tests.spectra.synthetic import moved

ROOT = Path(__file__).parents[2]
# Python imports `sitecustomize` at its start, in processes that a command starts too.
WITHOUT = f"""
import importlib.machinery, importlib.metadata
HIDDEN = {EXTRA!r}
find_module = importlib.machinery.PathFinder.find_spec
finder = importlib.metadata.MetadataPathFinder
find_packages = finder.find_distributions

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else find_module(name, path, target)

def find_distributions(*args, **kwargs):
    found = find_packages(*args, **kwargs)
    return (one for one in found if one.metadata["Name"] not in HIDDEN)

importlib.machinery.PathFinder.find_spec = staticmethod(find_spec)
finder.find_distributions = staticmethod(find_distributions)
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory):
    """Run `python -m svdrift ARGUMENTS...` where the extra is not installed."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "sitecustomize.py").write_text(WITHOUT)
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}

    def run(*arguments: object, program: tuple[str, ...] = ("-m", "svdrift"), cwd: Path = folder):
        command = [sys.executable, *program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd)

    return run


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    anchor, target = trained(), moved(trained(), 1)
    for model, name in (anchor, "anchor"), (target, "target"):
        model.save_pretrained(folder / name)
        make_tokenizer(["a", "b"]).save_pretrained(folder / name)
    return folder / "anchor", folder / "target"


@pytest.mark.parametrize("name", sorted(EXTRA))
def test_the_extra_cannot_be_found(light, name):
    """Or the tests below would say nothing."""
    assert f"No module named '{name}'" in light(program=("-c", f"import {name}")).stderr


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help(light, arguments):
    asked = light(*arguments)
    assert asked.returncode == 0
    assert "svdrift COMMAND --help" in asked.stdout
    assert asked.stderr == ""


def test_version(light):
    asked = light("--version")
    assert (asked.returncode, asked.stdout) == (0, f"svdrift {svdrift.__version__}\n")


def test_help_needs_no_library_at_all():
    """So that it answers where something is wrong with one, and at once."""
    asked = subprocess.run(
        [sys.executable, "-S", "-m", "svdrift", "--help"],  # without site-packages
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (asked.returncode, asked.stderr) == (0, "")


def test_a_library_of_the_core_that_is_missing_is_named():
    asked = subprocess.run(
        [sys.executable, "-S", "-m", "svdrift", "check", "model"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert asked.returncode == 2
    assert asked.stderr == "error: this command needs pydantic, which is not installed\n"


def test_importing_the_package_loads_no_library(light):
    code = "import sys, svdrift; sys.exit(bool({'numpy', 'torch', 'pydantic'} & set(sys.modules)))"
    assert light(program=("-c", code)).returncode == 0


def test_compare(light, pair, tmp_path):
    drawn = tmp_path / "drawn.png"
    asked = light("compare", *pair, "--draws", 2, "--figure", drawn)
    assert asked.returncode == 0, asked.stderr
    assert "q" in asked.stdout
    assert drawn.exists()


def test_recover_and_check(light, pair, tmp_path):
    anchor, target = pair
    out = tmp_path / "out"
    models = ("--anchor", anchor, "--target", target)
    asked = light("recover", *models, "--ranks", 0.2, "--out", out)
    assert asked.returncode == 0, asked.stderr
    asked = light("check", out)
    assert asked.returncode == 0, asked.stderr + asked.stdout


@pytest.mark.parametrize("on", [["--text", "text.txt"], ["--task", "general_points"]])
def test_evaluate(light, pair, tmp_path, on):
    (tmp_path / "text.txt").write_text("a b a b\n\nb a b a")
    hands = {"demonstrations": 192, "practice": 64, "test": 12}
    settings = ["--task-settings", json.dumps({"hands": hands})] * (on[0] == "--task")
    asked = light("evaluate", *pair, *on, *settings, cwd=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("model")


def test_a_command_of_the_workflow_names_the_extra(light):
    asked = light("status", cwd=ROOT)
    assert asked.returncode == 2
    assert asked.stdout == ""
    assert asked.stderr == (
        "error: this command needs snakemake, which is not installed: "
        "pip install 'svdrift[workflow]'\n"
    )


def test_stages_are_shown_without_the_workflow(light):
    asked = light("stages", cwd=ROOT)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("default, seed 0")
