from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.settings.task import HandsSettings, TaskSettings
from svdrift.tasks.general_points import game
from svdrift.tasks.general_points.hands import (
    check_splits,
    held_out_multisets,
    solution_table,
)
from svdrift.tasks.general_points.splits import SPLITS
from tests.tasks.general_points.dealing import make_hands

SMALL = {
    "demonstrations": 300,
    "practice": 400,
    "demonstrated_test": 80,
    "selection": 100,
    "test": 200,
}


def study(hands: dict[str, Any] | None = None, **task: Any) -> TaskSettings:
    return TaskSettings(hands=HandsSettings(**(SMALL | (hands or {}))), **task)


STUDIES = {
    "published": study(),
    "swapped": study(id_rule="faces", ood_rule="tens"),
    "all demonstrated, nothing held out": study(
        {"demonstrated_multisets": "all", "pretraining_holdout": 0}
    ),
    "another target and rule": study(
        {"demonstrated_multisets": 40},
        target=37,
        rules={"tens": (10, 10, 10), "odd": (15, 20, 60)},
        ood_rule="odd",
    ),
}


@cache
def dealt(name: str, seed: int = 0) -> dict[str, pd.DataFrame]:
    return make_hands(STUDIES[name], seed)


def columns(tables: dict[str, pd.DataFrame], column: str, *splits: str) -> set[str]:
    return set(pd.concat([tables[split] for split in splits])[column])


def ranks(tables: dict[str, pd.DataFrame], *splits: str) -> set[tuple[str, ...]]:
    return {tuple(sorted(cards.split())) for cards in columns(tables, "cards", *splits)}


@pytest.mark.parametrize("name", STUDIES)
def test_rows_are_right(name: str) -> None:
    settings, tables = STUDIES[name], dealt(name)
    assert set(tables) == set(SPLITS)
    values, share = game.possible_values(settings.rules), settings.hands.pretraining_holdout
    held_out = {game.join(m) for m in held_out_multisets(values, share, 0)}
    ids: list[str] = []
    for table in tables.values():
        ids += list(table["hand_id"])
        assert table["cards"].is_unique
        for row in table.itertuples(index=False):
            cards = str(row.cards).split()
            numbers = game.values(cards, settings.rules[str(row.rule)])
            assert row.numbers == game.join(numbers)
            assert row.multiset == game.join(sorted(numbers))
            assert row.pretrained == (row.multiset not in held_out)
            assert row.target == settings.target
            assert isinstance(row.gold, str)
    assert len(ids) == len(set(ids))
    assert set(tables["ood_test"]["rule"]) == {settings.ood_rule}
    assert set(tables["practice"]["rule"]) == {settings.id_rule}


@pytest.mark.parametrize("name", STUDIES)
def test_evaluation_is_disjoint_from_training(name: str) -> None:
    tables = dealt(name)
    training = ("demonstrations", "practice")
    evaluation = ("id_selection", "id_test", "ood_selection", "ood_test")
    assert not ranks(tables, *evaluation) & ranks(tables, *training)
    assert not columns(tables, "multiset", "id_selection", "id_test") & columns(
        tables, "multiset", *training
    )
    for rule in ("id", "ood"):
        assert not columns(tables, "multiset", f"{rule}_selection") & columns(
            tables, "multiset", f"{rule}_test"
        )
    assert all(tables[split]["pretrained"].all() for split in training)
    assert tables["ood_test"]["cards"].str.contains("J|Q|K").all()


@pytest.mark.parametrize("name", STUDIES)
def test_exposure_says_what_was_dealt(name: str) -> None:
    tables = dealt(name)
    demonstrated = columns(tables, "multiset", "demonstrations")
    practised = columns(tables, "multiset", "practice") - demonstrated
    for table in tables.values():
        for multiset, exposure in zip(table["multiset"], table["exposure"], strict=True):
            expected = "demonstrated" if multiset in demonstrated else "neither"
            assert exposure == ("practised" if multiset in practised else expected)
    assert columns(tables, "exposure", "demonstrated") == {"demonstrated"}


def test_swapped_study_knows_ood_hands_by_exposure() -> None:
    assert columns(dealt("published"), "exposure", "ood_test") == {"neither"}
    assert {"practised", "neither"} <= columns(dealt("swapped"), "exposure", "ood_test")


