"""Errors that are the user's to mend, and how a wrong setting is explained in one line."""

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError


class UserError(Exception):
    """A mistake in what the user gave: settings, files or arguments.

    Its message is one line that names the key or file, what was wrong and what is allowed.
    Programs print that line without a traceback.
    """


EXPLAINED = "explained"


def explained(text: str) -> PydanticCustomError:
    """For validators: an error that names its keys in full already."""
    return PydanticCustomError(EXPLAINED, "{text}", {"text": text})


def explain(error: ValidationError, model: type[BaseModel], at: str = "") -> str:
    """One line for a user: each wrong key of `model` by its path, the problem, what is allowed.

    Args:
        at: path of the model itself within the whole configuration.
    """
    return "; ".join(_explain_one(detail, model, at) for detail in error.errors())


def _explain_one(detail: ErrorDetails, model: type[BaseModel], at: str) -> str:
    path = detail["loc"]
    key = ".".join(map(str, (*([at] if at else []), *path)))
    if detail["type"] == EXPLAINED:
        return detail["msg"]
    if detail["type"] == "extra_forbidden":
        allowed = _allowed_keys(model, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), allowed, n=1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        return f"unknown key '{key}'{hint}" + (
            f" (allowed: {', '.join(allowed)})" if allowed else ""
        )
    if detail["type"] == "missing":
        return f"key '{key}' is missing"
    problem = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if detail["type"] == "value_error":  # our own checks begin with the key inside their section
        return f"{key}.{problem}" if key else problem
    given = repr(detail["input"])
    return f"key '{key}' {problem}, not {given if len(given) <= 60 else given[:57] + '...'}"


def _allowed_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys of the (nested) model at `path`; none if a union leaves open which model it is."""
    candidates: list[type[BaseModel]] = [model]
    for part in path:
        fields = [candidate.model_fields.get(str(part)) for candidate in candidates]
        inner = [m for field in fields if field for m in _models_in(field.annotation)]
        # An index of a list, a key of a mapping or a union's tag names no field: stay.
        candidates = inner or candidates
    return list(candidates[0].model_fields) if len(candidates) == 1 else []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
