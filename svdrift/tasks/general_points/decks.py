"""Which hands each split may be dealt from, and whether they suffice; see `hands` for the promises.

Everything here is counted by rank multiset, of which there are 1,820 of four cards, and not by
hand, so that a study which cannot be dealt is refused while its settings are read.
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
from svdrift.tasks.general_points.splits import OOD_SPLITS, SIZE_KEYS, TRAINING_SPLITS, family
from svdrift.tasks.usual import FURTHER

if TYPE_CHECKING:
    from svdrift.tasks.general_points.settings import DealSettings, Settings

OOD_SELECTION_SHARE = 0.2
"""Share of the OOD value multisets for selection; the test is dealt from the others."""

CLOSE = 1e-7
"""Formulas of five numbers up to 60 are fractions further from a target up to 60, or are it."""
CHUNK = 1000
"""Multisets whose formulas are in memory at once, of five numbers some 60 MB."""


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
        return _ood_kinds(split, settings, settings.faces, settings.target, seed)
    if split.startswith(FURTHER):
        return _further_kinds(settings, seed)
    return _id_kinds(split, settings, seed, count)


def held_out_multisets(
    values: Sequence[int], size: int, share: float, seed: int
) -> set[game.Multiset]:
    """The value multisets, solvable or not, that no training stage of this seed may use.

    Args:
        values: what a card can have under some rule, in ascending order.
        size: number of cards.
        share: of their multisets to hold out.
        seed: of the draw.
    """
    everything = game.value_multisets(values, size)
    count = round(share * len(everything))
    order = generator(seed, "held_out").permutation(len(everything))
    return {everything[place] for place in order[:count]}


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The random generator of one draw."""
    return np.random.default_rng([seed, *purpose.encode()])


def solvable(multisets: Sequence[game.Multiset], target: int) -> list[bool]:
    """Whether each multiset, all of one size, has a formula of the value `target` >= 1.

    `solver` finds the formulas, in exact arithmetic; this is many times as fast on all of them.
    """
    numbers = np.array(multisets, dtype=float)
    found = np.zeros(len(numbers), dtype=bool)
    for start in range(0, len(numbers), CHUNK):
        chunk = slice(start, start + CHUNK)
        found[chunk] = _hits(numbers[chunk], target)
    return [bool(hit) for hit in found]


def _hits(numbers: NDArray[np.float64], target: int) -> NDArray[np.bool_]:
    """Whether the numbers of each row have a formula of this value."""
    found = np.zeros(len(numbers), dtype=bool)
    columns = tuple(range(numbers.shape[1]))
    # Even halves first: they have the fewest formulas, and solve most rows.
    for part, rest in sorted(_partings(columns), key=lambda halves: -len(halves[0])):
        unsolved = np.flatnonzero(~found)
        if not len(unsolved):
            break
        for block in _joined(numbers[unsolved], part, rest):
            found[unsolved] |= (abs(block - target) < CLOSE).any(axis=1)
    return found


