"""Deals the hands of a study, split so that no evaluation hand was ever trained on.

A hand's *value multiset* is its four values under a rule, sorted; its *rank multiset* the four
cards, sorted. The splits:

- `demonstrations` (SFT), `practice` (RL): ID rule. Practice is dealt from all training value
  multisets, demonstrations from some of them.
- `demonstrated`: ID rule, from the demonstrated value multisets; hands that are not themselves
  among the demonstrations go first.
- `id_selection`, `id_test`: ID rule, each from value multisets of its own.
- `ood_selection`, `ood_test`: first OOD rule, at least one face card, from reserved rank multisets,
  which are never dealt for training; each from value multisets of its own.
- `ood_test_{rule}`: a further OOD rule, from the rank multisets that `ood_test` is dealt from.

A share of all value multisets is *held out* of every stage of training, pretraining included.
Selection and test multisets are drawn without regard to it, so they contain held-out and seen
multisets in their natural proportion.

Each hand belongs to two *subsets*: `seen` or `heldout`, by whether its value multiset is held out;
and `demonstrated`, `practised` or `neither`, by the training split that has its value multiset.

Every draw has its own random generator: asking for more hands of one split does not change the
others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from svdrift.errors import UserError
from svdrift.tasks.general_points import game
from svdrift.tasks.general_points.files import read_cards, read_hands_file
from svdrift.tasks.general_points.solver import canonical_solution, solutions
from svdrift.tasks.general_points.splits import (
    FURTHER,
    OOD_SPLITS,
    ROLES,
    SIZE_KEYS,
    SPLITS,
    TRAINING_SPLITS,
    family,
)

if TYPE_CHECKING:
    from svdrift.tasks.general_points.settings import DealSettings, DecksSettings

OOD_SELECTION_SHARE = 0.2
"""Share of the OOD value multisets for selection; the test is dealt from the others."""

EXPOSURES = ("demonstrated", "practised", "neither")


def make_split(
    split: str,
    settings: DealSettings,
    count: int,
    seed: int,
    training: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Deal one split: a table with one row a hand.

    Columns: `problem` (id), `cards` and their `numbers` (in dealt order), `rule` (name), `target`,
    `group` (the value multiset, as text), `subsets` (see the top of this module), `gold`
    (canonical formula).

    All hands of a training split differ; it has all that exist if more are asked for. Evaluation
    splits are as large as asked for, or the user's own file.

    Args:
        split: its name.
        settings: see `DealSettings`.
        count: how many hands are asked for.
        seed: of everything that is drawn.
        training: tables of the training splits that are dealt before this one (DEALT_AFTER).

    Raises:
        UserError: the settings ask for more than exists (the message names the setting), or a
            file of hands is wrong.
    """
    if split in settings.decks.files:
        hands = _spread(
            read_hands_file(settings.decks.files[split], settings.faces, settings.target),
            settings.faces,
        )
    elif split in OOD_SPLITS:
        hands = _deal(_ood_deck(split, settings, settings.faces, seed), split, count, seed)
    elif split.startswith(FURTHER):
        hands = _deal(_further_deck(settings, seed), split, count, seed)
    elif split == "demonstrated":
        shown = training["demonstrations"]
        deck = _within(_id_deck("practice", settings, seed), shown["group"])
        hands = _deal(deck, split, count, seed, last=shown["cards"])
    else:
        hands = _deal(_id_deck(split, settings, seed, count), split, count, seed)

    held_out = {
        game.join(numbers)
        for numbers in held_out_multisets(settings.values, settings.decks.pretraining_holdout, seed)
    }
    dealt = {**training, split: hands}
    exposure: dict[str, str] = {}
    for name, label in (("practice", "practised"), ("demonstrations", "demonstrated")):
        if name in dealt:
            exposure |= dict.fromkeys(dealt[name]["group"], label)
    groups = hands["group"]
    return pd.DataFrame(
        {
            "problem": [f"{split}-{row:05d}" for row in range(len(hands))],
            "cards": hands["cards"],
            "rule": settings.rule,
            "target": settings.target,
            "numbers": hands["numbers"],
            "group": groups,
            "subsets": [
                f"{'heldout' if group in held_out else 'seen'},{exposure.get(group, 'neither')}"
                for group in groups
            ],
            "gold": [_gold(group, settings.target) for group in groups],
        }
    )


