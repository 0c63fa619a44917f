"""The game: ranks, their values under a rule, and hands of a few cards."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement
from typing import Literal

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
FACES = ("J", "Q", "K")
LARGEST_NUMBER = 60
"""The largest value of a card, and the largest target."""

Look = Literal["black", "red", "mirrored"]
"""How cards are drawn: in black, as in training; in red; or in black, from right to left."""

Rule = tuple[int, int, int]
"""Values of J, Q and K. An ace is 1, and each other rank its number."""

Multiset = tuple[int, ...]
"""The values of a hand in ascending order."""


@dataclass(frozen=True)
class Hand:
    """One problem.

    Attributes:
        cards: as dealt.
        rule: gives their values.
        target: the number to reach.
        stated: the rule that the prompt states, where that is not the one that counts.
        look: of the cards, where they are drawn; see `raster`.
    """

    cards: tuple[str, ...]
    rule: Rule
    target: int
    stated: Rule | None = None
    look: Look = "black"

    @property
    def stated_rule(self) -> Rule:
        """The rule that the prompt states."""
        return self.rule if self.stated is None else self.stated

    @property
    def numbers(self) -> tuple[int, ...]:
        """The cards' values, in dealt order."""
        return values(self.cards, self.rule)


def values(cards: Sequence[str], rule: Rule) -> tuple[int, ...]:
    """The value of each card under `rule`; an added card is its number."""
    worth = _worth(rule)
    return tuple(worth[card] if card in worth else int(card) for card in cards)


@cache
def _worth(rule: Rule) -> Mapping[str, int]:
    return dict(zip(RANKS, (*range(1, 11), *rule), strict=True))


def multiset(numbers: Iterable[int]) -> Multiset:
    """The numbers in ascending order."""
    return tuple(sorted(numbers))


def join(items: Iterable[object]) -> str:
    """Cards or numbers as text, as in tables: separated by single spaces."""
    return " ".join(map(str, items))


def rank_multiset(cards: Iterable[str]) -> str:
    """The cards in the order of a deck, as text: the hand without the order of the deal."""
    ordered = sorted(cards, key=_PLACES.__getitem__)
    return join(ordered)


def places(cards: Iterable[str]) -> tuple[int, ...]:
    """Where each card stands in a deck."""
    return tuple(_PLACES[card] for card in cards)


def deck(added: Iterable[int]) -> tuple[str, ...]:
    """The ranks, and added number cards above 13."""
    return (*RANKS, *map(str, sorted(added)))


_PLACES = {card: place for place, card in enumerate(deck(range(14, LARGEST_NUMBER + 1)))}


def parse_cards(text: str, size: int) -> tuple[str, ...]:
    """Read `size` cards, "3 J 5 10" or "3, j, 5, 10"; raises ValueError saying what is wrong."""
    cards = tuple(text.replace(",", " ").upper().split())
    for card in cards:
        if card not in RANKS:
            raise ValueError(f"unknown rank {card!r} (known: {join(RANKS)})")
    if len(cards) != size:
        raise ValueError(f"{len(cards)} cards instead of {size}")
    return cards


def possible_values(rules: Mapping[str, Rule], added: Iterable[int] = ()) -> tuple[int, ...]:
    """Every value that a card, or an added one, can have under one of the rules; 1 to 13 always."""
    return tuple(sorted({*range(1, 14), *added}.union(*rules.values())))


def value_multisets(values: Sequence[int], size: int) -> list[Multiset]:
    """Every multiset of so many of these ascending values: 1,820 of 4 when these are 1 to 13."""
    return list(combinations_with_replacement(values, size))
