"""The game: ranks, their values under a rule, and hands of four cards."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
FACES = ("J", "Q", "K")
HAND_SIZE = 4

Rule = tuple[int, int, int]
"""Values of J, Q and K. An ace is 1, and each other rank its number."""

Multiset = tuple[int, ...]
"""The four values of a hand in ascending order."""


@dataclass(frozen=True)
class Hand:
    """One problem: four dealt cards, the rule that gives their values, the number to reach."""

    cards: tuple[str, ...]
    rule: Rule
    target: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """The cards' values, in dealt order."""
        return values(self.cards, self.rule)


def values(cards: Sequence[str], rule: Rule) -> tuple[int, ...]:
    """The value of each card under `rule`."""
    worth = _worth(rule)
    return tuple(worth[card] for card in cards)


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
    """The cards in the order of RANKS, as text: the hand without the order of the deal."""
    return join(sorted(cards, key=RANKS.index))


def parse_cards(text: str) -> tuple[str, ...]:
    """Read "3 J 5 10" or "3, j, 5, 10"; raises ValueError saying what is wrong."""
    cards = tuple(text.replace(",", " ").upper().split())
    for card in cards:
        if card not in RANKS:
            raise ValueError(f"unknown rank {card!r} (known: {join(RANKS)})")
    if len(cards) != HAND_SIZE:
        raise ValueError(f"{len(cards)} cards instead of {HAND_SIZE}")
    return cards


def possible_values(rules: Mapping[str, Rule]) -> tuple[int, ...]:
    """Every value a card can have under one of the rules; 1 to 13 are always among them."""
    return tuple(sorted({*range(1, 14)}.union(*rules.values())))


def value_multisets(values: Sequence[int]) -> list[Multiset]:
    """Every multiset of four of these ascending values: 1,820 of them when these are 1 to 13."""
    return list(combinations_with_replacement(values, HAND_SIZE))