def vary_table(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
    """The same hands under the rule and target of `settings`, where they are solvable.

    Ids, cards and `subsets` stay as they are: they describe the hand as it was dealt. So a varied
    training split may contain value multisets that are held out, or that a test has.

    Args:
        table: of `make_split`.
        settings: of the varied split.
    """
    hands = _spread([tuple(cards.split()) for cards in table["cards"]], settings.faces)
    gold = pd.Series([_gold(group, settings.target) for group in hands["group"]], dtype=object)
    varied = table.assign(
        rule=settings.rule,
        target=settings.target,
        numbers=hands["numbers"].to_numpy(),
        group=hands["group"].to_numpy(),
        gold=gold.to_numpy(),
    )
    return varied[varied["gold"].notna()].reset_index(drop=True)


def held_out_multisets(values: Sequence[int], share: float, seed: int) -> set[game.Multiset]:
    """The value multisets, solvable or not, that no training stage of this seed may use.

    Args:
        values: what a card can have under some rule, in ascending order.
        share: of their multisets to hold out.
        seed: of the draw.
    """
    everything = game.value_multisets(values)
    count = round(share * len(everything))
    order = _generator(seed, "held_out").permutation(len(everything))
    return {everything[place] for place in order[:count]}


def check_splits(hands: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Verify every promise of disjointness made at the top of this module.

    Returns:
        One row a split: `split`, `role`, `rule`, `problems`, `groups`, `rank_multisets`, and how
        many of its hands are in each of the subsets `seen`, `demonstrated`, `practised`, `neither`.

    Raises:
        RuntimeError: naming the broken promise and the offending hands.
    """
    order = [*SPLITS, *(split for split in hands if split.startswith(FURTHER))]
    ood = [split for split in order if family(split) in OOD_SPLITS]
    ranks = {
        split: table["cards"].map(lambda cards: game.rank_multiset(cards.split()))
        for split, table in hands.items()
    }
    groups = {split: table["group"] for split, table in hands.items()}
    subsets = {split: table["subsets"].str.split(",") for split, table in hands.items()}

    def in_subset(split: str, name: str) -> pd.Series[bool]:
        return subsets[split].map(lambda names: name in names).astype(bool)

    def forbid(offending: pd.Series[bool], split: str, promise: str) -> None:
        if offending.any():
            examples = "; ".join(hands[split].loc[offending, "cards"].head(5))
            raise RuntimeError(f"{split}: {offending.sum()} hands {promise}: {examples}")

    for train in TRAINING_SPLITS:
        forbid(in_subset(train, "heldout"), train, "are held out of training")
        for split in ("id_selection", "id_test", *ood):
            shared = ranks[split].isin(ranks[train])
            forbid(shared, split, f"share their ranks with {train}")
        for split in ("id_selection", "id_test"):
            shared = groups[split].isin(groups[train])
            forbid(shared, split, f"share their values with {train}")
    for rule in ("id", "ood"):
        shared = groups[f"{rule}_selection"].isin(groups[f"{rule}_test"])
        forbid(shared, f"{rule}_selection", f"share their values with {rule}_test")
    for split in ood:
        faceless = ~hands[split]["cards"].str.contains("[JQK]")
        forbid(faceless, split, "have no face card, so that both rules read them alike")
        if split.startswith(FURTHER):
            shared = ranks[split].isin(ranks["ood_selection"])
            forbid(shared, split, "share their ranks with ood_selection")
    foreign = ~groups["demonstrated"].isin(groups["demonstrations"])
    forbid(foreign, "demonstrated", "have values that are not demonstrated")

    return pd.DataFrame(
        {
            "split": split,
            "role": ROLES[family(split)],
            "rule": hands[split]["rule"].iloc[0],
            "problems": len(hands[split]),
            "groups": groups[split].nunique(),
            "rank_multisets": ranks[split].nunique(),
            **{name: int(in_subset(split, name).sum()) for name in ("seen", *EXPOSURES)},
        }
        for split in order
    )


def solution_table(values: Sequence[int], target: int) -> pd.DataFrame:
    """One row a value multiset: `multiset`, `solvable`, `n_formulas`, `canonical` (or None)."""
    rows = []
    for numbers in game.value_multisets(values):
        canonical = canonical_solution(numbers, target)
        n_formulas = len(solutions(numbers, target))
        rows.append((game.join(numbers), canonical is not None, n_formulas, canonical))
    return pd.DataFrame(rows, columns=["multiset", "solvable", "n_formulas", "canonical"])


def _id_deck(split: str, settings: DealSettings, seed: int, count: int = 0) -> pd.DataFrame:
    """What a split under the ID rule is dealt from.

    `count` is the number of demonstrations asked for; other splits ignore it.
    """
    decks = settings.decks
    deck = _deck(settings.faces, settings.target)
    multisets = set(deck["group"])
    if "id_test" in decks.files:
        own = read_hands_file(decks.files["id_test"], settings.faces, settings.target)
        test = set(_spread(own, settings.faces)["group"])
    else:
        test = _draw(multisets, decks.test_multisets, "test_multisets", seed)
    if split == "id_test":
        return _within(deck, test)
    selection = _draw(multisets - test, decks.selection_multisets, "selection_multisets", seed)
    if split == "id_selection":
        return _within(deck, selection)

    held_out = held_out_multisets(settings.values, decks.pretraining_holdout, seed)
    practice = _within(deck, multisets - test - selection - set(map(game.join, held_out)))
    practice = practice[~practice["ranks"].isin(_reserved_ranks(decks, seed))]
    if split == "practice" or decks.demonstrated_multisets == "all":
        return practice
    if count < decks.demonstrated_multisets:
        raise UserError(
            f"task.hands.demonstrations: {count} hands cannot show "
            f"{decks.demonstrated_multisets} multisets (demonstrated_multisets)"
        )
    key, practised = "demonstrated_multisets", set(practice["group"])
    return _within(practice, _draw(practised, decks.demonstrated_multisets, key, seed))


def _ood_deck(split: str, settings: DealSettings, rule: game.Rule, seed: int) -> pd.DataFrame:
    """What OOD selection or test is dealt from under the first OOD rule, given as `rule`."""
    deck = _deck(rule, settings.target)
    deck = deck[deck["ranks"].isin(_reserved_ranks(settings.decks, seed))]
    groups = set(deck["group"])
    if "ood_test" in settings.decks.files:
        own = read_hands_file(settings.decks.files["ood_test"], rule, settings.target)
        groups -= set(_spread(own, rule)["group"])
    count = round(OOD_SELECTION_SHARE * len(groups))
    selection = _draw(groups, count, "ood_selection", seed)
    return _within(deck, selection if split == "ood_selection" else groups - selection)


def _further_deck(settings: DealSettings, seed: int) -> pd.DataFrame:
    """What the test of a further OOD rule is dealt from: hands that `ood_test` may have too."""
    if settings.first_faces is None:
        raise ValueError("first_faces is missing")
    ranks = _ood_deck("ood_test", settings, settings.first_faces, seed)["ranks"]
    deck = _deck(settings.faces, settings.target)
    return deck[deck["ranks"].isin(ranks)]


def _spread(hands: Iterable[tuple[str, ...]], rule: game.Rule) -> pd.DataFrame:
    """One row a hand, all as text: `cards`, `numbers`, `group`, `ranks` (sorted cards)."""
    rows = []
    for cards in hands:
        numbers = game.values(cards, rule)
        rows.append(
            {
                "cards": game.join(cards),
                "numbers": game.join(numbers),
                "group": game.join(game.multiset(numbers)),
                "ranks": game.rank_multiset(cards),
            }
        )
    return pd.DataFrame(rows)


@cache  # for callers that deal several splits
def _deck(rule: game.Rule, target: int) -> pd.DataFrame:
    """All ordered hands that are solvable under the rule."""
    deck = _spread(product(game.RANKS, repeat=game.HAND_SIZE), rule)
    return _within(deck, {text for text in deck["group"].unique() if _gold(text, target)})


def _within(deck: pd.DataFrame, multisets: Collection[str]) -> pd.DataFrame:
    return deck[deck["group"].isin(multisets)]


def _gold(multiset: str, target: int) -> str | None:
    return canonical_solution([int(number) for number in multiset.split()], target)


def _reserved_ranks(decks: DecksSettings, seed: int) -> set[str]:
    """The rank multisets with a face card that are reserved for OOD selection and test."""
    given = set()
    if "ood_test" in decks.files:
        given = {game.rank_multiset(hand) for hand in read_cards(decks.files["ood_test"])}
    with_face = {
        game.rank_multiset(cards)
        for cards in product(game.RANKS, repeat=game.HAND_SIZE)
        if not set(game.FACES).isdisjoint(cards)
    }
    count = round(decks.ood_share * len(with_face))
    return given | _draw(with_face, count, "ood_share", seed)


def _draw(items: Collection[str], count: int, key: str, seed: int) -> set[str]:
    """Draw `count` of the items; `key` is the setting to blame, and seeds the generator."""
    if count > len(items):
        raise UserError(f"task.hands.{key}: {count} multisets wanted, but only {len(items)} remain")
    order = _generator(seed, key).permutation(len(items))
    ordered = sorted(items)
    return {ordered[place] for place in order[:count]}


def _deal(
    deck: pd.DataFrame,
    split: str,
    count: int,
    seed: int,
    last: Collection[str] = (),
) -> pd.DataFrame:
    """Deal distinct hands in random order, every multiset once before any is dealt again.

    Cards in `last` are dealt only when there are no others.

    Raises:
        UserError: an evaluation split would be smaller than asked for.
    """
    key = SIZE_KEYS[family(split)]
    if count > len(deck) and split not in TRAINING_SPLITS:
        raise UserError(
            f"task.hands.{key}: {count} hands wanted for {split}, but only {len(deck)} exist "
            "(allowed: fewer hands; or set aside more multisets, or another ood_share)"
        )
    shuffled = deck.iloc[_generator(seed, split).permutation(len(deck))]
    shuffled = shuffled.assign(last=shuffled["cards"].isin(last)).sort_values("last", kind="stable")
    shuffled["repeat"] = shuffled["group"].duplicated()
    chosen = shuffled.sort_values(["last", "repeat"], kind="stable").head(count)
    order = _generator(seed, f"{split} order").permutation(len(chosen))
    return chosen.iloc[order].reset_index(drop=True)


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, *purpose.encode()])
