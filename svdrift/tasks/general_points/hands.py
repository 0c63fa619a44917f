"""Deals the hands of a study, split so that no evaluation hand was ever trained on.

A hand's *value multiset* is its four values under a rule, sorted; its *rank multiset* the four
cards, sorted. The splits:

- `demonstrations` (SFT), `practice` (RL): ID rule. Practice is dealt from all training value
  multisets, demonstrations from some of them.
- `demonstrated`: ID rule, from the demonstrated value multisets; hands that are not themselves
  among the demonstrations go first.
- `id_selection`, `id_test`: ID rule, from value multisets kept apart for each.
- `ood_selection`, `ood_test`: OOD rule, at least one face card, from rank multisets that are never
  dealt for training; each from value multisets of its own.

A share of all value multisets is *held out* of every stage of training, pretraining included.
Selection and test multisets are drawn without regard to it, so that they hold both kinds in
natural proportion (column `pretrained`).

Every draw has its own random generator: asking for more of one split leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from svdrift.errors import UserError
from svdrift.tasks.general_points import game
from svdrift.tasks.general_points.files import read_own_hands
from svdrift.tasks.general_points.solver import canonical_solution, solutions

if TYPE_CHECKING:
    from svdrift.settings import TaskSettings

SIZE_KEYS = {
    "demonstrations": "demonstrations",
    "practice": "practice",
    "demonstrated": "demonstrated_test",
    "id_selection": "selection",
    "id_test": "test",
    "ood_selection": "selection",
    "ood_test": "test",
}
"""Each split, and the setting under `task.hands` that says how many hands it has."""

SPLITS = tuple(SIZE_KEYS)
TRAINING_SPLITS = ("demonstrations", "practice")
OOD_SPLITS = ("ood_selection", "ood_test")

OOD_SELECTION_SHARE = 0.2
"""Share of the OOD value multisets that goes to selection; the test has the rest."""


def make_hands(settings: TaskSettings, seed: int) -> dict[str, pd.DataFrame]:
    """Deal all SPLITS: name -> table, one row a hand.

    Columns: `hand_id`, `cards` and their `numbers` (in dealt order), `rule` (name), `target`,
    `multiset` (sorted numbers), `pretrained` (multiset not held out of pretraining), `exposure`
    of the multiset ("demonstrated", "practised", "neither"), `gold` (canonical formula).

    All hands of a training split differ, and where fewer exist than asked for, all are dealt.
    Evaluation splits are as large as asked for, or the user's own file.

    Raises: UserError naming the setting that asks for more than there is, or a bad hands file.
    """
    own = _own_hands(settings)
    held_out = {game.join(numbers) for numbers in held_out_multisets(settings, seed)}
    reserved = _reserved_ranks(settings, seed, own)
    decks = _id_decks(settings, seed, own, held_out, reserved)
    decks |= _ood_decks(settings, seed, own, reserved)

    dealt = own | {
        split: _deal(deck, split, settings, seed)
        for split, deck in decks.items()
        if split not in own
    }
    demonstrations = dealt["demonstrations"]
    shown, taken = demonstrations["multiset"], demonstrations["cards"]
    deck = _within(decks["demonstrations"], shown)
    dealt["demonstrated"] = _deal(deck, "demonstrated", settings, seed, last=taken)

    exposure = dict.fromkeys(dealt["practice"]["multiset"], "practised")
    exposure |= dict.fromkeys(shown, "demonstrated")
    return {
        split: pd.DataFrame(
            {
                "hand_id": [f"{split}-{row:05d}" for row in range(len(hands))],
                "cards": hands["cards"],
                "rule": _rule_name(split, settings),
                "target": settings.target,
                "numbers": hands["numbers"],
                "multiset": hands["multiset"],
                "pretrained": ~hands["multiset"].isin(held_out),
                "exposure": hands["multiset"].map(exposure).fillna("neither"),
                "gold": [_gold(multiset, settings.target) for multiset in hands["multiset"]],
            }
        )
        for split in SPLITS
        for hands in [dealt[split]]
    }


def held_out_multisets(settings: TaskSettings, seed: int) -> set[game.Multiset]:
    """The value multisets that no training stage of this seed may use, solvable or not."""
    everything = game.value_multisets(settings.rules)
    count = round(settings.hands.pretraining_holdout * len(everything))
    order = _generator(seed, "held_out").permutation(len(everything))
    return {everything[place] for place in order[:count]}


def check_splits(hands: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Verify every promise of disjointness made at the top of this module.

    Returns one row a split: `split`, `rule`, `hands`, `multisets`, `rank_multisets`, and how many
    of its hands have a multiset that is `pretrained`, `demonstrated`, `practised`, `neither`.

    Raises: RuntimeError naming the broken promise and the offending hands.
    """
    ranks = {
        split: table["cards"].map(lambda cards: game.rank_multiset(cards.split()))
        for split, table in hands.items()
    }
    multisets = {split: table["multiset"] for split, table in hands.items()}

    def forbid(offending: pd.Series[bool], split: str, promise: str) -> None:
        if offending.any():
            examples = "; ".join(hands[split].loc[offending, "cards"].head(5))
            raise RuntimeError(f"{split}: {offending.sum()} hands {promise}: {examples}")

    for train in TRAINING_SPLITS:
        forbid(~hands[train]["pretrained"], train, "are held out of training")
        for split in ("id_selection", "id_test", *OOD_SPLITS):
            shared = ranks[split].isin(ranks[train])
            forbid(shared, split, f"share their ranks with {train}")
        for split in ("id_selection", "id_test"):
            shared = multisets[split].isin(multisets[train])
            forbid(shared, split, f"share their values with {train}")
    for rule in ("id", "ood"):
        shared = multisets[f"{rule}_selection"].isin(multisets[f"{rule}_test"])
        forbid(shared, f"{rule}_selection", f"share their values with {rule}_test")
    for split in OOD_SPLITS:
        faceless = ~hands[split]["cards"].str.contains("[JQK]")
        forbid(faceless, split, "have no face card, so that both rules read them alike")
    foreign = ~multisets["demonstrated"].isin(multisets["demonstrations"])
    forbid(foreign, "demonstrated", "have values that are not demonstrated")

    return pd.DataFrame(
        {
            "split": split,
            "rule": hands[split]["rule"].iloc[0],
            "hands": len(hands[split]),
            "multisets": multisets[split].nunique(),
            "rank_multisets": ranks[split].nunique(),
            "pretrained": int(hands[split]["pretrained"].sum()),
            **{
                exposure: int((hands[split]["exposure"] == exposure).sum())
                for exposure in ("demonstrated", "practised", "neither")
            },
        }
        for split in SPLITS
    )


