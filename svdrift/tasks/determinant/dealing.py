"""Deals matrices, so that none of an evaluation was trained on.

A *group* is all matrices that differ by the order of rows or columns or by transposing
(`matrices.key`). The groups of the trained form are shared out: some for tests, some for selection,
the rest for training, of which SFT demonstrates a share. Tests of another rule have the test's
groups, too, so that a matrix is posed under both rules; there both rules must differ. Matrices of
another size or range are in the part of their group, where the trained form has it, too.

No matrix has the value 0 under its split's rule. Subsets: `trivial`, where every product but one
is 0 or the value lies within 4 of 0, or `proper`; and `symmetric` or `asymmetric`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from svdrift.errors import UserError
from svdrift.tasks.determinant.matrices import RULES, Rows, join, key, parse, products, value
from svdrift.tasks.determinant.settings import MOST, TRAINING
from svdrift.tasks.splits import OOD
from svdrift.tasks.usual import FURTHER

if TYPE_CHECKING:
    from svdrift.tasks.determinant.settings import DealSettings, Form, MatricesSettings, Settings

SMALL = 4  # a value within this of 0 is easily guessed


def make_split(
    split: str,
    settings: DealSettings,
    count: int,
    seed: int,
    training: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Deal one split: `problem`, `group`, `subsets`, `matrix`, `rule`, `size`, `value`.

    Raises:
        UserError: an evaluation split would be smaller than asked for, or any without matrices.
    """
    form, rng = settings.form, np.random.default_rng([seed, *split.encode()])
    if split == "demonstrated":
        shown = training["demonstrations"]
        chosen = [parse(text) for text in shown["matrix"].sample(frac=1, random_state=rng)][:count]
    else:
        pool = _pool(split, settings, seed, count)
        _require(split, pool, 1 if split in TRAINING else count)
        chosen = [pool[place] for place in rng.permutation(len(pool))[:count]]
    return _table(split, chosen, form.rule)