def test_sizes_and_multisets_are_as_asked() -> None:
    tables = dealt("published")
    sizes = {split: len(table) for split, table in tables.items()}
    assert sizes == {
        "demonstrations": 300,
        "practice": 400,
        "demonstrated": 80,
        "id_selection": 100,
        "id_test": 200,
        "ood_selection": 100,
        "ood_test": 200,
    }
    assert tables["demonstrations"]["multiset"].nunique() == 60
    assert tables["id_test"]["multiset"].nunique() == 100
    assert not set(tables["demonstrated"]["cards"]) & set(tables["demonstrations"]["cards"])
    assert 0.1 < 1 - tables["id_test"]["pretrained"].mean() < 0.4  # held out: a fifth


def test_deals_repeat_and_depend_on_the_seed_and_not_on_other_splits() -> None:
    again = make_hands(STUDIES["published"], 0)
    for split, table in dealt("published").items():
        pd.testing.assert_frame_equal(table, again[split])
    assert list(dealt("published", 1)["id_test"]["cards"]) != list(again["id_test"]["cards"])
    more = make_hands(study({"practice": 500, "demonstrated_multisets": 50}), 0)
    for split in ("id_selection", "id_test", "ood_selection", "ood_test"):
        assert list(more[split]["cards"]) == list(again[split]["cards"])


def test_training_splits_take_all_there_is() -> None:
    tables = make_hands(study({"practice": 10**6, "demonstrations": 10**6}), 0)
    assert 4_000 < len(tables["practice"]) < 28_561
    assert len(tables["demonstrations"]) < len(tables["practice"])
    assert tables["practice"]["cards"].is_unique


@pytest.mark.parametrize(
    ("hands", "key"),
    [
        ({"test_multisets": 567}, "test_multisets"),
        ({"selection_multisets": 500}, "selection_multisets"),
        ({"demonstrated_multisets": 500}, "demonstrated_multisets"),
        ({"demonstrated_multisets": 150, "demonstrations": 149}, "demonstrations"),
        ({"test": 20_000}, "test: 20000 hands wanted for id_test"),
        ({"ood_share": 0.01}, "ood_selection"),
        ({"demonstrated_test": 20_000}, "demonstrated_test"),
    ],
)
def test_asking_for_too_much_names_the_setting(hands: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        make_hands(study(hands), 0)


def test_own_files_replace_the_test_and_leave_training(tmp_path: Path) -> None:
    own = {"id_test": ["3 J 5 A", "8 3 8 3"], "ood_test": ["J 2 A Q", "K K 2 A"]}
    files = {}
    for split, cards in own.items():
        files[split] = str(tmp_path / f"{split}.csv")
        Path(files[split]).write_text("cards\n" + "\n".join(cards), encoding="utf-8")
    everything = {"demonstrated_multisets": "all", "practice": 10**6}
    tables = make_hands(study({"files": files} | everything), 0)
    for split, cards in own.items():
        assert list(tables[split]["cards"]) == cards
    check_splits(tables)
    practised = columns(tables, "multiset", "practice")
    assert not {"1 3 5 10", "3 3 8 8"} & practised
    assert ("2", "A", "J", "Q") not in ranks(tables, "practice")


def test_check_splits_names_what_breaks_a_promise() -> None:
    tables = dealt("published")
    summary = check_splits(tables)
    assert list(summary["split"]) == list(SPLITS)
    assert list(summary["hands"]) == [len(tables[split]) for split in SPLITS]
    moves = [("practice", "id_test", "ranks"), ("id_test", "id_selection", "values with id_test")]
    moves += [("id_test", "demonstrated", "not demonstrated"), ("practice", "ood_test", "ranks")]
    for source, destination, message in moves:
        moved = pd.concat([tables[destination], tables[source].head(1)], ignore_index=True)
        with pytest.raises(RuntimeError, match=f"{destination}.*{message}") as caught:
            check_splits(tables | {destination: moved})
        assert tables[source]["cards"][0] in str(caught.value)


def test_solution_table() -> None:
    table = solution_table(range(1, 14), 24).set_index("multiset")
    assert (len(table), table["solvable"].sum()) == (1820, 1362)
    assert table.loc["3 3 8 8", "n_formulas"] == 1
    assert table.loc["3 3 8 8", "canonical"] == "8 / ( 3 - ( 8 / 3 ) )"
    assert not table.loc["1 1 1 1", "solvable"]