def solution_table(settings: TaskSettings) -> pd.DataFrame:
    """One row a value multiset: `multiset`, `solvable`, `n_formulas`, `canonical` (or None)."""
    rows = []
    for numbers in game.value_multisets(settings.rules):
        canonical = canonical_solution(numbers, settings.target)
        n_formulas = len(solutions(numbers, settings.target))
        rows.append((game.join(numbers), canonical is not None, n_formulas, canonical))
    return pd.DataFrame(rows, columns=["multiset", "solvable", "n_formulas", "canonical"])


def _own_hands(settings: TaskSettings) -> dict[str, pd.DataFrame]:
    """The user's own hands, by split."""
    return {
        split: _spread(hands, settings.rules[_rule_name(split, settings)])
        for split, hands in read_own_hands(settings).items()
    }


def _id_decks(
    settings: TaskSettings,
    seed: int,
    own: Mapping[str, pd.DataFrame],
    held_out: Collection[str],
    reserved: Collection[str],
) -> dict[str, pd.DataFrame]:
    """What each split under the ID rule is dealt from."""
    sizes = settings.hands
    deck = _deck(settings.rules[settings.id_rule], settings.target)
    multisets = set(deck["multiset"])
    if "id_test" in own:
        test = set(own["id_test"]["multiset"])
    else:
        test = _draw(multisets, sizes.test_multisets, "test_multisets", seed)
    selection = _draw(multisets - test, sizes.selection_multisets, "selection_multisets", seed)

    practice = _within(deck, multisets - test - selection - set(held_out))
    practice = practice[~practice["ranks"].isin(reserved)]
    demonstrations = practice
    if sizes.demonstrated_multisets != "all":
        if sizes.demonstrations < sizes.demonstrated_multisets:
            raise UserError(
                f"task.hands.demonstrations: {sizes.demonstrations} hands cannot show "
                f"{sizes.demonstrated_multisets} multisets (demonstrated_multisets)"
            )
        key, practised = "demonstrated_multisets", set(practice["multiset"])
        chosen = _draw(practised, sizes.demonstrated_multisets, key, seed)
        demonstrations = _within(practice, chosen)
    return {
        "demonstrations": demonstrations,
        "practice": practice,
        "id_selection": _within(deck, selection),
        "id_test": _within(deck, test),
    }


