import argparse
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

import svdrift
from svdrift import scripting
from svdrift.errors import UserError
from svdrift.scripting import AGAIN


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    steps: int = Field(default=10, gt=0)
    style: Literal["compact", "paper"] = "compact"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner = Inner()
    runs: list[Inner] = []
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def check(self) -> "Outer":
        if self.low > self.high:
            raise ValueError("low must be at most high")
        return self


def parse(*arguments: str) -> Outer:
    parser = argparse.ArgumentParser()
    scripting.settings_argument(parser, Outer)
    return parser.parse_args(arguments).settings


def run_script(body: str) -> subprocess.CompletedProcess[str]:
    program = (
        "from svdrift.errors import UserError\n"
        "from svdrift.scripting import run\n"
        f"def main():\n    {body}\nrun(main)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_user_error_is_one_line_and_status_2():
    done = run_script("raise UserError('hands.csv: no column `cards`,\\n allowed: cards')")
    assert done.returncode == 2
    assert done.stderr == "error: hands.csv: no column `cards`, allowed: cards\n"


def test_other_errors_keep_their_traceback():
    done = run_script("[][0]")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Traceback")
    assert "IndexError: list index out of range" in lines
    assert lines[-1].startswith("error: unexpected IndexError")


def test_success_is_silent():
    done = run_script("print('done')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


NO_SPACE = "no space is left on its disk; make room, then run the same command again"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("raise OSError(28, 'No space left on device', 'a/b/c.log')", f"a/b: {NO_SPACE}"),
        (
            "raise OSError(122, 'Disk quota exceeded', 'a/c')",
            "a: the disk quota is used up; make room or ask for more, then {AGAIN}",
        ),
        (
            "raise OSError(30, 'Read-only file system', 'a/c')",
            "a/c: it lies on a file system that can only be read; make it writable, then {AGAIN}",
        ),
        (
            "open('x' * 300, 'w')",
            "x" * 300 + ": the name is too long; choose a shorter one, then {AGAIN}",
        ),
        (
            "raise PermissionError(13, 'Permission denied', 'a/c')",
            "a/c: permission is denied; change its owner or mode, then {AGAIN}",
        ),
        (  # as safetensors has it
            "raise Exception('I/O error: No space left on device (os error 28)')",
            f"a file: {NO_SPACE}",
        ),
        (  # as where a library wraps it
            "\n    try: raise OSError(28, '', 'a/c')\n    except OSError as e: raise KeyError",
            f"a: {NO_SPACE}",
        ),
    ],
)
def test_what_the_machine_refuses_is_one_line_that_says_what_to_do(body, line):
    done = run_script(body)
    assert done.returncode == 2
    assert done.stderr == f"error: {line.format(AGAIN=AGAIN)}\n"


def test_a_full_disk_is_found_where_the_error_names_no_file(tmp_path, monkeypatch):
    full = tmp_path / "full"
    full.mkdir()
    usage = shutil.disk_usage(tmp_path)._replace(free=10 << 30)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage._replace(free=0) if path == full else usage
    )
    for error in (OSError(28, "No space left on device"), RuntimeError("file write failed")):
        found = scripting.refused_by_machine(error, [Path("--out"), full / "models/4"])
        assert found == f"{full}: {NO_SPACE}"
    assert scripting.refused_by_machine(RuntimeError("a fault"), [tmp_path]) is None
    assert scripting.refused_by_machine(FileNotFoundError(2, "", "x"), [full]) is None


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_a_script_as_sigterm_does(ignored):
    """Unless it runs under nohup."""
    program = (
        "import os, signal, sys\n"
        f"signal.signal(signal.SIGHUP, signal.SIG_{'IGN' if ignored else 'DFL'})\n"
        "from svdrift.scripting import run\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "run(lambda: os.kill(os.getpid(), signal.SIGHUP))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == (0 if ignored else 7)


def test_a_damaged_table_is_named_with_what_mends_it(tmp_path):
    path, generator = tmp_path / "accuracy.parquet", random.Random(0)
    table = pd.DataFrame({"step": range(50), "name": [f"sft-{i}" for i in range(50)]})
    table.to_parquet(path)
    sound = path.read_bytes()
    pd.testing.assert_frame_equal(scripting.read_table(path), table)
    cuts = [sound[:length] for length in (0, 1, 4, 100, len(sound) - 9, len(sound) - 1)]
    flips = []
    for _ in range(300):
        place, bit = generator.randrange(len(sound)), 1 << generator.randrange(8)
        flips.append(sound[:place] + bytes([sound[place] ^ bit]) + sound[place + 1 :])
    lines = []
    for content in [*cuts, *flips]:
        path.write_bytes(content)
        try:
            scripting.read_table(path)
        except UserError as error:
            lines.append(str(error))
    for line in lines:
        assert re.fullmatch(
            rf"{path}: cannot be read as a table \(.*\); delete it and run the same command again",
            line,
        )
    assert len(lines) > len(cuts) + 50


@pytest.mark.parametrize("length", [0, 1, 4, 100])
def test_a_truncated_table_is_refused(tmp_path, length):
    path = tmp_path / "accuracy.parquet"
    pd.DataFrame({"step": range(50)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"; delete it and run the same command again$"):
        scripting.read_table(path)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"a": ', r"cannot be read as JSON \(JSONDecodeError: .*\); delete it and run the same"),
        (b"\xff{}", r"cannot be read as JSON \(UnicodeDecodeError: .*\); delete it and run"),
        (b"[]", "is not a JSON object; delete it and run the same command again"),
    ],
)
def test_a_damaged_json_file_is_named_with_what_mends_it(tmp_path, content, line):
    path = tmp_path / "anchor.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: {line}"):
        scripting.read_json(path)


