"""Copies of the repository in which the real workflow runs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

ROOT = Path(__file__).parents[2]
Snakemake = Callable[..., subprocess.CompletedProcess[str]]


def copy_repository(folder: Path) -> Path:
    """The files that git tracks or would, without results."""
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


def laid_over(clone: Path, *overlays: str) -> dict[str, Any]:
    """The configuration of a study: config.yaml with overlays, merged as Snakemake does."""
    config: dict[str, Any] = {}
    for file in ("config.yaml", *overlays):
        update_config(config, yaml.safe_load((clone / file).read_text()))
    return config


def unquoted(overlay: dict[str, Any]) -> str:
    """An overlay as YAML, with the key `on` as people write it."""
    return yaml.safe_dump(overlay).replace("'on':", "on:")


def variables_in(clone: Path) -> dict[str, str]:
    """With these, a clone's programs and its package come first."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
        "SVDRIFT_STORE": "results/.store",
    }


def snakemake_in(clone: Path, **variables: str) -> Snakemake:
    """Run snakemake in a clone."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["snakemake", *arguments],
            cwd=clone,
            env=os.environ | variables_in(clone) | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
