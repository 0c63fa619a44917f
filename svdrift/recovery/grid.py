"""Interventions as plain values: grids in a configuration, JSON for a script. Imports little."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from itertools import product
from typing import Any, get_type_hints

from pydantic import ValidationError, create_model

from svdrift.errors import UserError, explain
from svdrift.recovery.interventions import Intervention
from svdrift.section import Section

FIELDS = tuple(field.name for field in fields(Intervention))
MOST = 10_000
"""Interventions of a row; each is a job."""
LISTS = frozenset({"layers", "modules"})  # whose values are lists themselves
_HINTS = get_type_hints(Intervention, include_extras=True)
_DEFINITIONS: dict[str, Any] = {
    field.name: (_HINTS[field.name], ... if field.default is MISSING else field.default)
    for field in fields(Intervention)
} | {"shares": (Any, None)}  # which `read_shares` checks
_ROW = create_model("Row", __base__=Section, **_DEFINITIONS)
"""The fields of an intervention, read as strictly as settings."""


def expand(rows: Iterable[Mapping[str, Any]]) -> tuple[Intervention, ...]:
    """Every intervention of a grid.

    Args:
        rows: mappings of `Intervention`'s fields, each of which stands for all combinations of its
            values: `{kind: directions, top: [0.2, 1], layers: [[0, 0.5], [0.5, 1]]}` for four.

    Raises:
        UserError: an unknown field, a value that is not allowed, an empty list of them, or one
            intervention twice.
    """
    found: dict[str, Intervention] = {}
    for row in rows:
        choices = [_alternatives(field, value) for field, value in row.items()]
        for field, options in zip(row, choices, strict=True):
            if not options:
                raise UserError(f"{field}: an empty list leaves nothing to do")
        if math.prod(map(len, choices)) > MOST:
            raise UserError(f"a row stands for more than {MOST:,} interventions")
        for values in product(*choices):
            intervention = read(dict(zip(row, values, strict=True)))
            if intervention.id in found:
                raise UserError(f"holds {intervention.id} twice")
            found[intervention.id] = intervention
    return tuple(found.values())


def read(values: Mapping[str, Any]) -> Intervention:
    """Build an intervention from plain values.

    Raises:
        UserError: an unknown field, or a value that is not allowed.
    """
    try:
        row = _ROW.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(explain(error, _ROW)) from None
    return Intervention(**{name: getattr(row, name) for name in FIELDS})


def to_json(intervention: Intervention) -> str:
    """Write an intervention as JSON, for a command line."""
    return json.dumps(intervention.plain())


def from_json(text: str) -> Intervention:
    """Read what `to_json` wrote; fields may be left out.

    Raises:
        UserError: not a JSON object, or see `read`.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"intervention: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"intervention: a JSON object of its fields, not {text}")
    return read(values)


def _alternatives(field: str, value: Any) -> list[Any]:
    """Values that a field of a row takes in turn: those of a list, of lists for `LISTS`."""
    several = isinstance(value, list | tuple) and (
        field not in LISTS or any(isinstance(item, list | tuple) for item in value)
    )
    return list(value) if several else [value]
