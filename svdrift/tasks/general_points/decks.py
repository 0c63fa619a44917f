"""Which hands each split may be dealt from, and whether they suffice; see `hands` for the promises.

Everything here is counted by rank multiset, of which there are 1,820, and not by hand, so that a
study which cannot be dealt is refused while its settings are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import combinations, combinations_with_replacement
from math import factorial, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from svdrift.errors import UserError
from svdrift.tasks.general_points import game
from svdrift.tasks.general_points.files import read_cards, read_hands_file
from svdrift.tasks.general_points.splits import (
    FURTHER,
    OOD_SPLITS,
    SIZE_KEYS,
    TRAINING_SPLITS,
    family,
)

if TYPE_CHECKING:
    from svdrift.tasks.general_points.settings import DealSettings, DecksSettings, Settings

OOD_SELECTION_SHARE = 0.2
"""Share of the OOD value multisets for selection; the test is dealt from the others."""

CLOSE = 1e-7
"""Formulas of four numbers up to 60 are fractions further from a whole number, or are it."""


class Kind(NamedTuple):
    """The hands of one rank multiset under a rule."""

    ranks: str
    group: str  # their value multiset, as text
    orders: int  # how many hands they are


def check_supply(task: Settings, seed: int) -> None:
    """Refuse what cannot be dealt with a seed, without dealing it.

    Raises:
        UserError: naming the setting that asks for more than exists.
    """
    kinds: dict[str, list[Kind]] = {}
    for split in (split.name for split in task.splits):
        if split in task.hands.files:
            continue
        settings, count = task.deal(split), task.count(split)
        if split == "demonstrated":
            shown = {kind.group for kind in kinds["demonstrations"]}
            kinds[split] = [kind for kind in kinds["practice"] if kind.group in shown]
        else:
            kinds[split] = kinds_of(split, settings, seed, count)
        require(split, count, sum(kind.orders for kind in kinds[split]))


def require(split: str, count: int, existing: int) -> None:
    """Refuse a split without hands, and one for evaluation with fewer than are asked for.

    Raises:
        UserError: naming the setting.
    """
    if not existing or (count > existing and split not in TRAINING_SPLITS):
        raise UserError(
            f"task.hands.{SIZE_KEYS[family(split)]}: {count} hands wanted for {split}, but only "
            f"{existing} exist (allowed: fewer hands; or set aside more multisets, or another "
            "ood_share)"
        )


def kinds_of(split: str, settings: DealSettings, seed: int, count: int) -> list[Kind]:
    """What a split is dealt from; `demonstrated` is, from the kinds of `practice`.

    Args:
        split: its name.
        settings: see `DealSettings`.
        seed: of everything that is drawn.
        count: how many demonstrations are asked for; other splits ignore it.

    Raises:
        UserError: more multisets are wanted than remain.
    """
    if split in OOD_SPLITS:
        return _ood_kinds(split, settings, settings.faces, seed)
    if split.startswith(FURTHER):
        if settings.first_faces is None:
            raise ValueError("first_faces is missing")
        ranks = {
            kind.ranks for kind in _ood_kinds("ood_test", settings, settings.first_faces, seed)
        }
        return [kind for kind in _kinds(settings.faces, settings.target) if kind.ranks in ranks]
    return _id_kinds(split, settings, seed, count)


def held_out_multisets(values: Sequence[int], share: float, seed: int) -> set[game.Multiset]:
    """The value multisets, solvable or not, that no training stage of this seed may use.

    Args:
        values: what a card can have under some rule, in ascending order.
        share: of their multisets to hold out.
        seed: of the draw.
    """
    everything = game.value_multisets(values)
    count = round(share * len(everything))
    order = generator(seed, "held_out").permutation(len(everything))
    return {everything[place] for place in order[:count]}


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The random generator of one draw."""
    return np.random.default_rng([seed, *purpose.encode()])


def solvable(multisets: Sequence[game.Multiset], target: int) -> list[bool]:
    """Whether each multiset of four has a formula of the value `target` >= 1.

    `solver` finds the formulas, in exact arithmetic; this is many times as fast on all of them.
    """
    numbers = np.array(multisets, dtype=float).reshape(-1, game.HAND_SIZE)
    everything = tuple(range(game.HAND_SIZE))
    with np.errstate(all="ignore"):  # a division by zero reaches nothing
        hits = [(abs(v - target) < CLOSE).any(axis=1) for v in _reached(numbers, everything)]
    return [bool(hit) for hit in np.any(hits, axis=0)]


