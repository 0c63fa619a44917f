"""The command as a whole: its help, its exit codes, and what starting it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from svdrift.cli import COMMANDS
from tests.cli.checkpoints import run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_tells_the_exit_codes(monkeypatch, capsys, command):
    assert run(monkeypatch, *command, "--help") == 0
    said = capsys.readouterr().out
    assert "exit codes:" in said
    assert "a problem was found in a model" in said


def test_every_command_is_documented():
    page = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    assert all(f"svdrift {name}" in page for name in COMMANDS)


def test_unknown_commands_are_refused(monkeypatch, capsys):
    assert run(monkeypatch, "compere") == 2
    assert "invalid choice: 'compere'" in capsys.readouterr().err


def test_status_starts_without_torch():
    code = "import sys, svdrift.cli.status; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
