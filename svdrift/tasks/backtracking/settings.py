"""Settings of the card game with traces. Light, because the Snakefile imports it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from svdrift.errors import UserError, explain
from svdrift.section import Section
from svdrift.tasks.base import Tokens
from svdrift.tasks.general_points import settings as game
from svdrift.tasks.general_points.settings import PlaySettings

__all__ = ["DealSettings", "PlaySettings", "Settings", "SkillsSettings"]

FORMULA = 17  # tokens of a reply without a trace
PART = 6  # tokens of a step, its comma included


class TraceSettings(Section):
    """What stands between the numbers and the formula of a demonstration."""

    kind: Literal["direct", "right", "filler", "corrupt", "shuffled"] = Field(
        "right", description="See `svdrift/tasks/backtracking/traces.py`."
    )
    dead_ends: int = Field(0, ge=0, le=8, description="Dead ends of each trace.")


class DealSettings(game.DealSettings):
    """What dealing one split takes, and the trace of a variant's demonstrations."""

    most_dead_ends: int
    trace: TraceSettings | None


class SkillsSettings(game.SkillsSettings):
    """What pretraining takes."""

    most_dead_ends: int  # of a trace


class Settings(game.Settings):
    """The card game, where a reply may say how it got to its formula."""

    max_reply_tokens: int = Field(
        160, gt=0, le=2**20, description="Longest reply in tokens; with five dead ends 141 or less."
    )
    most_dead_ends: int = Field(
        5,
        ge=0,
        le=8,
        description="Dead ends that every demonstrated hand must have room for, in all variants, "
        "so that all demonstrate the same hands.",
    )

    _trace: TraceSettings | None = PrivateAttr(None)  # of demonstrations, in a copy by `vary`

    @model_validator(mode="after")
    def _compact(self) -> Self:
        if self.prompt_style != "compact":
            raise ValueError("prompt_style: traces are written in the style 'compact' alone")
        if self._hand_sizes != (4,):
            raise ValueError("hand_size: traces are of four cards alone, in shifts, too")
        return self

    def deal(self, split: str) -> DealSettings:
        """See the card game; with the trace of a variant."""
        return DealSettings(
            **super().deal(split).model_dump(),
            most_dead_ends=self.most_dead_ends,
            trace=self._trace,
        )

    def vary(self, **changes: Any) -> Self:
        """What can vary in the card game, and the `trace` of demonstrations.

        Raises:
            UserError: naming what can vary, or what is wrong in `trace`.
        """
        given = changes.pop("trace", None)
        try:
            varied = super().vary(**changes)
        except UserError as error:
            raise UserError(str(error).replace("rule, target)", "rule, target, trace)")) from None
        varied._trace = self._trace
        if given is not None:
            try:
                varied._trace = TraceSettings.model_validate(given)
            except ValidationError as error:
                raise UserError(explain(error, TraceSettings, at="trace")) from None
            if varied._trace.dead_ends > self.most_dead_ends:
                raise UserError(
                    f"trace.dead_ends: {varied._trace.dead_ends} lies above task.most_dead_ends "
                    f"{self.most_dead_ends}"
                )
        return varied

    @property
    def skills(self) -> SkillsSettings:
        """What pretraining takes."""
        given = super().skills.model_dump()
        return SkillsSettings(**given, most_dead_ends=self.most_dead_ends)

    @property
    def tokens(self) -> Tokens:
        """Of a trace with two dead ends."""
        return Tokens(16, FORMULA + 3 * PART + 2 * (3 * PART + 3), 4)
