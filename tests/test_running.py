"""Who runs the workflow in a folder, and what is released of those who were killed."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from svdrift import running
from svdrift.errors import UserError
from svdrift.liveness import Process
from svdrift.running import SLURM, VARIABLE, Run, at_work, forget, noted, release, runs

OURS = Process.current()
DEAD = OURS._replace(start=OURS.start - 1)
ELSEWHERE = OURS._replace(host="login2")


@pytest.fixture
def folder(tmp_path):
    """A folder of Snakemake's with the locks of somebody."""
    for name in ("0.input.lock", "0.output.lock"):
        lock = tmp_path / running.LOCKS / name
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("a\n")
    return tmp_path


def locks(folder):
    return sorted((folder / running.LOCKS).iterdir())


def left_by(folder, process, *, holds=True, **has):
    """A note that a process has left."""
    (folder / running.NOTES).mkdir(exist_ok=True)
    has = {"executor": "local", "log": ""} | has
    name = f"{process.start}-{process.host}.json"
    run = Run(folder / running.NOTES / name, process, **has)
    run.note(locks=locks(folder) if holds else None)
    return run


def released(folder):
    said = []
    release(folder, said.append)
    return said


AT_WORK = """
import pathlib, sys
from svdrift.running import noted
with noted(pathlib.Path(sys.argv[1])):
    print("noted", flush=True)
    sys.stdin.read()
"""


def test_a_process_is_at_work_until_it_is_killed(folder):
    assert at_work(folder) is None
    command = [sys.executable, "-c", AT_WORK, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"noted\n"
        assert f"a Snakemake is at work here (process {process.pid} on " in at_work(folder)
        assert released(folder) == []
        assert len(locks(folder)) == 2
        process.kill()
    assert at_work(folder) is None


def test_a_note_goes_with_its_block_and_jobs_inherit_its_id(folder):
    with noted(folder) as run:
        assert os.environ[VARIABLE] == run.file.stem
        (read,) = runs(folder)
        run.note(locks=locks(folder), scratch=folder / "s")
        (read,) = runs(folder)
        assert {**vars(read)} == {**vars(run)}
    assert VARIABLE not in os.environ
    assert list((folder / running.NOTES).iterdir()) == []


def test_what_the_dead_held_is_released_and_said(folder):
    scratch = folder / "scratch"
    scratch.mkdir()
    left_by(folder, DEAD).note(scratch=scratch)
    assert released(folder) == [f"released the lock of {DEAD}, which was killed: its study goes on"]
    assert locks(folder) == []
    assert not scratch.exists()
    assert released(folder) == []


def test_a_machine_that_was_started_again_has_ended_all_that_was_at_work(folder):
    left_by(folder, OURS._replace(boot="before"))
    assert len(released(folder)) == 1
    assert locks(folder) == []


@pytest.mark.parametrize("process", [OURS, ELSEWHERE, OURS._replace(namespace="pid:[1]")])
def test_what_lives_or_may_live_is_never_released(folder, process):
    left_by(folder, process)
    assert released(folder) == []
    assert len(locks(folder)) == 2
    line = at_work(folder)
    assert f"({process})" in line
    assert ("snakemake --unlock" in line) == (process is not OURS)


def test_a_note_that_is_held_is_of_one_who_lives_whatever_it_says(folder):
    """As on a shared file system; the machines may even have the same name and id."""
    with noted(folder) as run:
        run.process = OURS._replace(boot="before")
        run.note(locks=locks(folder))
        assert released(folder) == []
    assert len(locks(folder)) == 2


def test_another_users_processes_cannot_be_looked_at(folder, monkeypatch):
    run = left_by(folder, DEAD)
    monkeypatch.setattr(os, "getuid", lambda: run.user + 1)
    assert released(folder) == []
    assert len(locks(folder)) == 2


def test_the_lock_of_another_run_of_the_same_name_stays(folder):
    left_by(folder, DEAD)
    for path in locks(folder):  # unlocked by hand, and locked by another since
        path.unlink()
        path.write_text("b\n")
        os.utime(path, ns=(0, 0))
    assert len(released(folder)) == 1
    assert len(locks(folder)) == 2


@pytest.mark.parametrize("beside", [None, ELSEWHERE, OURS])
def test_who_was_killed_while_it_locked_holds_what_nobody_has_noted(folder, beside):
    left_by(folder, DEAD, holds=False)
    if beside is not None:
        left_by(folder, beside, holds=False)
    assert len(released(folder)) == 1
    assert len(locks(folder)) == (2 if beside else 0)


def test_unlocking_by_hand_forgets_all_that_is_not_known_to_live(folder):
    for process in (DEAD, ELSEWHERE, OURS):
        left_by(folder, process)
    forget(folder)
    assert [run.process for run in runs(folder)] == [OURS]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"process": 7}'])