def vary_table(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
    """The same matrices under the rule of `settings`; those of value 0 are left out."""
    rule = settings.form.rule
    values = [value(products(parse(text)), rule) for text in table["matrix"]]
    varied = table.assign(rule=rule, value=values)
    return varied[varied["value"] != 0].reset_index(drop=True)


def check_supply(settings: Settings, seed: int) -> None:
    """Refuse settings that ask for more matrices than there are; those of forms that are drawn
    at random are not counted.

    Raises:
        UserError: naming the split, how many are asked for and how many there are.
    """  # noqa: D205
    for split in settings.splits:
        deal, count = settings.deal(split.name), settings.count(split.name)
        if split.role in ("selection", "test") and _listed(deal.form):
            _require(split.name, _pool(split.name, deal, seed, count), count)


def check_splits(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Verify what the top of this module promises.

    Returns:
        One row a split: `split`, `rule`, `size`, `problems`, `groups`, `commonest`: the share of
        the commonest value, which a constant answer scores.

    Raises:
        RuntimeError: naming the broken promise.
    """
    trained = {group for split in TRAINING for group in tables[split]["group"]}
    chosen_on = {
        group for split, of in tables.items() if "selection" in split for group in of["group"]
    }
    rows = []
    for split, table in tables.items():
        if split not in (*TRAINING, "demonstrated") and trained & set(table["group"]):
            raise RuntimeError(f"{split}: has groups that are trained on")
        if "test" in split and chosen_on & set(table["group"]):
            raise RuntimeError(f"{split}: has groups of the selection sets")
        if (table["value"] == 0).any() or table["matrix"].duplicated().any():
            raise RuntimeError(f"{split}: has matrices of value 0, or one of them twice")
        most = Counter(table["value"]).most_common(1)[0][1]
        rows.append(
            {
                "split": split,
                "rule": table["rule"].iloc[0],
                "size": int(table["size"].iloc[0]),
                "problems": len(table),
                "groups": table["group"].nunique(),
                "commonest": most / len(table),
            }
        )
    return pd.DataFrame(rows)


def chance_table(forms: Sequence[Form]) -> pd.DataFrame:
    """What constant answers score: `rule`, `size`, `answer`, `share`, the commonest first.

    Of all matrices of a form that has at most 200,000, else of 100,000 drawn at random; those of
    value 0 do not count.
    """
    rows = []
    for form in forms:
        if _listed(form):
            every: Sequence[Rows] = _every(form.size, form.low, form.high)
        else:
            every = _draw(form, 10**5, np.random.default_rng(0))
        values = Counter(value(products(rows), form.rule) for rows in every)
        del values[0]
        for answer, times in sorted(values.items(), key=lambda item: (-item[1], item[0])):
            rows.append((form.rule, form.size, answer, times / values.total()))
    return pd.DataFrame(rows, columns=["rule", "size", "answer", "share"])


# --------------------------------------------------------------------------------------
# Which matrices a split may have


def _require(split: str, pool: Sequence[Rows], count: int) -> None:
    if len(pool) < count:
        raise UserError(
            f"task.matrices: {split} asks for {count} matrices and there are {len(pool)} (ask for "
            "fewer, widen the range of entries, or raise the share of groups)"
        )


def _pool(split: str, settings: DealSettings, seed: int, count: int) -> list[Rows]:
    form, own = settings.form, settings.id_form
    same = (form.size, form.low, form.high) == (own.size, own.low, own.high)
    parts = _share_out(own.size, own.low, own.high, settings.matrices, seed)
    part = split if split in TRAINING else "selection" if "selection" in split else "test"
    wanted = parts["training" if part == "practice" else part]
    if same:
        found = [rows for rows in _every(own.size, own.low, own.high) if _key_of(rows) in wanted]
    else:
        # Groups that the trained form has, too, keep their part; of all others, selection and tests
        # draw from two halves.
        shared = parts["training"] | parts["selection"] | parts["test"]
        rng = np.random.default_rng([seed, *f"{split} pool".encode()])
        every = (
            _every(form.size, form.low, form.high) if _listed(form) else _draw(form, 4 * count, rng)
        )
        found = [
            rows
            for rows in every
            if (group := _key_of(rows)) in wanted
            or (group not in shared and (hash_of(group, seed) % 2 == 0) == (part == "selection"))
        ]
    return [
        rows for rows in found if _counts(rows, form.rule, ood=split.startswith((OOD, FURTHER)))
    ]


def hash_of(text: str, seed: int) -> int:
    """A number that a group has under a seed, the same in every process."""
    return int(np.random.SeedSequence([seed, *text.encode()]).generate_state(1)[0])


def _counts(rows: Rows, rule: str, *, ood: bool) -> bool:
    values = {other: value(products(rows), other) for other in RULES}
    return values[rule] != 0 and not (ood and len(set(values.values())) == 1)


def _share_out(
    size: int, low: int, high: int, matrices: MatricesSettings, seed: int
) -> dict[str, frozenset[str]]:
    """Groups of the trained form by part: test, selection, training, demonstrations."""
    groups = sorted({_key_of(rows) for rows in _every(size, low, high)})
    order = np.random.default_rng([seed, *b"groups"]).permutation(len(groups))
    test = round(matrices.test_share * len(groups))
    selection = test + round(matrices.selection_share * len(groups))
    shown = selection + max(1, round(matrices.demonstrated_share * (len(groups) - selection)))
    parts = {
        "test": order[:test],
        "selection": order[test:selection],
        "training": order[selection:],
        "demonstrations": order[selection:shown],
    }
    return {name: frozenset(groups[place] for place in places) for name, places in parts.items()}


def _listed(form: Form) -> bool:
    return form.matrices <= MOST


@cache
def _every(size: int, low: int, high: int) -> tuple[Rows, ...]:
    """All matrices of a size and range."""
    return tuple(
        _shaped(entries, size) for entries in product(range(low, high + 1), repeat=size**2)
    )


_key_of = cache(key)


def _draw(form: Form, count: int, rng: np.random.Generator) -> list[Rows]:
    """Different matrices, drawn uniformly."""
    drawn = rng.integers(form.low, form.high + 1, size=(count, form.size**2)).tolist()
    return list(dict.fromkeys(_shaped(tuple(entries), form.size) for entries in drawn))


def _shaped(entries: Sequence[int], size: int) -> Rows:
    return tuple(tuple(entries[row * size : (row + 1) * size]) for row in range(size))


def _table(split: str, chosen: Sequence[Rows], rule: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "problem": [f"{split}-{row:05d}" for row in range(len(chosen))],
            "group": [key(rows) for rows in chosen],
            "subsets": [_subsets(rows, rule) for rows in chosen],
            "matrix": [join(rows) for rows in chosen],
            "rule": rule,
            "size": [len(rows) for rows in chosen],
            "value": [value(products(rows), rule) for rows in chosen],
        }
    )


def _subsets(rows: Rows, rule: str) -> str:
    terms = products(rows)
    trivial = sum(term != 0 for term in terms) < 2 or abs(value(terms, rule)) <= SMALL
    symmetric = rows == tuple(zip(*rows, strict=True))
    return f"{'trivial' if trivial else 'proper'},{'symmetric' if symmetric else 'asymmetric'}"
