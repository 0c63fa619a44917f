"""The keys of a stage in the configuration: those that every stage has, and its method's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from svdrift.checkpoints import RESERVED, STAGE
from svdrift.errors import UserError, choices, explain, shown
from svdrift.section import Section
from svdrift.training.method import MethodSettings


class Every(Section):
    """Checkpoints at regular steps."""

    every: int = Field(gt=0, description="A checkpoint at each multiple of it.")
    of: str | tuple[str, ...] | None = Field(
        None, description="The starts from which they are kept; none for all of them."
    )


class StageKeys(Section):
    """The keys that every stage has; all others are settings of its method."""

    method: str = Field(description="A method of `svdrift/training/`, or the path of your own.")
    start: str | tuple[str, ...] | None = Field(
        None,
        alias="from",
        description="The checkpoint that it starts from, or a list: `sft@64`, `sft@end`, `base`, "
        "`starts of ppo`.",
    )
    on: str | dict[str, Any] | None = Field(
        None, description="What it learns from: a split, or problems made from one."
    )
    keep: tuple[int, ...] | Every = Field(
        (), description="Steps whose checkpoints are kept and evaluated; the end always is."
    )
    matches: str | None = Field(
        None, description="A stage whose counts, batch and learning rate it copies."
    )
    label: str | None = Field(
        None,
        description="What figures and claims call it; none for its method's label where it has the "
        "method's name, or alone has a method of your own; else its own name.",
    )


def read_keys(name: str, stage: Any) -> tuple[StageKeys, dict[str, Any]]:
    """Split what a stage is given into the keys of every stage and the settings of its method.

    Raises:
        UserError: the name or a key that every stage has is wrong.
    """
    key = f"stages.{name}"
    if not re.fullmatch(STAGE, name) or name in RESERVED:
        raise UserError(
            f"{key}: not a name of a stage (allowed: a-z, 0-9 and _, beginning with a letter; not "
            f"{', '.join(RESERVED)})"
        )
    if not isinstance(stage, Mapping):
        raise UserError(f"{key}: must be a mapping with a method, not {shown(stage)}")
    common = {field.alias or name for name, field in StageKeys.model_fields.items()}
    if "keep" in stage:
        stage = {**stage, "keep": _keep(f"{key}.keep", stage["keep"])}
    try:
        keys = StageKeys.model_validate({k: v for k, v in stage.items() if k in common})
    except ValidationError as error:
        raise UserError(explain(error, StageKeys, at=key)) from None
    return keys, {k: v for k, v in stage.items() if k not in common}


def _keep(key: str, given: Any) -> Any:
    """Choose the form first, so that a mistake in it is explained alone."""
    if isinstance(given, Mapping):
        try:
            return Every.model_validate(dict(given))
        except ValidationError as error:
            raise UserError(explain(error, Every, at=key)) from None
    if not isinstance(given, list | tuple):
        raise UserError(f"{key}: must be a list of steps, or {{every: N}}, not {shown(given)}")
    return given


def check_keys(key: str, own: Mapping[str, Any], model: type[MethodSettings]) -> None:
    """Refuse keys that are neither the method's nor every stage's.

    Raises:
        UserError: naming the key and the nearest one that is allowed.
    """
    common = [field.alias or name for name, field in StageKeys.model_fields.items()]
    allowed = [*common, *model.model_fields]
    for name in own:
        if name not in allowed:
            raise UserError(f"unknown key '{key}.{name}'{choices(name, allowed)}")
