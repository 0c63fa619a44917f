"""What pyproject.toml, the locks and the code say of dependencies agrees."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement

import svdrift
from svdrift.cli import EXTRA, WORKFLOW

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = {Requirement(line).name: Requirement(line) for line in PROJECT["dependencies"]}
PROGRAMS = {"snakemake-executor-plugin-slurm"}  # that nothing of ours imports


def test_the_command_knows_what_is_in_the_extra():
    names = {Requirement(line).name for line in EXTRAS[WORKFLOW]}
    assert names - PROGRAMS - set(CORE) == EXTRA


@pytest.mark.parametrize("name", CORE)
def test_the_core_is_installed_beside_other_work(name):
    """It asks for no exact version, and forbids no newer one."""
    assert {bound.operator for bound in CORE[name].specifier} == {">="}


def test_studies_have_the_exact_torch():
    (torch,) = [line for line in EXTRAS[WORKFLOW] if Requirement(line).name == "torch"]
    assert re.fullmatch(r"torch==[\d.]+", torch)
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert torch in (ROOT / "envs" / lock).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("requirements.lock", [WORKFLOW]), ("requirements-dev.lock", [WORKFLOW, "dev"])],
)
def test_the_locks_hold_all_that_is_asked_for(lock, extras):
    lines = (ROOT / "envs" / lock).read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines)
    for line in (*PROJECT["dependencies"], *(one for name in extras for one in EXTRAS[name])):
        wanted = Requirement(line)
        assert wanted.specifier.contains(pinned[wanted.name.lower()]), line


def test_the_version_is_the_one_that_is_cited_and_described():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (version, date), *_ = re.findall(r"^## \[(\d[^]]*)\] - (\S+)$", changes, re.M)
    assert (version, date) == (citation["version"], citation["date-released"])
    assert version == svdrift.__version__


def test_the_container_and_the_tests_have_one_python():
    """The one whose versions the locks pin."""
    base = "python:3.11-slim-bookworm"
    assert f"\nFROM {base}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"\nFrom: {base}\n" in (ROOT / "apptainer.def").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_what_github_reads_is_yaml(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_place_of_the_report_is_told_once():
    """By make, also where nothing was left to run, or by Snakemake where make did not start it."""
    makefile, snakefile = ((ROOT / name).read_text("utf-8") for name in ("Makefile", "Snakefile"))
    (recipe,) = re.findall(r"^study: .*\n((?:\t.*\n)+)", makefile, re.M)
    assert recipe.count("Report:") == makefile.count("Report:") == 1
    hook = snakefile.partition("onsuccess:\n")[2].replace("print(", "told.append(")
    for variables, times in (({}, 1), ({"MAKELEVEL": "1"}, 0)):
        told: list[str] = []
        names = {"RESULTS": "r", "FIGURES": "f", "TABLES": "t", "told": told}
        exec(textwrap.dedent(hook), names | {"os": SimpleNamespace(environ=variables)})
        assert "".join(told).count("Report:") == times


def test_ci_runs_what_is_there():
    """Targets of make, and scripts, by their names."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for run in steps for name in re.findall(r"^make (\w+)$", run, re.M)}
    assert targets == {"study", "site"}
    assert all(re.search(rf"^{name}: ", makefile, re.M) for name in targets)
    (tests,) = (run for run in steps if run.startswith(".ci/run"))
    assert re.findall(r"'(test\S*)'", tests) == ["test-all", "test"]
    assert all(re.search(rf"^{name}: ", makefile, re.M) for name in ("test", "test-all"))
