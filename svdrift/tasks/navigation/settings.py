"""Settings of navigation. Light, because the Snakefile imports it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PrivateAttr, model_validator

from svdrift.errors import UserError, choices, shown
from svdrift.section import Section
from svdrift.tasks.base import TaskPart, TaskSettings, Tokens
from svdrift.tasks.navigation.routes import LONGEST, RULES, Rule, Words, other
from svdrift.tasks.splits import ID, OOD, Split
from svdrift.tasks.usual import FURTHER, ROLES, usual_splits

SHORTEST_REPLY = {"compact": 13, "paper": 80}
"""Tokens, by `prompt_style`, below which gold replies are cut off."""
TOKENS = {"compact": Tokens(73, 11, 4), "paper": Tokens(340, 46, 25)}
"""Averages by `prompt_style`; `paper` at four characters a token."""


class WorldSettings(Section):
    """Which routes are posed."""

    legs: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(le=LONGEST)]] = Field(
        (2, 5), description="Fewest and most legs of a route."
    )
    blocks: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(le=9)]] = Field(
        (1, 4),
        description="Shortest and longest leg; a route never meets itself.",
    )
    headings: Literal[4, 8] = Field(8, description="Headings, 90 or 45 degrees apart.")
    landmarks: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Probability of a landmark at an intersection; the destination has one.",
    )
    names: Literal["known", "new"] = Field(
        "known", description="Names of landmarks: 40 `known` ones, or 10 `new` ones."
    )

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for key in ("legs", "blocks"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: [{low}, {high}] does not ascend")
        return self


class ProblemsSettings(Section):
    """How many problems, which are steps of routes, each split has."""

    demonstrations: int = Field(2048, gt=0, description="Steps for SFT.")
    practice: int = Field(8192, gt=0, description="Steps for RL.")
    selection: int = Field(500, gt=0, description="Steps of each selection set.")
    test: int = Field(2000, gt=0, description="Steps of each test set.")
    demonstrated_test: int = Field(
        500, gt=0, description="Demonstrated steps on which SFT's fit is measured."
    )


class PlaySettings(TaskPart):
    """What posing and verifying steps takes."""

    prompt_style: Literal["compact", "paper"] = Field(
        "compact",
        description="`compact`: one word per token, for the tiny model. `paper`: an instruction "
        "and a JSON reply, for real language models.",
    )


class SkillsSettings(TaskPart):
    """What pretraining and the reference table take: the worlds, the trained one first."""

    worlds: dict[str, WorldSettings]
    words: Words
    wrap: bool


class DealSettings(TaskPart):
    """What dealing one split takes."""

    world: WorldSettings
    rule: Rule
    words: Words
    wrap: bool


class Settings(PlaySettings, TaskSettings):
    """Following directions, where the rule of the tests out of distribution names turns otherwise:
    by the side (`relative`) and not by the new heading (`absolute`), or the other way round.
    """  # noqa: D205

    max_reply_tokens: int = Field(
        16, gt=0, le=2**20, description="Longest reply in tokens; compact ones have at most 13."
    )
    id_rule: Rule = Field(
        "absolute",
        description="The rule that is trained, `absolute` or `relative`; OOD is the other one.",
    )
    words: Words = Field(
        "both",
        description="Words for turns in the instruction: `both` as published, so that the rule "
        "says which one to copy; `heading`, so that relative turns must be worked out from two "
        "headings; `relative`, only without ambiguity: 4 headings, wrapped.",
    )
    wrap: bool = Field(
        True,
        description="Turns across north get the right side's word; published: false.",
    )
    trained: WorldSettings = Field(
        WorldSettings(), description="The routes of all splits but further tests."
    )
    shifts: dict[str, WorldSettings] = Field(
        default_factory=dict,
        description="Further worlds by name, each with a test `ood_test_{name}` under the ID rule. "
        "Keys left out take their defaults. A prompt and its reply have up to 274 tokens with 8 "
        "legs, so that the tiny model then needs more `positions`.",
    )
    problems: ProblemsSettings = ProblemsSettings()

    _varied: dict[str, Any] = PrivateAttr(default_factory=dict)  # in a copy made by `vary`

    @model_validator(mode="after")
    def _real_shifts(self) -> Self:
        for name, world in self.shifts.items():
            if world == self.trained:
                raise ValueError(f"shifts.{name}: is what is trained")
            if not re.fullmatch(r"[A-Za-z0-9_]+", name) or name in (ID, OOD, "trained"):
                raise ValueError(
                    f"shifts: {name!r} cannot name a split (allowed: letters, digits and _; but "
                    f"not {ID}, {OOD} or trained)"
                )
        return self

    @model_validator(mode="after")
    def _whole_replies(self) -> Self:
        least = SHORTEST_REPLY[self.prompt_style]
        if self.max_reply_tokens < least:
            raise ValueError(
                f"max_reply_tokens: {self.max_reply_tokens} cuts off replies of prompt_style "
                f"{self.prompt_style!r} (allowed: {least} or more)"
            )
        return self

    @model_validator(mode="after")
    def _clear_words(self) -> Self:
        if problem := self._ambiguity(self.words):
            raise ValueError(problem)
        return self

    def _ambiguity(self, words: Words) -> str:
        """Why such words do not tell a heading; empty if they do."""
        clear = self.wrap and all(world.headings == 4 for world in self._worlds.values())
        if words != "relative" or clear:
            return ""
        return (
            "words: 'relative' does not tell the new heading (allowed: both, heading; or "
            "headings: 4 in trained and all shifts, and wrap: true)"
        )

    @property
    def _worlds(self) -> dict[str, WorldSettings]:
        return {"trained": self.trained, **self.shifts}

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits of the card game, with a test for each further world."""
        return usual_splits("routes", self.shifts)

    def play(self, *splits: str) -> PlaySettings:
        """What playing problems of any split takes."""
        return PlaySettings(name=self.name, prompt_style=self.prompt_style)

    def deal(self, split: str) -> DealSettings:
        """What dealing a split takes."""
        further = split.startswith(FURTHER)
        ood = split.startswith(OOD) and not further
        given = {"rule": other(self.id_rule) if ood else self.id_rule, "words": self.words}
        return DealSettings(
            name=self.name,
            world=self.shifts[split.removeprefix(FURTHER)] if further else self.trained,
            wrap=self.wrap,
            **given | self._varied,
        )

    def count(self, split: str) -> int:
        """How many steps of a split are asked for."""
        role = ROLES.get(split, "test")
        key = {"training": split, "fit": "demonstrated_test"}.get(role, role)
        return int(getattr(self.problems, key))

    def check_supply(self, seeds: Sequence[int]) -> None:
        """See `svdrift.tasks.navigation.dealing`."""
        from svdrift.tasks.navigation.dealing import check_supply

        for split in self.splits:
            if split.role != "fit":
                check_supply(split.name, self.deal(split.name), self.count(split.name), seeds)

    def vary(self, **changes: Any) -> Self:
        """Every split under another `rule`, or with other `words` in its instructions.

        Raises:
            UserError: naming what can vary, or the values that are allowed.
        """
        allowed: dict[str, tuple[str, ...]] = {"rule": RULES, "words": get_args(Words)}
        for key, value in changes.items():
            if key not in allowed:
                raise UserError(f"{key!r} cannot vary (allowed: {', '.join(allowed)})")
            if value not in allowed[key]:
                raise UserError(f"{key}: {shown(value)} is unknown{choices(value, allowed[key])}")
        if problem := self._ambiguity(changes.get("words", self.words)):
            raise UserError(problem)
        varied = self.model_copy()
        varied._varied = self._varied | changes
        return varied

    @property
    def skills(self) -> SkillsSettings:
        """What pretraining and the reference table take."""
        return SkillsSettings(name=self.name, worlds=self._worlds, words=self.words, wrap=self.wrap)

    @property
    def tokens(self) -> Tokens:
        """Typical lengths of turns in the prompt style."""
        return TOKENS[self.prompt_style]

    @property
    def summary(self) -> str:
        """Size of the tests, and the rules."""
        return (
            f"{self.problems.test:,} test steps per shift and seed; turns are {self.id_rule} "
            f"(ID) or {other(self.id_rule)} (OOD)"
        )