def _reached(
    numbers: NDArray[np.float64], columns: tuple[int, ...]
) -> Iterator[NDArray[np.float64]]:
    """The values that formulas of the numbers in some columns have, in blocks of (rows, values)."""
    if len(columns) == 1:
        yield numbers[:, columns]
    for size in range(1, len(columns) // 2 + 1):
        for part in combinations(columns, size):
            if 2 * size == len(columns) and part[0] != columns[0]:
                continue  # the other half's turn
            rest = tuple(column for column in columns if column not in part)
            left, right = (np.concatenate(list(_reached(numbers, c)), axis=1) for c in (part, rest))
            a, b = left[:, :, None], right[:, None, :]
            for result in (a + b, a - b, b - a, a * b, a / b, b / a):
                yield result.reshape(len(numbers), -1)


@cache  # of the rule of each split, for every seed
def _kinds(rule: game.Rule, target: int) -> list[Kind]:
    """All solvable kinds under a rule."""
    hands = list(combinations_with_replacement(game.RANKS, game.HAND_SIZE))
    multisets = [game.multiset(game.values(cards, rule)) for cards in hands]
    distinct = list(dict.fromkeys(multisets))
    solved = dict(zip(distinct, solvable(distinct, target), strict=True))
    return [
        Kind(
            ranks=game.join(cards),
            group=game.join(numbers),
            orders=factorial(game.HAND_SIZE) // prod(map(factorial, Counter(cards).values())),
        )
        for cards, numbers in zip(hands, multisets, strict=True)
        if solved[numbers]
    ]


def _within(kinds: Collection[Kind], groups: Collection[str]) -> list[Kind]:
    return [kind for kind in kinds if kind.group in groups]


def _id_kinds(split: str, settings: DealSettings, seed: int, count: int) -> list[Kind]:
    decks = settings.decks
    deck = _kinds(settings.faces, settings.target)
    multisets = {kind.group for kind in deck}
    if "id_test" in decks.files:
        test = _groups_of_file(decks.files["id_test"], settings.faces, settings.target)
    else:
        test = _draw(multisets, decks.test_multisets, "test_multisets", seed)
    if split == "id_test":
        return _within(deck, test)
    selection = _draw(multisets - test, decks.selection_multisets, "selection_multisets", seed)
    if split == "id_selection":
        return _within(deck, selection)

    held_out = held_out_multisets(settings.values, decks.pretraining_holdout, seed)
    practised = multisets - test - selection - set(map(game.join, held_out))
    reserved = _reserved_ranks(decks, seed)
    practice = [kind for kind in _within(deck, practised) if kind.ranks not in reserved]
    if split == "practice" or decks.demonstrated_multisets == "all":
        return practice
    if count < decks.demonstrated_multisets:
        raise UserError(
            f"task.hands.demonstrations: {count} hands cannot show "
            f"{decks.demonstrated_multisets} multisets (demonstrated_multisets)"
        )
    groups = {kind.group for kind in practice}
    key = "demonstrated_multisets"
    return _within(practice, _draw(groups, decks.demonstrated_multisets, key, seed))


def _ood_kinds(split: str, settings: DealSettings, rule: game.Rule, seed: int) -> list[Kind]:
    """What OOD selection or test is dealt from under the first OOD rule, given as `rule`."""
    reserved = _reserved_ranks(settings.decks, seed)
    deck = [kind for kind in _kinds(rule, settings.target) if kind.ranks in reserved]
    groups = {kind.group for kind in deck}
    if "ood_test" in settings.decks.files:
        groups -= _groups_of_file(settings.decks.files["ood_test"], rule, settings.target)
    count = round(OOD_SELECTION_SHARE * len(groups))
    selection = _draw(groups, count, "ood_selection", seed)
    return _within(deck, selection if split == "ood_selection" else groups - selection)


def _groups_of_file(path: str, rule: game.Rule, target: int) -> set[str]:
    hands = read_hands_file(path, rule, target)
    return {game.join(game.multiset(game.values(cards, rule))) for cards in hands}


def _reserved_ranks(decks: DecksSettings, seed: int) -> set[str]:
    """The rank multisets with a face card that are reserved for OOD selection and test."""
    given = set()
    if "ood_test" in decks.files:
        given = {game.rank_multiset(hand) for hand in read_cards(decks.files["ood_test"])}
    with_face = {
        game.join(cards)
        for cards in combinations_with_replacement(game.RANKS, game.HAND_SIZE)
        if not set(game.FACES).isdisjoint(cards)
    }
    count = round(decks.ood_share * len(with_face))
    return given | _draw(with_face, count, "ood_share", seed)


def _draw(items: Collection[str], count: int, key: str, seed: int) -> set[str]:
    """Draw `count` of the items; `key` is the setting to blame, and seeds the generator."""
    if count > len(items):
        raise UserError(f"task.hands.{key}: {count} multisets wanted, but only {len(items)} remain")
    order = generator(seed, key).permutation(len(items))
    ordered = sorted(items)
    return {ordered[place] for place in order[:count]}
