"""The game and its hands."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from svdrift.settings.section import Section
from svdrift.tasks.general_points.game import possible_values
from svdrift.tasks.general_points.splits import OOD_SPLITS

Face = int  # value of a face card under a rule


class DecksSettings(Section):
    """From which multisets of values the hands of each purpose are dealt."""

    demonstrated_multisets: int | Literal["all"] = Field(
        60, description="Value multisets that SFT demonstrates; `all` for every practised one."
    )
    selection_multisets: int = Field(
        60, gt=0, description="ID value multisets kept for choosing checkpoints and settings."
    )
    test_multisets: int = Field(
        100, gt=0, description="ID value multisets that neither SFT nor RL ever sees."
    )
    pretraining_holdout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of all value multisets that no training stage ever sees, "
        "pretraining included. 0 for a study that starts from an existing model.",
    )
    ood_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the rank multisets with a face card that are kept for OOD "
        "selection and test, and so are never dealt for SFT or RL.",
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Your own hands: evaluation split (`id_test`, `ood_test`) to a CSV file "
        "with a column `cards`, such as `3 J 5 10`.",
    )

    @model_validator(mode="after")
    def _known_splits(self) -> Self:
        for split in self.files:
            if split not in ("id_test", "ood_test"):
                raise ValueError(f"files: {split!r} is not a test split (id_test, ood_test)")
        return self


class HandsSettings(DecksSettings):
    """How many hands are dealt for each purpose, and from how many multisets of values."""

    demonstrations: int = Field(2048, gt=0, description="Hands dealt for SFT (at most).")
    practice: int = Field(8192, gt=0, description="Hands dealt for RL (at most).")
    selection: int = Field(500, gt=0, description="Hands per rule in the selection sets.")
    test: int = Field(1000, gt=0, description="Hands per rule in the test sets.")
    demonstrated_test: int = Field(
        500, gt=0, description="Hands from demonstrated multisets on which SFT's fit is measured."
    )


class GameSettings(Section):
    """The verifiable task, as far as playing saved problems goes."""

    name: Literal["general_points"] = Field(
        "general_points", description="The task: `general_points` is the 24-point card game."
    )
    prompt_style: Literal["compact", "paper"] = Field(
        "compact",
        description="`compact`: one word per token, for the tiny model. "
        "`paper`: an instruction prompt for real language models, with the published reply form.",
    )
    rules: dict[str, tuple[Face, Face, Face]] = Field(
        default_factory=lambda: {"tens": (10, 10, 10), "faces": (11, 12, 13)},
        description="Rules by name: the values of J, Q and K.",
    )

    @model_validator(mode="after")
    def _values_of_cards(self) -> Self:
        for name, values in self.rules.items():
            if not all(1 <= value <= 60 for value in values):
                raise ValueError(f"rules.{name}: values of J, Q, K must lie in 1..60: {values}")
        return self


class SkillsSettings(Section):
    """What pretraining takes from the task: neither which rule is which, nor how many hands."""

    name: Literal["general_points"]
    target: int
    values: tuple[int, ...]  # that a card can have under some rule, in ascending order
    holdout: float  # share of their multisets that must not appear


class DealSettings(Section):
    """What dealing one split takes from the task: its own rule, and not how many hands."""

    name: Literal["general_points"]
    target: int
    rule: str
    faces: tuple[Face, Face, Face]  # values of J, Q and K under the rule
    values: tuple[int, ...]  # that a card can have under some rule, in ascending order
    decks: DecksSettings


class TaskSettings(GameSettings):
    """The verifiable task: its rules, its prompts and its hands."""

    max_reply_tokens: int = Field(
        18, gt=0, description="Longest reply in tokens; the compact solution has 17."
    )
    target: int = Field(24, gt=0, le=60, description="The number that a formula must reach.")
    id_rule: str = Field("tens", description="Rule of SFT, RL and in-distribution evaluation.")
    ood_rule: str = Field("faces", description="Rule of out-of-distribution evaluation.")
    hands: HandsSettings = HandsSettings()

    @model_validator(mode="after")
    def _known_rules(self) -> Self:
        for key in ("id_rule", "ood_rule"):
            if getattr(self, key) not in self.rules:
                raise ValueError(
                    f"{key}: {getattr(self, key)!r} is not a rule (allowed: "
                    f"{', '.join(self.rules)})"
                )
        if self.rules[self.id_rule] == self.rules[self.ood_rule]:
            raise ValueError("ood_rule: must give the face cards other values than id_rule")
        return self

    @model_validator(mode="after")
    def _room_for_replies(self) -> Self:
        if self.prompt_style == "paper" and self.max_reply_tokens < 100:
            raise ValueError(
                f"max_reply_tokens: {self.max_reply_tokens} cuts off every reply of prompt_style "
                "'paper' (allowed: 100 or more)"
            )
        return self

    def rule_of(self, split: str) -> str:
        """Name of the rule under which a split is dealt."""
        return self.ood_rule if split in OOD_SPLITS else self.id_rule

    def game(self, *splits: str) -> GameSettings:
        """What playing these splits takes."""
        rules = dict.fromkeys(self.rule_of(split) for split in splits)
        return GameSettings(
            name=self.name,
            prompt_style=self.prompt_style,
            rules={rule: self.rules[rule] for rule in rules},
        )

    def deal(self, split: str) -> DealSettings:
        """What dealing a split takes."""
        return DealSettings(
            name=self.name,
            target=self.target,
            rule=self.rule_of(split),
            faces=self.rules[self.rule_of(split)],
            values=possible_values(self.rules),
            decks=DecksSettings(
                **{key: getattr(self.hands, key) for key in DecksSettings.model_fields}
            ),
        )

    @property
    def skills(self) -> SkillsSettings:
        """What pretraining takes."""
        return SkillsSettings(
            name=self.name,
            target=self.target,
            values=possible_values(self.rules),
            holdout=self.hands.pretraining_holdout,
        )
