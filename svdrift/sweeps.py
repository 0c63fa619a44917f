"""Sweeps: one study for each combination of the values of one or two settings.

The configuration of a sweep is that of a study with one key more:

    sweep: {stages.ppo.learning_rate: [3.0e-5, 1.0e-4, 3.0e-4]}

Importing this module is cheap, because a Snakefile does it on every start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from svdrift.errors import UserError, shown
from svdrift.study.names import check_study
from svdrift.study.overlays import with_on
from svdrift.study.settings import Settings, read_settings

SECTIONS = ("task", "model", "data", "stages", "evaluation")
"""Sections whose settings an accuracy depends on: what a sweep may vary."""
EXAMPLE = "sweep: {stages.sft.learning_rate: [3.0e-4, 1.0e-3]}"
DEFAULT_NAME: str = Settings.model_fields["study"].default


class Point(NamedTuple):
    """One study of a sweep."""

    study: str  # `{sweep}/{key}={value},{key}={value}`
    values: dict[str, Any]  # by swept key, as the study's settings hold them
    config: dict[str, Any]  # of the study: valid, and without the key `sweep`


class Sweep(NamedTuple):
    """A sweep by its name, and its points in the order of the values."""

    name: str
    points: tuple[Point, ...]


def read_sweep(config: Mapping[str, Any]) -> Sweep:
    """Validate a sweep and the study at each of its points.

    Raises:
        UserError: one line that names the key that is wrong, and the point where it is.
    """
    try:
        config = with_on(config)
    except ValueError as error:
        raise UserError(str(error)) from None
    values = _swept_values(config.get("sweep"))
    shared = {key: value for key, value in config.items() if key != "sweep"}
    name = str(config.get("study", DEFAULT_NAME))
    if name == DEFAULT_NAME or "/" in name:
        raise UserError(
            f"study: a sweep needs a name of its own, without a slash, not {shown(name)}"
        )
    points = tuple(
        _point(name, shared, dict(zip(values, chosen, strict=True)))
        for chosen in product(*values.values())
    )
    studies = [point.study for point in points]
    for study in studies:
        if studies.count(study) > 1:
            raise UserError(f"sweep: {study} stands for two points")
    return Sweep(name, points)


def _swept_values(given: Any) -> dict[str, Sequence[Any]]:
    if not isinstance(given, Mapping) or len(given) not in (1, 2):
        raise UserError(f"sweep: must name one or two settings with their values, as in {EXAMPLE}")
    for key, values in given.items():
        if str(key).split(".")[0] not in SECTIONS:
            raise UserError(
                f"sweep: {shown(key)} changes no accuracy (allowed: settings below "
                f"{', '.join(SECTIONS)})"
            )
        if not isinstance(values, list) or len(values) < 2:
            raise UserError(
                f"sweep: {key}: must be a list of two values or more, not {shown(values)}"
            )
    return dict(given)


def _point(name: str, shared: Mapping[str, Any], chosen: Mapping[str, Any]) -> Point:
    config: dict[str, Any] = dict(shared)
    for key, value in chosen.items():
        config = _replaced(config, key.split("."), value)
    try:
        settings = read_settings(config)
    except UserError as error:
        where = ", ".join(f"{key} = {shown(value)}" for key, value in chosen.items())
        raise UserError(f"sweep: at {where}: {error}") from None
    values = {key: _value(settings, key.split(".")) for key in chosen}
    study = f"{name}/" + ",".join(f"{key}={_label(value)}" for key, value in values.items())
    try:
        check_study(study)
    except UserError as error:
        raise UserError(f"sweep: {error}") from None
    return Point(study, values, config | {"study": study})


def _replaced(config: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of nested mappings with another value at `path`."""
    if not path:
        return value
    inner = config if isinstance(config, Mapping) else {}
    return {**inner, path[0]: _replaced(inner.get(path[0]), path[1:], value)}


def _value(settings: Settings, path: Sequence[str]) -> Any:
    """A setting as the study holds it, and not as YAML happened to read it."""
    first, *rest = path
    found: Any = settings.model_dump(mode="json")
    if first == "stages" and rest and rest[0] in settings.graph.stages:
        stage, *own = rest
        method = settings.graph.stages[stage].settings.model_dump(mode="json")
        if own and own[0] in method:
            found, path = method, own
    for part in path:
        found = found[part]
    return found


def _label(value: Any) -> str:
    """A value as a part of a file name: `3e-05`, `token`, `4-8-16`."""
    return re.sub(r"[^a-z0-9_.]+", "-", json.dumps(value).lower()).strip("-")
