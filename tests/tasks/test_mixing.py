"""Mixtures: shares by hand, and which problems are drawn."""

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.tasks.mixing import allocate, largest_count, mix


@pytest.mark.parametrize(
    ("shares", "count", "counts"),
    [
        ({"a": 0.5, "b": 0.5}, 10, [5, 5]),
        ({"a": 0.5, "b": 0.5}, 5, [3, 2]),  # of equal remainders the first
        ({"a": 0.29, "b": 0.71}, 100, [29, 71]),  # 0.29 * 100 is below 29 in floating point
        (
            {"a": 0.47, "b": 0.16, "c": 0.158, "d": 0.12, "e": 0.061, "f": 0.031},
            10,
            [5, 2, 1, 1, 1, 0],
        ),
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 3, [1, 1, 1]),
        ({"a": 1.0}, 7, [7]),
    ],
)
def test_largest_remainders(shares, count, counts):
    assert list(allocate(shares, count).values()) == counts


@pytest.mark.parametrize(
    ("shares", "sizes", "count"),
    [
        ({"a": 0.5, "b": 0.5}, {"a": 10, "b": 4}, 9),  # 5 and 4
        ({"a": 0.5, "b": 0.5}, {"a": 4, "b": 10}, 8),  # 9 would need 5 of a
        ({"a": 0.75, "b": 0.25}, {"a": 300, "b": 50}, 202),  # 151.5 and 50.5, as 152 and 50
        ({"a": 1.0}, {"a": 7}, 7),
    ],
)
def test_largest_total(shares, sizes, count):
    assert largest_count(shares, sizes) == count


@pytest.mark.parametrize("first", [0.1, 0.29, 0.5, 0.9])
@pytest.mark.parametrize("sizes", [(3, 50), (17, 17), (40, 5)])
def test_no_larger_total_fits(first, sizes):
    shares, size = {"a": first, "b": 1 - first}, dict(zip("ab", sizes, strict=True))
    fitting = [
        count
        for count in range(600)
        if all(n <= size[name] for name, n in allocate(shares, count).items())
    ]
    assert largest_count(shares, size) == max(fitting)


def table(name, size, **columns):
    return pd.DataFrame({"problem": [f"{name}{i}" for i in range(size)], **columns})


TABLES = {
    "gold": table("g", 20),
    "own": table("o", 10, reply="x", sample=3, solved=True),
}


def test_problems_are_drawn_once_and_say_their_source():
    mixed = mix(TABLES, {"gold": 0.75, "own": 0.25}, 12, seed=0)
    assert mixed["problem"].is_unique
    assert mixed["source"].value_counts().to_dict() == {"gold": 9, "own": 3}
    assert set(mixed["problem"].str[0] + mixed["source"].str[0]) == {"gg", "oo"}
    assert mixed["source"].iloc[:9].nunique() == 2  # shuffled
    assert list(mixed.index) == list(range(12))


def test_missing_columns_are_null_also_in_the_file(tmp_path):
    mix(TABLES, {"gold": 0.5, "own": 0.5}, None, seed=0).to_parquet(tmp_path / "mixed.parquet")
    mixed = pd.read_parquet(tmp_path / "mixed.parquet")
    assert len(mixed) == 21  # 11 and 10
    gold = mixed["source"] == "gold"
    assert mixed.loc[gold, ["reply", "sample", "solved"]].isna().all(axis=None)
    assert mixed.loc[~gold, ["reply", "sample", "solved"]].values.tolist() == [["x", 3, True]] * 10


def test_seeds_decide_the_draw():
    shares = {"gold": 0.5, "own": 0.5}
    assert mix(TABLES, shares, 8, seed=1).equals(mix(TABLES, shares, 8, seed=1))
    assert not mix(TABLES, shares, 8, seed=1).equals(mix(TABLES, shares, 8, seed=2))


def test_draw_from_a_set_does_not_depend_on_the_others():
    one = mix(TABLES, {"gold": 0.5, "own": 0.5}, 8, seed=1)
    other = mix(TABLES | {"own": table("p", 30)}, {"gold": 0.5, "own": 0.5}, 8, seed=1)
    drawn = [set(mixed.loc[mixed["source"] == "gold", "problem"]) for mixed in (one, other)]
    assert drawn[0] == drawn[1]


def test_too_few_problems_are_named():
    with pytest.raises(UserError, match=r"for 30 .*own has 10 \(allowed: a count up to 21"):
        mix(TABLES, {"gold": 0.5, "own": 0.5}, 30, seed=0)
    with pytest.raises(UserError, match="mix: gold is empty"):
        mix(TABLES | {"gold": table("g", 0)}, {"gold": 0.5, "own": 0.5}, None, seed=0)
