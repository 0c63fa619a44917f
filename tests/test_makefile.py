"""`make workflow` runs several pytests side by side; that one of them fails must not be lost."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUB = """#!/bin/bash
echo "pytest $*"
case "$*" in
  *"-m smoke "*) kind=smoke; sleep 1 ;;
  *) kind=rest ;;
esac
[ "$kind" != "$FAILS" ]
"""


@pytest.mark.parametrize("fails", ["", "smoke", "rest"])
def test_one_of_several_that_fails_fails_them_all(tmp_path: Path, fails: str) -> None:
    stub = tmp_path / "pytest"
    stub.write_text(STUB)
    stub.chmod(0o755)
    done = subprocess.run(
        ["make", "--old-file=.venv/.dev", "workflow", f"PYTEST={stub}", f"FAILS={fails}"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "FAILS": fails},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("and not long") == 2, done.stdout + done.stderr
    assert (done.returncode != 0) == bool(fails), done.stdout + done.stderr
