"""Deals the hands of a study, split so that no evaluation hand was ever trained on.

A hand's *value multiset* is its values under a rule, sorted; its *rank multiset* its cards,
sorted. The splits:

- `demonstrations` (SFT), `practice` (RL): ID rule. Practice is dealt from all training value
  multisets, demonstrations from some of them.
- `demonstrated`: ID rule, from the demonstrated value multisets; hands that are not themselves
  among the demonstrations go first.
- `id_selection`, `id_test`: ID rule, each from value multisets of its own.
- `ood_selection`, `ood_test`: first OOD rule, at least one face card, from reserved rank multisets,
  which are never dealt for training; each from value multisets of its own.
- `ood_test_{rule}`: a further OOD rule, from the rank multisets that `ood_test` is dealt from.
- `ood_test_{shift}`: a shift of the settings, from the same rank multisets; with another number of
  cards or with added cards, from all hands that it alone can have. Where it has another rule than
  training or states another than counts, each hand reads otherwise under the other one.

A share of all value multisets of each size is *held out* of every stage of training, pretraining
included. Selection and test multisets are drawn without regard to it, so they contain held-out and
seen multisets in their natural proportion.

Each hand belongs to two *subsets*: `seen` or `heldout`, by whether its value multiset is held out;
and `demonstrated`, `practised` or `neither`, by the training split that has its value multiset.

Every draw has its own random generator: asking for more hands of one split does not change the
others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, permutations
from typing import TYPE_CHECKING

import pandas as pd

from svdrift.tasks.general_points import decks, game
from svdrift.tasks.general_points.files import read_hands_file
from svdrift.tasks.general_points.solver import canonical_solution, solutions
from svdrift.tasks.general_points.splits import OOD_SPLITS, SPLITS, TRAINING_SPLITS, family
from svdrift.tasks.usual import FURTHER, ROLES

if TYPE_CHECKING:
    from svdrift.tasks.general_points.settings import DealSettings

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
    (canonical formula); and, where they are not those of training, `stated` (name of the
    rule in the prompt, where another one counts) and `look` (how cards are drawn).

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
        given = settings.decks.files[split], settings.faces, settings.target, settings.hand_size
        hands = _spread(read_hands_file(*given), settings.faces)
    elif split == "demonstrated":
        shown = training["demonstrations"]
        deck = _within(_deck("practice", settings, seed, 0), shown["group"])
        hands = _deal(deck, split, count, seed, last=shown["cards"])
    else:
        hands = _deal(_deck(split, settings, seed, count), split, count, seed)

    held_out = {
        game.join(numbers)
        for numbers in decks.held_out_multisets(
            settings.values, settings.hand_size, settings.decks.pretraining_holdout, seed
        )
    }
    dealt = {**training, split: hands}
    exposure: dict[str, str] = {}
    for name, label in (("practice", "practised"), ("demonstrations", "demonstrated")):
        if name in dealt:
            exposure |= dict.fromkeys(dealt[name]["group"], label)
    groups = hands["group"]
    table = pd.DataFrame(
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
    return table.assign(**_other_prompt(settings))


def vary_table(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
    """The same hands under the rule and target of `settings`, where they are solvable.

    Ids, cards and `subsets` stay as they are: they describe the hand as it was dealt. So a varied
    training split may contain value multisets that are held out, or that a test has.

    Args:
        table: of `make_split`.
        settings: of the varied split.
    """
    hands = _spread([tuple(cards.split()) for cards in table["cards"]], settings.faces)
    table = table.drop(columns=["stated", "look"], errors="ignore")
    gold = pd.Series([_gold(group, settings.target) for group in hands["group"]], dtype=object)
    varied = table.assign(
        rule=settings.rule,
        target=settings.target,
        numbers=hands["numbers"].to_numpy(),
        group=hands["group"].to_numpy(),
        gold=gold.to_numpy(),
        **_other_prompt(settings),
    )
    return varied[varied["gold"].notna()].reset_index(drop=True)


def _other_prompt(settings: DealSettings) -> dict[str, str]:
    """Columns of what the prompt has otherwise than in training."""
    given = {"stated": settings.stated, "look": settings.look}
    return {key: value for key, value in given.items() if value is not None}


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
        turned = hands[split]["rule"] != hands["practice"]["rule"].iloc[0]
        forbid(faceless & turned, split, "have no face card, so that both rules read them alike")
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


def solution_table(values: Sequence[int], sizes: Iterable[int], target: int) -> pd.DataFrame:
    """One row a value multiset of one of the sizes.

    Columns: `multiset`, `solvable`, `n_formulas`, `canonical` (or None).
    """
    rows = []
    for numbers in chain.from_iterable(game.value_multisets(values, size) for size in sizes):
        canonical = canonical_solution(numbers, target)
        n_formulas = len(solutions(numbers, target))
        rows.append((game.join(numbers), canonical is not None, n_formulas, canonical))
    return pd.DataFrame(rows, columns=["multiset", "solvable", "n_formulas", "canonical"])


def _spread(hands: Iterable[tuple[str, ...]], rule: game.Rule) -> pd.DataFrame:
    """One row a hand, all as text: `cards`, `numbers`, `group`."""
    rows = []
    for cards in hands:
        numbers = game.values(cards, rule)
        rows.append(
            {
                "cards": game.join(cards),
                "numbers": game.join(numbers),
                "group": game.join(game.multiset(numbers)),
            }
        )
    return pd.DataFrame(rows, columns=["cards", "numbers", "group"])


def _deck(split: str, settings: DealSettings, seed: int, count: int) -> pd.DataFrame:
    """All hands that a split may be dealt from; see `decks.kinds_of`."""
    kinds = decks.kinds_of(split, settings, seed, count)
    hands = {hand for kind in kinds for hand in permutations(kind.ranks.split())}
    return _spread(sorted(hands, key=game.places), settings.faces)


def _within(deck: pd.DataFrame, multisets: Collection[str]) -> pd.DataFrame:
    return deck[deck["group"].isin(multisets)]


def _gold(multiset: str, target: int) -> str | None:
    return canonical_solution([int(number) for number in multiset.split()], target)


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
        UserError: an evaluation split would be smaller than asked for, or any without hands.
    """
    decks.require(split, count, len(deck))
    shuffled = deck.iloc[decks.generator(seed, split).permutation(len(deck))]
    shuffled = shuffled.assign(last=shuffled["cards"].isin(last)).sort_values("last", kind="stable")
    shuffled["repeat"] = shuffled["group"].duplicated()
    chosen = shuffled.sort_values(["last", "repeat"], kind="stable").head(count)
    order = decks.generator(seed, f"{split} order").permutation(len(chosen))
    return chosen.iloc[order].reset_index(drop=True)
