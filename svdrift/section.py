"""What every group of settings has in common."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from svdrift.errors import EITHER

LARGEST = 10**9
"""Magnitude of the largest number in settings whose field names no bound of its own."""

Seed: TypeAlias = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""What every library of random numbers takes."""

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _strict(schema: Any, own: type | None = None) -> Any:
    """A core schema with strict leaves; sections within it have their own already."""
    if isinstance(schema, list):
        return [_strict(part, own) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kind, model = schema.get("type"), schema.get("cls")
    if isinstance(model, type) and model is not own and issubclass(model, Section):
        return schema
    if kind == "union":
        # Without labels the choice that was tried would be a part of a wrong key's path.
        choices = [part[0] if isinstance(part, tuple) else part for part in schema["choices"]]
        return {**schema, "choices": [(_strict(part, own), EITHER) for part in choices]}
    made = {
        key: part if key in ("default", "metadata", "config") else _strict(part, own)
        for key, part in schema.items()
    }
    if kind in ("int", "float"):
        above = {"gt", "ge"} & made.keys()
        below = {"lt", "le"} & made.keys()
        made |= {"strict": True} | ({} if above else {"ge": -LARGEST})
        made |= {} if below else {"le": LARGEST}
    if kind == "float":
        made["allow_inf_nan"] = False
        return core_schema.no_info_before_validator_function(_with_exponent, made)
    if kind == "bool":
        made["strict"] = True
    if kind == "str":
        made["strict"] = True
        return core_schema.no_info_before_validator_function(_printable, made)
    return made


def _with_exponent(value: Any) -> Any:
    written = isinstance(value, str) and _EXPONENT.fullmatch(value)
    return float(value) if written else value


def _printable(value: Any) -> Any:
    if isinstance(value, str) and ("\0" in value or re.search(r"[\ud800-\udfff]", value)):
        raise PydanticCustomError("unwritable", "must be text that a file can hold")
    return value


class Section(BaseModel):
    """A group of settings: immutable, and strict about its keys and values.

    Whole numbers, numbers, truth values and text are each only themselves: `true` and `"16"` are no
    numbers. Numbers are finite, and up to `LARGEST` where nothing else is said. Lists stand for
    tuples. A float may be written `1e-3`, which YAML 1.1 reads as text for want of a point.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    UNTRACKED: ClassVar[frozenset[str]] = frozenset()
    """Keys that never change a result, so that changing them reruns nothing."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = _strict(handler(source), own=cls)
        return schema


def check_steps(key: str, steps: tuple[int, ...], last: int) -> None:
    """Refuse steps that do not rise, or that lie outside 1 to `last`.

    Raises:
        ValueError: naming the key.
    """
    if not steps or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(f"{key}: must be a rising list of steps: {list(steps)}")
    if steps[0] < 1 or steps[-1] > last:
        wrong = steps[0] if steps[0] < 1 else steps[-1]
        raise ValueError(f"{key}: step {wrong} is not between 1 and {last}, the stage's last step")
