"""Further tests of the game, each of which differs from training in what it names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from svdrift.errors import choices
from svdrift.section import Section
from svdrift.tasks.general_points.game import LARGEST_NUMBER, Look, Rule
from svdrift.tasks.splits import ID, OOD

HandSize = Annotated[int, Field(ge=2, le=5)]


class ShiftSettings(Section):
    """A further test, `ood_test_{name}`; keys left out are as in training."""

    rule: str | None = Field(None, description="The rule that counts (default: `id_rule`).")
    stated: str | None = Field(
        None,
        description="The rule that the prompt states, where another one counts. Whoever solves "
        "such hands does not read the prompt's rule, but has learned the other one by heart.",
    )
    target: int | None = Field(
        None, gt=0, le=LARGEST_NUMBER, description="The number to reach (default: `target`)."
    )
    hand_size: HandSize | None = Field(
        None, description="Number of cards in a hand (default: `hand_size`)."
    )
    added_cards: tuple[Annotated[int, Field(ge=14, le=LARGEST_NUMBER)], ...] = Field(
        (),
        description="Number cards that the deck has beside A to K, such as `[14, 15, 16]`; each "
        "hand has at least one of them.",
    )
    look: Literal["red", "mirrored"] | None = Field(
        None,
        description="How cards are drawn with `prompt_style: raster`, in training in `black`.",
    )


class Terms(NamedTuple):
    """By what the hands of a split are dealt; see `ShiftSettings`."""

    rule: str
    target: int
    hand_size: int
    added_cards: tuple[int, ...] = ()
    stated: str | None = None
    look: Look | None = None


def shifted(trained: Terms, shift: ShiftSettings) -> Terms:
    """What training has, but for what the shift names."""
    return trained._replace(**{key: value for key, value in shift if value is not None})


def check_shifts(
    shifts: Mapping[str, ShiftSettings],
    rules: Mapping[str, Rule],
    trained: Terms,
    names: Collection[str],
) -> None:
    """Refuse shifts that are none, and those that name what does not exist.

    Args:
        shifts: by name.
        rules: of the game, by name.
        trained: what training has.
        names: of other further tests.

    Raises:
        ValueError: naming the key.
    """
    for name, shift in shifts.items():
        at = f"shifts.{name}"
        if not re.fullmatch(r"[A-Za-z0-9_]+", name) or name in (ID, OOD, *names):
            raise ValueError(
                f"shifts: {name!r} cannot name a split (allowed: letters, digits and _; but not "
                f"{', '.join((ID, OOD, *names))})"
            )
        for key in ("rule", "stated"):
            rule = getattr(shift, key)
            if rule is not None and rule not in rules:
                raise ValueError(f"{at}.{key}: {rule!r} is not a rule{choices(rule, rules)}")
        if len(set(shift.added_cards)) < len(shift.added_cards):
            raise ValueError(f"{at}.added_cards: {list(shift.added_cards)} names a card twice")
        terms = shifted(trained, shift)
        if terms == trained:
            raise ValueError(f"{at}: is what is trained")
        if terms.stated is not None and rules[terms.stated] == rules[terms.rule]:
            raise ValueError(
                f"{at}.stated: {terms.stated!r} gives the face cards the values of the rule that "
                f"counts, {terms.rule!r}"
            )


def check_pictures(shifts: Mapping[str, ShiftSettings], *, drawn: bool) -> None:
    """Refuse a look of cards that are written, and drawn cards that have no picture.

    Raises:
        ValueError: naming the key.
    """
    for name, shift in shifts.items():
        if shift.look is not None and not drawn:
            raise ValueError(f"shifts.{name}.look: only prompt_style 'raster' draws cards")
        if shift.added_cards and drawn:
            raise ValueError(
                f"shifts.{name}.added_cards: prompt_style 'raster' draws A to K alone (allowed: "
                "compact, paper)"
            )