def _ood_decks(
    settings: TaskSettings,
    seed: int,
    own: Mapping[str, pd.DataFrame],
    reserved: Collection[str],
) -> dict[str, pd.DataFrame]:
    """What each split under the OOD rule is dealt from."""
    deck = _deck(settings.rules[settings.ood_rule], settings.target)
    deck = deck[deck["ranks"].isin(reserved)]
    multisets = set(deck["multiset"])
    if "ood_test" in own:
        multisets -= set(own["ood_test"]["multiset"])
    count = round(OOD_SELECTION_SHARE * len(multisets))
    selection = _draw(multisets, count, "ood_selection", seed)
    return {
        "ood_selection": _within(deck, selection),
        "ood_test": _within(deck, multisets - selection),
    }


def _rule_name(split: str, settings: TaskSettings) -> str:
    return settings.ood_rule if split in OOD_SPLITS else settings.id_rule


def _spread(hands: Iterable[tuple[str, ...]], rule: game.Rule) -> pd.DataFrame:
    """One row a hand, all as text: `cards`, `numbers`, `multiset`, `ranks` (sorted cards)."""
    rows = []
    for cards in hands:
        numbers = game.values(cards, rule)
        rows.append(
            {
                "cards": game.join(cards),
                "numbers": game.join(numbers),
                "multiset": game.join(game.multiset(numbers)),
                "ranks": game.rank_multiset(cards),
            }
        )
    return pd.DataFrame(rows)


def _deck(rule: game.Rule, target: int) -> pd.DataFrame:
    """All ordered hands that are solvable under the rule."""
    deck = _spread(product(game.RANKS, repeat=game.HAND_SIZE), rule)
    return _within(deck, {text for text in deck["multiset"].unique() if _gold(text, target)})


def _within(deck: pd.DataFrame, multisets: Collection[str]) -> pd.DataFrame:
    return deck[deck["multiset"].isin(multisets)]


def _gold(multiset: str, target: int) -> str | None:
    return canonical_solution([int(number) for number in multiset.split()], target)


def _reserved_ranks(settings: TaskSettings, seed: int, own: Mapping[str, pd.DataFrame]) -> set[str]:
    """The rank multisets with a face card that are kept for OOD selection and test."""
    given = set(own["ood_test"]["ranks"]) if "ood_test" in own else set()
    with_face = {
        game.rank_multiset(cards)
        for cards in product(game.RANKS, repeat=game.HAND_SIZE)
        if not set(game.FACES).isdisjoint(cards)
    }
    count = round(settings.hands.ood_share * len(with_face))
    return given | _draw(with_face, count, "ood_share", seed)


def _draw(items: Collection[str], count: int, key: str, seed: int) -> set[str]:
    """Draw `count` of the items; `key` is the setting that asked, and picks the generator."""
    if count > len(items):
        raise UserError(f"task.hands.{key}: {count} multisets wanted, but only {len(items)} remain")
    order = _generator(seed, key).permutation(len(items))
    ordered = sorted(items)
    return {ordered[place] for place in order[:count]}


def _deal(
    deck: pd.DataFrame,
    split: str,
    settings: TaskSettings,
    seed: int,
    last: Collection[str] = (),
) -> pd.DataFrame:
    """Deal distinct hands in random order, every multiset once before any is dealt again.

    Cards in `last` are dealt only when there are no others. Raises UserError when an evaluation
    split would come out smaller than asked for.
    """
    key = SIZE_KEYS[split]
    count = getattr(settings.hands, key)
    if count > len(deck) and split not in TRAINING_SPLITS:
        raise UserError(
            f"task.hands.{key}: {count} hands wanted for {split}, but only {len(deck)} are there "
            "(allowed: fewer hands; or set aside more multisets, or another ood_share)"
        )
    shuffled = deck.iloc[_generator(seed, split).permutation(len(deck))]
    shuffled = shuffled.assign(last=shuffled["cards"].isin(last)).sort_values("last", kind="stable")
    shuffled["repeat"] = shuffled["multiset"].duplicated()
    chosen = shuffled.sort_values(["last", "repeat"], kind="stable").head(count)
    order = _generator(seed, f"{split} order").permutation(len(chosen))
    return chosen.iloc[order].reset_index(drop=True)


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, *purpose.encode()])
