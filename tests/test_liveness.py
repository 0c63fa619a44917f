"""Which processes are known to live, to be dead, or not known."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svdrift import liveness
from svdrift.liveness import Process

ABOUT_ITSELF = "import json; from svdrift.liveness import Process; import sys\n"
ABOUT_ITSELF += "print(json.dumps(Process.current()._asdict()), flush=True); sys.stdin.read()"


@pytest.fixture
def other():
    """Another process, which waits, and what it says of itself."""
    command = [sys.executable, "-c", ABOUT_ITSELF]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        yield process, Process.read(json.loads(process.stdout.readline()))
        process.kill()


def test_a_process_lives_until_it_is_killed_though_nobody_has_waited_for_it(other):
    process, said = other
    assert said.pid == process.pid
    assert said.lives() is True
    process.kill()
    end = time.monotonic() + 20
    while said.lives() and time.monotonic() < end:
        time.sleep(0.01)
    assert Path(f"/proc/{process.pid}").exists()  # a zombie
    assert said.lives() is False


def test_an_id_that_is_used_again_is_another_process():
    ours = Process.current()
    assert ours.lives() is True
    assert ours._replace(start=ours.start - 1).lives() is False


@pytest.mark.parametrize(
    ("changed", "lives"),
    [
        ({"host": "other"}, None),
        ({"machine": "f" * 32}, None),  # a machine of the same name
        ({"boot": "before"}, False),
        ({"boot": ""}, None),  # not Linux
        ({"namespace": "pid:[1]"}, None),  # a container
    ],
)
def test_what_can_be_known_of_a_process_elsewhere(changed, lives):
    assert Process.current()._replace(**changed).lives() is lives


def test_a_name_with_brackets_does_not_mislead(tmp_path, monkeypatch):
    monkeypatch.setattr(liveness, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    fields = " ".join(map(str, range(4, 53)))
    (tmp_path / "7/stat").write_text(f"7 (a) Z (b) S {fields}\n")
    assert liveness._start(7) == 22


@pytest.mark.parametrize("text", ["7", "[]", "{}", "null", '{"pid": 7}'])
def test_what_is_no_process_is_none(text):
    assert Process.read(json.loads(text)) is None
    fields = Process.current()._asdict()
    assert Process.read(fields | {"pid": "7"}) is None
    assert Process.read(fields) == Process.current()
    assert str(Process.current()).startswith(f"process {os.getpid()} on ")