def _partings(columns: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The ways to part the columns in two, each once, the smaller part first."""
    for size in range(1, len(columns) // 2 + 1):
        for part in combinations(columns, size):
            if 2 * size == len(columns) and part[0] != columns[0]:
                continue  # the other half's turn
            yield part, tuple(column for column in columns if column not in part)


def _joined(
    numbers: NDArray[np.float64], part: tuple[int, ...], rest: tuple[int, ...]
) -> Iterator[NDArray[np.float64]]:
    """The values that one operation makes of any formulas of two parts, in blocks."""
    left, right = _reached(numbers, part), _reached(numbers, rest)
    a, b = left[:, :, None], right[:, None, :]
    with np.errstate(all="ignore"):  # a division by zero reaches nothing
        for result in (a + b, a - b, b - a, a * b, a / b, b / a):
            yield result.reshape(len(numbers), -1)


def _reached(numbers: NDArray[np.float64], columns: tuple[int, ...]) -> NDArray[np.float64]:
    """The values of all formulas of the numbers in some columns: (rows, formulas)."""
    if len(columns) == 1:
        return numbers[:, columns]
    blocks = [block for halves in _partings(columns) for block in _joined(numbers, *halves)]
    return np.concatenate(blocks, axis=1)


def _deck(settings: DealSettings) -> list[Kind]:
    """All solvable kinds of hands of a split."""
    given = settings.faces, settings.target, settings.hand_size, settings.added_cards
    return _kinds(*given)


@cache  # of the rule of each split, for every seed
def _kinds(rule: game.Rule, target: int, size: int, added: tuple[int, ...]) -> list[Kind]:
    hands = list(combinations_with_replacement(game.deck(added), size))
    multisets = [game.multiset(game.values(cards, rule)) for cards in hands]
    distinct = list(dict.fromkeys(multisets))
    solved = dict(zip(distinct, solvable(distinct, target), strict=True))
    return [
        Kind(
            ranks=game.join(cards),
            group=game.join(numbers),
            orders=factorial(size) // prod(map(factorial, Counter(cards).values())),
        )
        for cards, numbers in zip(hands, multisets, strict=True)
        if solved[numbers]
    ]


def _within(kinds: Collection[Kind], groups: Collection[str]) -> list[Kind]:
    return [kind for kind in kinds if kind.group in groups]


def _id_kinds(split: str, settings: DealSettings, seed: int, count: int) -> list[Kind]:
    decks = settings.decks
    deck = _deck(settings)
    multisets = {kind.group for kind in deck}
    if "id_test" in decks.files:
        test = _groups_of_file("id_test", settings, settings.faces)
    else:
        test = _draw(multisets, decks.test_multisets, "test_multisets", seed)
    if split == "id_test":
        return _within(deck, test)
    selection = _draw(multisets - test, decks.selection_multisets, "selection_multisets", seed)
    if split == "id_selection":
        return _within(deck, selection)

    held_out = held_out_multisets(
        settings.values, settings.hand_size, decks.pretraining_holdout, seed
    )
    practised = multisets - test - selection - set(map(game.join, held_out))
    reserved = _reserved_ranks(settings, seed)
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


def _ood_kinds(
    split: str, settings: DealSettings, rule: game.Rule, target: int, seed: int
) -> list[Kind]:
    """What OOD selection or test is dealt from, under its rule and target."""
    reserved = _reserved_ranks(settings, seed)
    kinds = _kinds(rule, target, settings.hand_size, ())
    deck = [kind for kind in kinds if kind.ranks in reserved]
    groups = {kind.group for kind in deck}
    if "ood_test" in settings.decks.files:
        groups -= _groups_of_file("ood_test", settings, rule)
    count = round(OOD_SELECTION_SHARE * len(groups))
    selection = _draw(groups, count, "ood_selection", seed)
    return _within(deck, selection if split == "ood_selection" else groups - selection)


def _further_kinds(settings: DealSettings, seed: int) -> list[Kind]:
    """What a further test is dealt from."""
    kinds = _deck(settings)
    if settings.first_test is not None:
        given = settings.first_test.faces, settings.first_test.target
        ranks = {kind.ranks for kind in _ood_kinds("ood_test", settings, *given, seed)}
        kinds = [kind for kind in kinds if kind.ranks in ranks]
    if settings.added_cards:
        added = set(map(str, settings.added_cards))
        kinds = [kind for kind in kinds if not added.isdisjoint(kind.ranks.split())]
    if settings.unlike is not None:
        kinds = [kind for kind in kinds if _values(kind, settings.unlike) != kind.group]
    return kinds


def _values(kind: Kind, rule: game.Rule) -> str:
    """The value multiset of a kind under another rule."""
    return game.join(game.multiset(game.values(kind.ranks.split(), rule)))


def _groups_of_file(split: str, settings: DealSettings, rule: game.Rule) -> set[str]:
    path = settings.decks.files[split]
    hands = read_hands_file(path, rule, settings.target, settings.hand_size)
    return {game.join(game.multiset(game.values(cards, rule))) for cards in hands}


def _reserved_ranks(settings: DealSettings, seed: int) -> set[str]:
    """The rank multisets with a face card that are reserved for OOD selection and test."""
    decks, size, given = settings.decks, settings.hand_size, set[str]()
    if "ood_test" in decks.files:
        given = {game.rank_multiset(hand) for hand in read_cards(decks.files["ood_test"], size)}
    with_face = {
        game.join(cards)
        for cards in combinations_with_replacement(game.RANKS, size)
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
