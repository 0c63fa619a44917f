"""A wrong study is refused in one line before any job, by Snakemake, make and svdrift alike."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.workflow

FILES = {  # name -> what the file holds, and the line
    "twice": ("study: x\nseeds: [0]\nseeds: [1]\n", "line 3: key 'seeds' is given twice"),
    "tab": ("study: x\nstages:\n\tsft: {}\n", "line 3: not YAML: found character '\\t'"),
    "bytes": (b"study: x\n# \xff\n", "line 2: not UTF-8 text"),
    "empty": ("", "must hold settings by name (such as `study: NAME`), it is empty"),
    "list": ("- study: x\n", "must hold settings by name"),
    "none": (None, "cannot be read (No such file or directory)"),
}
SNAKEMAKES_OWN = ("tab", "bytes", "empty", "list", "none")
"""What Snakemake refuses in its own words, before it reads anything of the project."""


@pytest.fixture
def run(clone):
    def run(*command):
        environment = os.environ | {"PYTHONPATH": str(clone)}
        return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)

    return run


def write(folder, name):
    text, line = FILES[name]
    if text is not None:
        (folder / f"{name}.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return f"{name}.yaml", line


def one_line(said, line):
    errors = [text for text in said.splitlines() if text.startswith("error:")]
    assert len(errors) == 1, said
    assert line in errors[0]
    assert "Traceback" not in said


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_refused_before_snakemake_starts(clone, run, name):
    file, line = write(clone, name)
    for target in ("study", "budget", "resume"):
        # Without the environment that make sets up first.
        made = run("make", target, f"STUDY={file}", "RUN_TIME=")
        assert made.returncode != 0
        one_line(made.stdout + made.stderr, f"{file}: {line}")
        assert "snakemake" not in made.stdout
    for command in ("stages", "status"):
        asked = run(sys.executable, "-m", "svdrift", command, file)
        assert asked.returncode == 2
        one_line(asked.stdout + asked.stderr, f"{file}: {line}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (FILES["twice"][0], "wrong.yaml: line 3: key 'seeds' is given twice"),
        ("study: x\nseeds: [-1]\n", "config: key 'seeds.0' must be at least 0, not -1"),
        ("study: x/..\n", "config: key 'study' cannot be 'x/..'"),
        (
            "study: x\ntask: {hands: {test: 100000}}\n",
            "task.hands.test: 100000 hands wanted for id_test, but only",
        ),
    ],
)
def test_snakemake_refuses_it_before_any_job(clone, snakemake, text, line):
    (clone / "wrong.yaml").write_text(text)
    refused = snakemake("--cores", "1", "--configfile", "wrong.yaml")
    assert refused.returncode != 0
    one_line(refused.stdout + refused.stderr, line)
    assert not (clone / "results/x").exists()


def test_a_wrong_sweep_is_refused_too(clone, snakemake):
    (clone / "sweep.yaml").write_text(
        "study: x\nsweep: {task.target: [24, 30]}\nseeds: [0]\nseeds: []"
    )
    refused = snakemake("-n", "--snakefile", "workflow/sweep.smk", "--configfile", "sweep.yaml")
    one_line(refused.stdout + refused.stderr, "sweep.yaml: line 4: key 'seeds' is given twice")
    (clone / "sweep.yaml").write_text("study: x\nsweep: {task.target: [24, 24.0]}\n")
    refused = snakemake("-n", "--snakefile", "workflow/sweep.smk", "--configfile", "sweep.yaml")
    one_line(refused.stdout + refused.stderr, "sweep: at task.target = 24.0: config: key 'task.ta")


@pytest.mark.parametrize("name", SNAKEMAKES_OWN)
def test_snakemake_itself_reads_configfile_first(clone, snakemake, name):
    """As docs/how-it-works.md says. When this fails, it says so no longer, and should not."""
    file, line = write(clone, name)
    refused = snakemake("-n", "--configfile", file)
    assert refused.returncode != 0
    assert line not in refused.stdout + refused.stderr
