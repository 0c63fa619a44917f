"""What is repaired, and how."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from svdrift.errors import UserError
from svdrift.recovery.grid import expand
from svdrift.recovery.interventions import Intervention
from svdrift.section import Section
from svdrift.spectra.settings import CHECKPOINTS

GridRow = dict[str, Any]  # fields of an Intervention, read by `svdrift.recovery.grid`


def _check_grid(key: str, rows: tuple[GridRow, ...]) -> None:
    try:
        expand(rows)
    except UserError as error:
        raise ValueError(f"{key}: {error}") from None


class RepairSettings(Section):
    """A checkpoint that is given something of another one."""

    target: str = Field(description="The checkpoint that is repaired.")
    anchor: str = Field(description="The checkpoint that its repair is taken from.")
    interventions: tuple[GridRow, ...] | None = Field(
        None,
        description="A grid of its own; none for `recovery.interventions` and "
        "`recovery.extra_interventions`.",
    )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _check_grid("interventions", self.interventions or ())
        return self


class RecoverySettings(Section):
    """Which checkpoints are repaired from which others, and by which interventions."""

    repairs: Literal["standard"] | tuple[RepairSettings, ...] = Field(
        "standard",
        description="List of {target, anchor, interventions}, the last a grid of its own or left "
        f"out. {CHECKPOINTS} `standard`: last with anchor; and, by `side_interventions`, RL's "
        "result from the moderate start with that start, and that start with anchor.",
    )
    interventions: tuple[GridRow, ...] = Field(
        (
            {"kind": "directions", "top": [0.1, 0.2, 0.3, 1]},
            {"kind": "directions", "bottom": 0.2},
            {
                "kind": "directions",
                "top": 1,
                "layers": [[0, 0.25], [0.25, 0.5], [0.5, 0.75], [0.75, 1]],
            },
            {"kind": "triplets", "top": 0.2},
            {"kind": "values", "top": [0.2, 1]},
            {"kind": "random_directions", "top": 0.2},
            {"kind": "interpolate", "weight": [0.25, 0.5, 0.75]},
            {"kind": "reset", "layers": [[0, 0.5], [0.5, 1]]},
        ),
        description="Grid of interventions: rows of {kind, top, bottom, layers, modules, "
        "embedding_and_head, weight, full_rank_reset, seed, shares}. Any value may be a list of "
        "alternatives, and a row stands for every combination. One job each.",
    )
    extra_interventions: tuple[GridRow, ...] = Field(
        (),
        description="Further rows of `interventions`, so that an overlay adds some without "
        "repeating that list.",
    )
    side_interventions: tuple[GridRow, ...] = Field(
        ({"kind": "directions", "top": [0.2, 1]}, {"kind": "interpolate", "weight": 0.5}),
        description="The smaller grid of the other standard repairs.",
    )

    on_selection: bool = Field(
        False,
        description="Evaluate repaired models on the problems for selection too, so that an "
        "intervention can be chosen there.",
    )

    @property
    def grid(self) -> tuple[GridRow, ...]:
        """The interventions and the further ones."""
        return (*self.interventions, *self.extra_interventions)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _check_grid("interventions", self.interventions)
        _check_grid("extra_interventions", self.extra_interventions)
        ids = {intervention.id for intervention in expand(self.interventions)}
        for intervention in expand(self.extra_interventions):
            if intervention.id in ids:
                raise ValueError(
                    f"extra_interventions: {intervention.id} is among the interventions already "
                    "(allowed: others than these)"
                )
        _check_grid("side_interventions", self.side_interventions)
        return self


class Repair(NamedTuple):
    """One repair with its grid spelt out. Both checkpoints by id, or `anchor`."""

    target: str
    anchor: str
    interventions: tuple[Intervention, ...]
