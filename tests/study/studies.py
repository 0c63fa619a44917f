"""Configurations for tests: the default study with an overlay laid over it."""

from pathlib import Path
from typing import Any

from svdrift.study.overlays import laid_over, read_config
from svdrift.study.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "config.yaml"


def overlay(name: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of `experiments/{name}.yaml`, with changes laid over it."""
    return laid_over(read_config(ROOT / "experiments" / f"{name}.yaml", DEFAULT), changes or {})


def study(changes: dict[str, Any] | None = None) -> Settings:
    """The default study with changes laid over it."""
    return read_settings(laid_over(read_config(None, DEFAULT), changes or {}))