def test_what_is_not_there_is_named(tmp_path):
    for read in (scripting.read_table, scripting.read_json):
        with pytest.raises(UserError, match=f"^{tmp_path}/x: no such file$"):
            read(tmp_path / "x")


def test_import_is_light():
    heavy = "{'torch', 'pandas', 'numpy', 'transformers', 'matplotlib'}"
    program = f"import sys, svdrift.scripting; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_settings_take_defaults():
    assert parse() == Outer()
    assert parse("--settings", '{"inner": {"steps": 3}}') == Outer(inner=Inner(steps=3))


def test_a_script_takes_several_settings():
    parser = argparse.ArgumentParser()
    scripting.settings_argument(parser, Outer)
    scripting.settings_argument(parser, Inner, "--inner")
    args = parser.parse_args(["--inner", '{"steps": 4}'])
    assert (args.settings, args.inner) == (Outer(), Inner(steps=4))
    with pytest.raises(UserError, match=r"^--inner: unknown key 'x'"):
        parser.parse_args(["--inner", '{"x": 4}'])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"inner": {"stepz": 3}}', "unknown key 'inner.stepz', did you mean 'steps'?"),
        ('{"inner": {"stepz": 3}}', "(allowed: steps, style)"),
        ('{"runs": [{"x": 3}]}', "unknown key 'runs.0.x' (allowed: steps, style)"),
        ('{"zzz": 3}', "unknown key 'zzz' (allowed: inner, runs, low, high)"),
        ('{"inner": {"steps": 0}}', "key 'inner.steps' must be above 0, not 0"),
        (
            '{"inner": {"style": "long"}}',
            "key 'inner.style' must be 'compact' or 'paper', not 'long'",
        ),
        ('{"low": 2}', "low must be at most high"),
        ('{"low": ', "--settings: not a JSON object"),
    ],
)
def test_wrong_settings_are_named_in_one_line(text, message):
    with pytest.raises(UserError) as caught:
        parse("--settings", text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_wrong_key_is_named():
    with pytest.raises(UserError, match=r"'low'.*; unknown key 'zzz'"):
        parse("--settings", '{"low": "many", "zzz": 1}')


def test_hash_of_a_file_is_its_sha256(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    assert scripting.content_hash(file) == hashlib.sha256(b"abc").hexdigest()


def test_hash_of_a_folder_sees_names_and_contents_but_not_provenance(tmp_path):
    def folder(name: str, files: dict[str, str]) -> str:
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return scripting.content_hash(tmp_path / name)

    first = folder("1", {"a": "x", "sub/b": "y"})
    assert folder("2", {"sub/b": "y", "a": "x", "provenance.json": "now"}) == first
    assert folder("3", {"a": "x", "sub/b": "z"}) != first
    assert folder("4", {"a": "x", "sub/c": "y"}) != first


def test_hash_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        scripting.content_hash(tmp_path / "absent")


def test_provenance_tells_what_the_artefact_was_made_from(tmp_path):
    hands = tmp_path / "hands.txt"
    hands.write_text("3 J 5 10")
    scripting.write_provenance(
        tmp_path / "model",
        inputs={"hands": hands},
        settings=Inner(steps=3),
        seed=7,
        started=time.time() - 2,
    )
    record = json.loads((tmp_path / "model" / "provenance.json").read_text())
    assert record["inputs"]["hands"]["sha256"] == hashlib.sha256(b"3 J 5 10").hexdigest()
    assert record["settings"] == {"steps": 3, "style": "compact"}
    assert record["seed"] == 7
    assert record["versions"]["svdrift"] == svdrift.__version__
    assert 2 <= record["duration_s"] < 60
    assert record["hardware"]["cores"] >= 1
    assert set(record["versions"]) >= {"python", "torch", "transformers", "trl", "numpy"}


def test_commit_is_told_only_in_a_clone_of_this_project(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    source = tmp_path / "svdrift" / "scripting.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    monkeypatch.setattr(scripting, "__file__", str(source))
    assert scripting._commit() is None
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    commit = scripting._commit()
    assert commit is not None
    assert len(commit) == 40
    source.write_text("x = 2\n")
    assert scripting._commit() == commit + "-dirty"
    installed = tmp_path / "lib" / "svdrift" / "scripting.py"
    monkeypatch.setattr(scripting, "__file__", str(installed))
    assert scripting._commit() is None


def test_progress_in_a_log_is_a_few_whole_lines(capsys, monkeypatch):
    monkeypatch.setattr(scripting, "LOG_INTERVAL_S", 0.1)
    items = []
    for item in scripting.progress(range(50), 50, "evaluating"):
        items.append(item)
        time.sleep(0.01)
    assert items == list(range(50))
    # The bar of another test that was left in the middle may end here, when memory is cleared.
    lines = [line for line in capsys.readouterr().err.splitlines() if "evaluating" in line]
    assert 2 <= len(lines) <= 12  # 50 items, 0.1 s apart; the machine may be busy
    for line in lines:
        assert re.fullmatch(r"evaluating: \d+/50, [\d:]+ elapsed, [\d:?]+ left", line)


def test_progress_of_a_short_stage_is_silent(capsys):
    assert list(scripting.progress(iter("abc"), None, "reading")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(scripting.progress(range(3), 3, "reading")) == [0, 1, 2]
    assert "reading: 100%" in capsys.readouterr().err
