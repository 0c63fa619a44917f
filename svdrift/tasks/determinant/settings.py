"""Settings of determinants. Light, because the Snakefile imports it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from svdrift.errors import UserError, choices, shown
from svdrift.section import Section
from svdrift.tasks.base import TaskPart, TaskSettings, Tokens
from svdrift.tasks.determinant.matrices import RULES
from svdrift.tasks.determinant.prompts import LARGEST_ENTRY
from svdrift.tasks.splits import ID, OOD, Split
from svdrift.tasks.usual import FURTHER, usual_splits

Rule = Literal["determinant", "permanent"]

TRAINING = ("demonstrations", "practice")

MOST = 2 * 10**5
"""Matrices of a form that are listed; of more, samples are drawn."""


class Form(Section):
    """Which matrices are posed, and what is asked for."""

    rule: Rule = Field("determinant", description="`determinant` or `permanent`.")
    size: Literal[2, 3] = Field(2, description="Number of rows.")
    low: int = Field(-4, ge=-LARGEST_ENTRY, le=LARGEST_ENTRY, description="Lowest entry.")
    high: int = Field(4, ge=-LARGEST_ENTRY, le=LARGEST_ENTRY, description="Highest entry.")

    @model_validator(mode="after")
    def _some_entries(self) -> Self:
        if self.high - self.low < 3:
            raise ValueError(f"high: {self.high} must be at least 3 above low ({self.low})")
        return self

    @property
    def matrices(self) -> int:
        """How many there are."""
        return int((self.high - self.low + 1) ** (self.size**2))


class MatricesSettings(Section):
    """How many matrices each split has."""

    demonstrations: int = Field(1024, gt=0, description="Matrices for SFT (at most).")
    practice: int = Field(8192, gt=0, description="Matrices for RL (at most).")
    selection: int = Field(300, gt=0, description="Matrices of each selection set.")
    test: int = Field(800, gt=0, description="Matrices of each test set.")
    demonstrated_test: int = Field(
        300, gt=0, description="Demonstrated matrices on which SFT's fit is measured."
    )
    demonstrated_share: float = Field(
        0.3, gt=0, le=1, description="Share of the training groups that SFT demonstrates."
    )
    selection_share: float = Field(
        0.1, gt=0, lt=0.5, description="Share of all groups kept for selection."
    )
    test_share: float = Field(0.2, gt=0, lt=0.5, description="Share of all groups kept for tests.")


class PlaySettings(TaskPart):
    """What posing and verifying matrices takes."""

    prompt_style: Literal["compact", "paper"] = Field(
        "compact",
        description="`compact`: one word per token, for the tiny model. `paper`: an instruction "
        "and a JSON reply, for real language models.",
    )


class SkillsSettings(TaskPart):
    """What pretraining and the reference table take: the forms, the trained one first."""

    forms: tuple[Form, ...]


class DealSettings(TaskPart):
    """What dealing one split takes."""

    form: Form
    id_form: Form
    matrices: MatricesSettings


class Settings(PlaySettings, TaskSettings):
    """Determinants of small integer matrices, and permanents as the shift of the rule."""

    max_reply_tokens: int = Field(
        40, gt=0, le=2**20, description="Longest reply in tokens; the compact one of 3 x 3 has 37."
    )
    trained: Form = Field(Form(), description="What is trained, and evaluated in distribution.")
    shifts: dict[str, Form] = Field(
        default_factory=lambda: {
            "rule": Form(rule="permanent"),
            "size": Form(size=3, low=-5, high=5),
        },
        min_length=1,
        description="What is evaluated out of distribution, by name. Selection and the story of "
        "the study use the first; each further one has a test of its own, `ood_test_{name}`.",
    )
    matrices: MatricesSettings = MatricesSettings()

    _varied_rule: Rule | None = PrivateAttr(None)  # of all splits, in a copy made by `vary`

    @model_validator(mode="after")
    def _listed(self) -> Self:
        if self.trained.matrices > MOST:
            raise ValueError(
                f"trained: there are {self.trained.matrices:,} such matrices, whose groups are "
                f"shared out one by one (allowed: at most {MOST:,}; size 3 can be a shift)"
            )
        return self

    @model_validator(mode="after")
    def _real_shifts(self) -> Self:
        for name, form in self.shifts.items():
            if form == self.trained:
                raise ValueError(f"shifts.{name}: is what is trained")
            if not re.fullmatch(r"[A-Za-z0-9_]+", name) or name in (ID, OOD):
                raise ValueError(
                    f"shifts: {name!r} cannot name a split (allowed: letters, digits and _; but "
                    f"not {ID} or {OOD})"
                )
        if self.matrices.selection_share + self.matrices.test_share >= 1:
            raise ValueError("matrices.test_share: leaves nothing to train on")
        if self.prompt_style == "paper" and self.max_reply_tokens < 60:
            raise ValueError(
                f"max_reply_tokens: {self.max_reply_tokens} cuts off every reply of prompt_style "
                "'paper' (allowed: 60 or more)"
            )
        return self

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits of the card game, with a test for each further shift."""
        return usual_splits("matrices", list(self.shifts)[1:])

    def form_of(self, split: str) -> Form:
        """The form of a split's matrices."""
        if split.startswith(FURTHER):
            form = self.shifts[split.removeprefix(FURTHER)]
        else:
            form = next(iter(self.shifts.values())) if split.startswith(OOD) else self.trained
        return (
            form
            if self._varied_rule is None
            else form.model_copy(update={"rule": self._varied_rule})
        )

    def play(self, *splits: str) -> PlaySettings:
        """What playing problems of any split takes."""
        return PlaySettings(name=self.name, prompt_style=self.prompt_style)

    def deal(self, split: str) -> DealSettings:
        """What dealing a split takes."""
        return DealSettings(
            name=self.name,
            form=self.form_of(split),
            id_form=self.trained,
            matrices=self.matrices,
        )

    def count(self, split: str) -> int:
        """How many matrices of a split are asked for."""
        if split in TRAINING:
            return int(getattr(self.matrices, split))
        if split == "demonstrated":
            return self.matrices.demonstrated_test
        return self.matrices.selection if split.endswith("selection") else self.matrices.test

    def check_supply(self, seeds: Sequence[int]) -> None:
        """See `svdrift.tasks.determinant.dealing`."""
        from svdrift.tasks.determinant.dealing import check_supply

        for seed in seeds:
            check_supply(self, seed)

    def vary(self, **changes: Any) -> Self:
        """Every split under another `rule`.

        Raises:
            UserError: naming what can vary, or the values that are allowed.
        """
        for key, value in changes.items():
            if key != "rule":
                raise UserError(f"{key!r} cannot vary (allowed: rule)")
            if value not in RULES:
                raise UserError(f"rule: {shown(value)} is not a rule{choices(value, RULES)}")
        varied = self.model_copy()
        varied._varied_rule = changes.get("rule", self._varied_rule)
        return varied

    @property
    def skills(self) -> SkillsSettings:
        """What pretraining and the reference table take."""
        return SkillsSettings(name=self.name, forms=(self.trained, *self.shifts.values()))

    @property
    def tokens(self) -> Tokens:
        """Typical lengths of turns in the prompt style."""
        return Tokens(8, 11, 2) if self.prompt_style == "compact" else Tokens(140, 40, 30)

    @property
    def summary(self) -> str:
        """Size of the tests, and the shifts."""
        return (
            f"{self.matrices.test:,} test matrices per shift and seed; "
            f"{self.trained.size} x {self.trained.size} {self.trained.rule}s trained, OOD: "
            + ", ".join(self.shifts)
        )
