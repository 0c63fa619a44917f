"""Settings of the game and its hands. Light, because the Snakefile imports it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from svdrift.errors import UserError, choices, shown
from svdrift.section import Section
from svdrift.tasks.base import TaskPart, TaskSettings, Tokens
from svdrift.tasks.general_points import files
from svdrift.tasks.general_points.game import LARGEST_NUMBER, Look, possible_values
from svdrift.tasks.general_points.prompts import Style, tokens_of
from svdrift.tasks.general_points.shifts import (
    HandSize,
    ShiftSettings,
    Terms,
    check_pictures,
    check_shifts,
    shifted,
)
from svdrift.tasks.general_points.splits import DEALT_AFTER, OOD_SPLITS, SIZE_KEYS, SPLITS, family
from svdrift.tasks.splits import ID, OOD, Split
from svdrift.tasks.usual import FURTHER, ROLES, usual_splits

Face = int  # value of a face card under a rule

LABELS = {split.name: split.label for split in usual_splits("hands")}


class DecksSettings(Section):
    """From which value multisets the hands of each split are dealt."""

    demonstrated_multisets: Annotated[int, Field(gt=0)] | Literal["all"] = Field(
        150, description="Value multisets that SFT demonstrates; `all` for every practised one."
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
        description="Share of the rank multisets with a face card that are reserved for OOD "
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
    """How many hands each split has, and from which value multisets they are dealt."""

    demonstrations: int = Field(2048, gt=0, description="Hands dealt for SFT (at most).")
    practice: int = Field(8192, gt=0, description="Hands dealt for RL (at most).")
    selection: int = Field(500, gt=0, description="Hands per rule in the selection sets.")
    test: int = Field(1000, gt=0, description="Hands per rule in the test sets.")
    demonstrated_test: int = Field(
        500, gt=0, description="Hands from demonstrated multisets on which SFT's fit is measured."
    )


class PlaySettings(TaskPart):
    """What posing and verifying dealt hands takes."""

    REWARDS = frozenset({"partial_reward"})

    name: str = Field(
        "general_points",
        description="The task: `general_points` is the 24-point card game. The name of another "
        "folder of `svdrift/tasks`, or the path of a .py file, selects another task.",
    )
    prompt_style: Style = Field(
        "compact",
        description="`compact`: one word per token, for the tiny model. `paper`: an instruction "
        "prompt for real language models, with the published reply form. `raster`: as `compact`, "
        "but with pictures of the cards, 15 words each, which the reply must name first.",
    )
    rules: dict[str, tuple[Face, Face, Face]] = Field(
        default_factory=lambda: {"tens": (10, 10, 10), "faces": (11, 12, 13)},
        description="Rules by name: the values of J, Q and K.",
    )
    partial_reward: float = Field(
        -1.0,
        description="Reward of an unfinished formula that begins a solution; by default that of a "
        "wrong value. The published 1 is exploitable: with several tries, replies that are left "
        "unfinished earn more than solving at once (docs/deviations.md).",
    )

    @model_validator(mode="after")
    def _values_of_cards(self) -> Self:
        for name, values in self.rules.items():
            if not all(1 <= value <= LARGEST_NUMBER for value in values):
                raise ValueError(
                    f"rules.{name}: values of J, Q, K must lie in 1..{LARGEST_NUMBER}: {values}"
                )
        return self


class SkillsSettings(TaskPart):
    """What pretraining takes from the task: values and target, but no rule and no hands."""

    target: int
    hand_sizes: tuple[int, ...]  # of some split, that of training first
    added_cards: tuple[int, ...]  # of some split, in ascending order
    looks: tuple[Look, ...]  # of some split, where cards are drawn
    values: tuple[int, ...]  # that a card can have under some rule, in ascending order
    holdout: float  # share of their multisets that must not appear


class FirstTestSettings(Section):
    """What `ood_test` is dealt by."""

    target: int
    faces: tuple[Face, Face, Face]


class DealSettings(TaskPart):
    """What dealing one split takes: its own rule, but not the number of hands."""

    target: int
    rule: str
    faces: tuple[Face, Face, Face]  # values of J, Q and K under the rule
    hand_size: int
    added_cards: tuple[int, ...]  # in ascending order
    values: tuple[int, ...]  # that a card can have under some rule, in ascending order
    decks: DecksSettings
    stated: str | None  # the rule in the prompt, where another one counts
    look: Look | None  # of drawn cards, where it is not that of training
    unlike: tuple[Face, Face, Face] | None  # J, Q and K under a rule that must read hands otherwise
    first_test: FirstTestSettings | None  # for a further test dealt from the hands of `ood_test`


class Settings(PlaySettings, TaskSettings):
    """The verifiable task: its rules, its prompts and its hands."""

    max_reply_tokens: int = Field(
        18,
        gt=0,
        le=2**20,
        description="Longest reply in tokens; the compact solution has 17, and 22 of five cards.",
    )
    target: int = Field(
        24, gt=0, le=LARGEST_NUMBER, description="The number that a formula must reach."
    )
    hand_size: HandSize = Field(4, description="Number of cards in a hand, 2 to 5.")
    id_rule: str = Field("tens", description="Rule of SFT, RL and in-distribution evaluation.")
    ood_rules: tuple[str, ...] = Field(
        ("faces",),
        min_length=1,
        description="Rules of out-of-distribution evaluation. Selection and the story of the study "
        "use the first; each further rule `r` has a test of its own, `ood_test_r`.",
    )
    shifts: dict[str, ShiftSettings] = Field(
        default_factory=dict,
        description="Further tests by name, each with what is other than in training. Pretraining "
        "shows their numbers of cards and added cards, too.",
    )
    hands: HandsSettings = HandsSettings()

    _varied_rule: str | None = PrivateAttr(None)  # of all splits, in a copy made by `vary`

    @model_validator(mode="after")
    def _known_rules(self) -> Self:
        for key, names in (("id_rule", (self.id_rule,)), ("ood_rules", self.ood_rules)):
            for name in names:
                if name not in self.rules:
                    raise ValueError(f"{key}: {name!r} is not a rule{choices(name, self.rules)}")
        if any(self.rules[name] == self.rules[self.id_rule] for name in self.ood_rules):
            raise ValueError("ood_rules: must give the face cards other values than id_rule")
        if len({self.rules[name] for name in self.ood_rules}) < len(self.ood_rules):
            raise ValueError("ood_rules: must give the face cards different values")
        for name in self.ood_rules[1:]:
            if not re.fullmatch(r"[A-Za-z0-9_]+", name) or name in (ID, OOD):
                raise ValueError(
                    f"ood_rules: {name!r} cannot name a split (allowed: letters, digits and _; "
                    f"but not {ID} or {OOD})"
                )
        return self

    @model_validator(mode="after")
    def _real_shifts(self) -> Self:
        check_shifts(self.shifts, self.rules, self._trained, self.ood_rules[1:])
        check_pictures(self.shifts, drawn=self.prompt_style == "raster")
        return self

    @model_validator(mode="after")
    def _room_for_replies(self) -> Self:
        if self.prompt_style == "paper" and self.max_reply_tokens < 100:
            raise ValueError(
                f"max_reply_tokens: {self.max_reply_tokens} cuts off every reply of prompt_style "
                "'paper' (allowed: 100 or more)"
            )
        most = max(self._hand_sizes)
        needed = tokens_of(self.prompt_style, most).reply
        if self.prompt_style != "paper" and self.max_reply_tokens < needed:
            raise ValueError(
                f"max_reply_tokens: {self.max_reply_tokens} cuts off every reply to {most} cards "
                f"(allowed: {needed} or more)"
            )
        return self

    @property
    def splits(self) -> tuple[Split, ...]:
        """See `svdrift.tasks.general_points.hands`."""
        known = [
            Split(
                name=name,
                role=ROLES[name],
                shift=OOD if name in OOD_SPLITS else ID,
                label=LABELS[name],
                after=DEALT_AFTER[name],
            )
            for name in SPLITS
        ]
        labels = {rule: f"OOD test, rule {rule}" for rule in self.ood_rules[1:]}
        labels |= {shift: f"OOD test, {shift.replace('_', ' ')}" for shift in self.shifts}
        further = [
            Split(
                name=f"{FURTHER}{shift}",
                role=ROLES["ood_test"],
                shift=shift,
                label=label,
                after=DEALT_AFTER["ood_test"],
            )
            for shift, label in labels.items()
        ]
        return (*known, *further)

    @property
    def _trained(self) -> Terms:
        return Terms(self.id_rule, self.target, self.hand_size)

    @property
    def _hand_sizes(self) -> tuple[int, ...]:
        """Numbers of cards in hands of some split, that of training first."""
        sizes = [shift.hand_size or self.hand_size for shift in self.shifts.values()]
        return tuple(dict.fromkeys([self.hand_size, *sorted(sizes)]))

    @property
    def _added_cards(self) -> tuple[int, ...]:
        """Cards that some shift adds, in ascending order."""
        shifts = self.shifts.values()
        return tuple(sorted({card for shift in shifts for card in shift.added_cards}))

    @property
    def _looks(self) -> tuple[Look, ...]:
        """Looks of cards in some split, that of training first; none where cards are written."""
        if self.prompt_style != "raster":
            return ()
        return tuple(dict.fromkeys(["black", *(s.look for s in self.shifts.values() if s.look)]))

    def _terms(self, split: str) -> Terms:
        """By what a split is dealt."""
        terms = self._trained
        if split in OOD_SPLITS:
            terms = terms._replace(rule=self.ood_rules[0])
        if split.startswith(FURTHER):
            name = split.removeprefix(FURTHER)
            terms = shifted(terms, self.shifts.get(name, ShiftSettings(rule=name)))
        if self._varied_rule is not None:
            terms = terms._replace(rule=self._varied_rule, stated=None)
        return terms

    def rule_of(self, split: str) -> str:
        """Name of the rule that counts in a split."""
        return self._terms(split).rule

    def play(self, *splits: str) -> PlaySettings:
        """What playing hands of these splits takes."""
        every = [self._terms(split) for split in splits]
        named = [rule for terms in every for rule in (terms.rule, terms.stated)]
        rules = dict.fromkeys(rule for rule in named if rule is not None)
        return PlaySettings(
            name=self.name,
            prompt_style=self.prompt_style,
            rules={rule: self.rules[rule] for rule in rules},
            partial_reward=self.partial_reward,
        )

    def deal(self, split: str) -> DealSettings:
        """What dealing a split takes."""
        terms = self._terms(split)
        first_test = unlike = None
        if split.startswith(FURTHER):
            if terms.hand_size == self.hand_size and not terms.added_cards:
                first_faces = self.rules[self.ood_rules[0]]
                first_test = FirstTestSettings(target=self.target, faces=first_faces)
            if split.removeprefix(FURTHER) in self.shifts and terms.rule != self.id_rule:
                unlike = self.rules[self.id_rule]
            if terms.stated is not None:
                unlike = self.rules[terms.stated]
        return DealSettings(
            name=self.name,
            target=terms.target,
            rule=terms.rule,
            faces=self.rules[terms.rule],
            hand_size=terms.hand_size,
            added_cards=tuple(sorted(terms.added_cards)),
            stated=terms.stated,
            look=terms.look,
            unlike=unlike,
            values=possible_values(self.rules, self._added_cards),
            decks=DecksSettings(
                **{key: getattr(self.hands, key) for key in DecksSettings.model_fields}
            ),
            first_test=first_test,
        )

    def count(self, split: str) -> int:
        """How many hands of a split are asked for."""
        count: int = getattr(self.hands, SIZE_KEYS[family(split)])
        return count

    def files(self, split: str) -> tuple[str, ...]:
        """All of the user's own files: their hands are kept out of the other splits."""
        return tuple(self.hands.files.values())

    def check_problems(self) -> None:
        """Read the user's own hands; see `svdrift.tasks.general_points.files`."""
        for split, path in self.hands.files.items():
            rule = self.rules[self.rule_of(split)]
            try:
                given = path, rule, self.target, self.hand_size
                files.read_own_hands(*given, with_face=split in OOD_SPLITS)
            except UserError as error:
                raise UserError(f"task.hands.files.{split}: {error}") from None

    def check_supply(self, seeds: Sequence[int]) -> None:
        """See `svdrift.tasks.general_points.decks`."""
        from svdrift.tasks.general_points.decks import check_supply

        for seed in seeds:
            try:
                check_supply(self, seed)
            except UserError as error:
                raise UserError(f"{error} with seed {seed}") from None

    def vary(self, **changes: Any) -> Self:
        """Every split under another `rule` (a name) or `target`.

        Raises:
            UserError: naming what can vary, or the values that are allowed.
        """
        for key, value in changes.items():
            if key == "rule" and not (isinstance(value, str) and value in self.rules):
                raise UserError(f"rule: {shown(value)} is not a rule{choices(value, self.rules)}")
            if key == "target" and not (type(value) is int and 1 <= value <= LARGEST_NUMBER):
                raise UserError(
                    f"target: {shown(value)} is not a whole number from 1 to {LARGEST_NUMBER}"
                )
            if key not in ("rule", "target"):
                raise UserError(f"{key!r} cannot vary (allowed: rule, target)")
        varied = self
        if "target" in changes:  # of every split, the shifts included
            shifts = {
                name: shift.model_copy(update={"target": None})
                for name, shift in self.shifts.items()
            }
            varied = varied.model_copy(update={"target": changes["target"], "shifts": shifts})
        varied = varied.model_copy()
        varied._varied_rule = changes.get("rule", self._varied_rule)
        return varied

    @property
    def skills(self) -> SkillsSettings:
        """What pretraining takes."""
        return SkillsSettings(
            name=self.name,
            target=self.target,
            hand_sizes=self._hand_sizes,
            added_cards=self._added_cards,
            looks=self._looks,
            values=possible_values(self.rules, self._added_cards),
            holdout=self.hands.pretraining_holdout,
        )

    @property
    def held_out(self) -> float:
        """Share of the value multisets that pretraining must not show."""
        return self.hands.pretraining_holdout

    @property
    def tokens(self) -> Tokens:
        """Typical lengths of turns in the prompt style."""
        return tokens_of(self.prompt_style, self.hand_size)

    @property
    def summary(self) -> str:
        """Size of the tests, and the rules."""
        several = "s" * (len(self.ood_rules) > 1)
        shifts = f"; shifts {', '.join(self.shifts)}" if self.shifts else ""
        return (
            f"{self.hands.test:,} test hands per rule and seed; ID rule {self.id_rule}, "
            f"OOD rule{several} {', '.join(self.ood_rules)}{shifts}"
        )
