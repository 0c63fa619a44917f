"""A copy of the repository in which the real workflow runs, shared by the workflow's tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Snakemake = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def clone(tmp_path_factory) -> Path:
    """The files that git tracks or would, without results."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target)
    return folder


def snakemake_in(clone: Path, **variables: str) -> Snakemake:
    """Run snakemake in a clone; its programs and its package come first."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(clone),
            "SVDRIFT_STORE": "results/.store",
        }
        return subprocess.run(
            ["snakemake", *arguments],
            cwd=clone,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def snakemake(clone) -> Snakemake:
    """Run snakemake in the clone."""
    return snakemake_in(clone)


@pytest.fixture(scope="session")
def smoke(clone, snakemake) -> Path:
    """The finished smoke study: its folder of results."""
    done = snakemake("--cores", "2", "--configfile", "experiments/smoke.yaml")
    assert done.returncode == 0, done.stderr[-5000:]
    return clone / "results" / "smoke"
