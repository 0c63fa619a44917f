"""Errors that are the user's to mend, and how a wrong setting is explained in one line."""

import difflib
import math
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError


class UserError(Exception):
    """A mistake in what the user gave: settings, files or arguments.

    Its message is one line that names the key or file, what was wrong and what is allowed.
    Programs print that line without a traceback.
    """


EITHER = "|"
"""In pydantic's path of a wrong key: one of several forms that a value may have."""
KEY = "[key]"
"""In such a path: the key before it is wrong, and not its value."""
EXPLAINED = "explained"

LISTED, PROBLEMS = 40, 5
"""How many names, and how many problems, one line holds before it counts the others."""

Path = tuple[int | str, ...]


def explained(text: str) -> PydanticCustomError:
    """For validators: an error that names its keys in full already."""
    return PydanticCustomError(EXPLAINED, "{text}", {"text": text})


def listed(items: Iterable[object], most: int = LISTED, by: str = ", ") -> str:
    """Items in a line; of more than `most` the first ones, and how many others there are."""
    texts = list(map(str, items))
    more = [f"… and {len(texts) - most:,} more"] if len(texts) > most else []
    return by.join([*texts[:most], *more])


def meant(name: object, allowed: Iterable[str]) -> str:
    """A question after the nearest of the allowed names; empty if none is near."""
    near = difflib.get_close_matches(str(name), list(allowed), n=1)
    return f", did you mean '{near[0]}'?" if near else ""


def choices(name: object, allowed: Iterable[str], called: str = "allowed") -> str:
    """The end of a line about an unknown name: the nearest allowed one, and all of them."""
    names = list(allowed)
    return f"{meant(name, names)} ({called}: {listed(names)})"


def shown(value: object) -> str:
    """A value as a file of settings would have it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' * (value < 0)}.inf"
    if isinstance(value, date):  # which YAML reads where a day is written without quotes
        return str(value)
    try:
        text = repr(list(value) if isinstance(value, tuple) else value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "so large a number"
    return text if len(text) <= 60 else text[:57] + "..."


def explain(error: ValidationError, model: type[BaseModel], at: str = "") -> str:
    """One line for a user: each wrong key of `model` by its path, the problem, what is allowed.

    Args:
        at: path of the model itself within the whole configuration.
    """
    problems: dict[str, None] = {}
    for details in _of_one_value(error.errors(include_url=False)):
        problems |= dict.fromkeys(_explain_one(details, model, at))
    return listed(problems, PROBLEMS, "; ")


def _of_one_value(errors: Sequence[ErrorDetails]) -> Iterable[list[ErrorDetails]]:
    """Errors grouped by the value with several forms, or the list, that they are about.

    Of forms, those count that the value fits furthest.
    """
    groups: dict[Path, list[ErrorDetails]] = {}
    for detail in errors:
        path = detail["loc"]
        if detail["type"] == "too_short" and len(detail["input"]) > detail["ctx"]["actual_length"]:
            continue  # long enough, but for items that are wrong themselves
        if EITHER in path:
            path = path[: path.index(EITHER)]
        elif detail["type"] == "missing" and path and isinstance(path[-1], int):
            path = path[:-1]
        groups.setdefault(path, []).append(detail)
    for group in groups.values():
        furthest = max(len(_keys(detail)) for detail in group)
        yield [detail for detail in group if len(_keys(detail)) == furthest]


def _keys(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if part not in (EITHER, KEY))


def _explain_one(details: list[ErrorDetails], model: type[BaseModel], at: str) -> Iterable[str]:
    """The problems of one value: what it must be, in each of its forms."""
    expected: dict[str, tuple[list[str], object]] = {}  # key -> what is allowed, what was given
    for detail in details:
        path, kind = _keys(detail), detail["type"]
        key = ".".join(map(str, (*([at] if at else []), *path)))
        if kind == EXPLAINED:
            yield detail["msg"]
        elif kind == "extra_forbidden":
            allowed = _allowed_keys(model, path[:-1])
            yield f"unknown key '{key}'{choices(path[-1], allowed) if allowed else ''}"
        elif kind == "missing" and not isinstance(path[-1], int):
            yield f"key '{key}' is missing"
        elif kind == "value_error":  # our own checks begin with the key inside their section
            problem = detail["msg"].removeprefix("Value error, ")
            yield f"{key}.{problem}" if key else problem
        elif detail["loc"][-1:] == (KEY,):
            yield f"key '{key}' must be text (in quotes)"
        else:
            if kind == "missing":  # of a list: the last of those that lack is the longest
                key = key.rpartition(".")[0]
                expected.pop(key, None)
            texts, _ = expected.setdefault(key, ([], detail["input"]))
            texts.append(_expected(detail))
    for key, (texts, given) in expected.items():
        allowed_forms = " or ".join(dict.fromkeys(texts))
        subject = f"key '{key}' " if key else ""
        yield f"{subject}must be {allowed_forms}, not {shown(given)}"


_EXPECTED = {
    "a whole number": ("int_type", "int_from_float", "int_parsing", "int_parsing_size"),
    "a number": ("float_type", "float_parsing"),
    "a finite number": ("finite_number",),
    "true or false": ("bool_type", "bool_parsing"),
    "a list": ("tuple_type", "list_type"),
    "a mapping": (
        "dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type",
    ),
}  # fmt: skip
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _expected(detail: ErrorDetails) -> str:
    """What a value must be."""
    kind, context = detail["type"], detail.get("ctx", {})
    for text, kinds in _EXPECTED.items():
        if kind in kinds:
            return text
    if kind in _BOUNDS:
        word, name = _BOUNDS[kind]
        bound = context[name]
        return f"{word} {bound:g}" if isinstance(bound, float) else f"{word} {bound}"
    if kind == "string_type":
        return "text (in quotes)" if isinstance(detail["input"], int | float | date) else "text"
    if kind == "missing":
        return f"a list of {int(detail['loc'][-1]) + 1}"
    if kind in ("too_long", "too_short"):
        word, name = ("most", "max") if kind == "too_long" else ("least", "min")
        return f"a list of at {word} {context[f'{name}_length']}"
    if kind == "literal_error":
        return str(context["expected"])
    return detail["msg"].removeprefix("Input should be ").removeprefix("must be ")


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
