"""The process that runs the workflow: how often it looks for jobs, what it leaves when killed."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from svdrift.running import NOTES, SPIN
from tests.workflow.clones import ROOT

pytestmark = pytest.mark.workflow

JOBS = 12
SNAKEFILE = f"""
from snakemake.scheduling.job_scheduler import JobScheduler

looks, select = [], JobScheduler.job_selector


def counted(*arguments):
    looks.append(1)
    return select(*arguments)


JobScheduler.job_selector = counted
{{include}}

rule all:
    default_target: True
    input: expand("{{{{number}}}}.txt", number=range({JOBS}))

rule one:
    output: "{{{{number}}}}.txt"
    shell: "sleep 0.5; touch {{{{output}}}}"

onsuccess:
    print(f"looks: {{{{len(looks)}}}}")
"""


@pytest.mark.parametrize("ours", [True, False])
def test_a_look_for_every_job(tmp_path, ours):
    include = f'include: "{ROOT / "workflow/rules/running.smk"}"' if ours else ""
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(include=include))
    command = [sys.executable, "-m", "snakemake", "--cores", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    looks = int(done.stdout.split("looks: ")[1])
    # Without it, the loops add up; should this fail, the rule file is no longer needed.
    assert (looks <= 2 * JOBS) == ours, looks


def test_threads_of_a_job_spin_briefly(tmp_path):
    [(name, spins)] = SPIN.items()
    (tmp_path / "Snakefile").write_text(
        f'include: "{ROOT / "workflow/rules/running.smk"}"\n'
        f'rule one:\n    output: "spins"\n    shell: "echo ${name} > {{output}}"\n'
    )
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--forceall"]
    clean = {key: text for key, text in os.environ.items() if key != name}
    for own, expected in (({}, spins), ({name: "7"}, "7")):
        subprocess.run(command, cwd=tmp_path, env=clean | own, check=True, capture_output=True)
        assert (tmp_path / "spins").read_text().strip() == expected


WAITING = f"""
include: "{ROOT / "workflow/rules/running.smk"}"

rule all:
    default_target: True
    input: "made"

rule make:
    output: "made"
    shell: "touch started; sleep $(cat seconds); touch {{output}}"
"""
COMMAND = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete"]


class Place:
    """A folder with a workflow of one job, which takes as long as its file `seconds` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "Snakefile").write_text(WAITING)

    def until_it_works(self) -> None:
        """Until the last process of its job is there too."""
        end = time.monotonic() + 600
        while "sleep" not in [process.info["name"] for process in self.processes()]:
            assert time.monotonic() < end
            time.sleep(0.05)

    def start(self, seconds: float, *arguments: str) -> subprocess.Popen[str]:
        (self.folder / "seconds").write_text(str(seconds))
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def ends(self, *arguments: str) -> tuple[int, str]:
        """Run it with a short job; exit status and output."""
        process = self.start(0, *arguments)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def left(self) -> list[str]:
        """What a run has left: locks, notes, processes."""
        state = self.folder / ".snakemake"
        files = [*(state / "locks").glob("*"), *(state / NOTES).glob("*")]
        return [*map(str, files), *(str(process) for process in self.processes())]

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["name"]):
            with suppress(psutil.Error):
                if process.cwd() == str(self.folder):
                    found.append(process)
        return found


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    for process in place.processes():
        process.kill()


@pytest.mark.parametrize("alone", [True, False])
def test_after_a_kill_the_same_command_goes_on(place, alone):
    """Of Snakemake alone, whose job goes on and is ended first, or of all its descendants."""
    process = place.start(60)
    place.until_it_works()
    others = [] if alone else psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for other in others:
        with suppress(psutil.NoSuchProcess):
            other.kill()
    process.wait()
    assert place.left()
    status, said = place.ends()
    assert status == 0, said
    assert f"released the lock of process {process.pid} on " in said
    assert ("processes that go on without" in said) == alone
    assert place.left() == []


def test_a_second_one_beside_the_first_is_told_who_that_is(place):
    first = place.start(60)
    place.until_it_works()
    status, said = place.ends()
    assert status == 1
    assert f"error: a Snakemake is at work here (process {first.pid} on " in said
    assert "Traceback" not in said
    assert "--unlock" not in said


def test_a_run_of_another_machine_is_unlocked_by_hand_alone(place):
    first = place.start(60)
    place.until_it_works()
    for process in [psutil.Process(first.pid).children(recursive=True)[-1], first]:
        process.kill()
    first.wait()
    (note,) = (place.folder / ".snakemake" / NOTES).glob("*.json")
    said = json.loads(note.read_text())
    note.write_text(json.dumps(said | {"process": said["process"] | {"host": "login2"}}))
    for _ in range(2):
        status, told = place.ends()
        assert status == 1
        assert f"may be at work here (process {first.pid} on login2), unseen from this" in told
        assert "if you know that it has ended: snakemake --unlock" in told
    assert place.ends("--unlock")[0] == 0
    assert place.ends()[0] == 0
    assert place.left() == []


def test_a_terminal_that_is_closed_leaves_no_lock_and_no_process(place):
    (place.folder / "seconds").write_text("60")
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(place.folder)
        os.execv(COMMAND[0], COMMAND)
    place.until_it_works()
    os.close(terminal)  # the kernel sends SIGHUP
    end = time.monotonic() + 30
    while os.waitpid(process, os.WNOHANG) == (0, 0):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert place.left() == []
    assert not (place.folder / "made").exists()
    assert place.ends()[0] == 0


def test_under_nohup_it_goes_on_without_its_terminal(place):
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = place.start(3)
    signal.signal(signal.SIGHUP, handler)
    place.until_it_works()
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(60) == 0
    assert (place.folder / "made").exists()