def test_a_note_that_was_not_written_to_the_end_is_of_nobody(folder, text):
    left_by(folder, DEAD).file.write_text(text)
    assert released(folder) == []
    assert len(locks(folder)) == 2


def test_processes_that_go_on_without_a_dead_run_are_ended_first(folder):
    run = left_by(folder, DEAD)
    text = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit(7)))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    environment = os.environ | {VARIABLE: run.file.stem}
    command = [sys.executable, "-c", text]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as left:
        assert left.stdout.readline() == b"ready\n"
        other = subprocess.Popen(command, env=os.environ | {VARIABLE: "another"})
        said = released(folder)
        assert psutil.Process(other.pid).is_running()
        other.kill()
        assert not psutil.pid_exists(left.pid)  # it was waited for
        other.wait()
    assert said[0] == f"ends 1 processes that go on without {DEAD}, which was killed"
    assert locks(folder) == []


def test_processes_that_do_not_end_are_named(folder, monkeypatch):
    run = left_by(folder, DEAD)
    monkeypatch.setattr(running, "PATIENCE_S", 0.1)
    ignoring = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
    command = [sys.executable, "-c", f"{ignoring} time.sleep(60)"]
    environment = os.environ | {VARIABLE: run.file.stem}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as left:
        assert left.stdout.readline()
        with pytest.raises(UserError, match=rf"do not end; end them \(kill -9 {left.pid}\)"):
            released(folder)
        left.kill()
    assert len(locks(folder)) == 2


@pytest.mark.parametrize("queue", ["", "11\n12\n"])
def test_slurm_jobs_that_go_on_keep_the_lock(folder, monkeypatch, queue):
    log = folder / "a.log"
    log.write_text("SLURM run ID: 1f-2\n")
    program = folder / "bin/squeue"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho $* > {folder}/asked\nprintf '{queue}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    left_by(folder, DEAD, executor=SLURM, log=str(log))
    if queue:
        with pytest.raises(UserError, match=r"2 of its Slurm jobs go on \(11, …\).*make resume"):
            released(folder)
    else:
        assert len(released(folder)) == 1
    assert len(locks(folder)) == (2 if queue else 0)
    assert "--name=1f-2" in (folder / "asked").read_text()


def test_where_slurm_cannot_be_asked_the_lock_stays(folder, monkeypatch):
    (folder / "a.log").write_text("SLURM run ID: 1f-2\n")
    left_by(folder, DEAD, executor=SLURM, log=str(folder / "a.log"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="squeue: not found"):
        released(folder)
    assert len(locks(folder)) == 2


def test_jobs_of_other_executors_cannot_be_asked_for(folder):
    left_by(folder, DEAD, executor="lsf")
    with pytest.raises(UserError, match=r"\(lsf\).*when they have ended: snakemake --unlock"):
        released(folder)


def test_a_note_is_replaced_at_once(folder):
    """A reader never sees half of it."""
    run = left_by(folder, DEAD)
    end = time.monotonic() + 0.5
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(run.file)], stdout=subprocess.PIPE
    ) as reader:
        while time.monotonic() < end or reader.poll() is None:
            run.note(scratch=folder / ("s" * 5000))
            run.note(scratch=folder)
        assert json.loads(reader.stdout.read()) == []


READER = """
import json, pathlib, sys, time
end, bad = time.monotonic() + 1, []
while time.monotonic() < end:
    text = pathlib.Path(sys.argv[1]).read_text()
    try:
        json.loads(text)
    except ValueError:
        bad.append(text)
print(json.dumps(bad))
"""
