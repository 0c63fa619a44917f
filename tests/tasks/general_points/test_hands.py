import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.tasks.general_points import game
from svdrift.tasks.general_points.decks import held_out_multisets
from svdrift.tasks.general_points.formula import evaluate, tokenise
from svdrift.tasks.general_points.hands import (
    check_splits,
    solution_table,
    vary_table,
)
from svdrift.tasks.general_points.settings import HandsSettings, Settings
from svdrift.tasks.general_points.solver import canonical_solution
from svdrift.tasks.general_points.splits import SPLITS
from tests.tasks.general_points.dealing import make_hands

SMALL = {
    "demonstrations": 300,
    "practice": 400,
    "demonstrated_test": 80,
    "selection": 100,
    "test": 200,
}


def study(hands: dict[str, Any] | None = None, **task: Any) -> Settings:
    return Settings(hands=HandsSettings(**(SMALL | (hands or {}))), **task)


STUDIES = {
    "published": study(),
    "swapped": study(id_rule="faces", ood_rules=("tens",)),
    "all demonstrated, nothing held out": study(
        {"demonstrated_multisets": "all", "pretraining_holdout": 0}
    ),
    "another target and rule": study(
        {"demonstrated_multisets": 40},
        target=37,
        rules={"tens": (10, 10, 10), "odd": (15, 20, 60)},
        ood_rules=("odd",),
    ),
    "further rules": study(
        rules={"tens": (10, 10, 10), "faces": (11, 12, 13), "odd": (7, 9, 13), "low": (1, 2, 3)},
        ood_rules=("faces", "odd", "low"),
    ),
}


@cache
def dealt(name: str, seed: int = 0) -> dict[str, pd.DataFrame]:
    return make_hands(STUDIES[name], seed)


def columns(tables: dict[str, pd.DataFrame], column: str, *splits: str) -> set[str]:
    return set(pd.concat([tables[split] for split in splits])[column])


def ranks(tables: dict[str, pd.DataFrame], *splits: str) -> set[tuple[str, ...]]:
    return {tuple(sorted(cards.split())) for cards in columns(tables, "cards", *splits)}


def subsets(tables: dict[str, pd.DataFrame], split: str, place: int) -> set[str]:
    return set(tables[split]["subsets"].str.split(",").str[place])


@pytest.mark.parametrize("name", STUDIES)
def test_rows_are_right(name: str) -> None:
    settings, tables = STUDIES[name], dealt(name)
    assert list(tables) == [split.name for split in settings.splits]
    assert list(tables)[: len(SPLITS)] == list(SPLITS)
    values, share = game.possible_values(settings.rules), settings.hands.pretraining_holdout
    held_out = {game.join(m) for m in held_out_multisets(values, 4, share, 0)}
    ids: list[str] = []
    for table in tables.values():
        ids += list(table["problem"])
        assert table["cards"].is_unique
        for row in table.itertuples(index=False):
            cards = str(row.cards).split()
            numbers = game.values(cards, settings.rules[str(row.rule)])
            assert row.numbers == game.join(numbers)
            assert row.group == game.join(sorted(numbers))
            assert str(row.subsets).split(",")[0] == (
                "heldout" if row.group in held_out else "seen"
            )
            assert row.target == settings.target
            assert isinstance(row.gold, str)
    assert len(ids) == len(set(ids))
    assert set(tables["ood_test"]["rule"]) == {settings.ood_rules[0]}
    assert set(tables["practice"]["rule"]) == {settings.id_rule}


@pytest.mark.parametrize("name", STUDIES)
def test_evaluation_is_disjoint_from_training(name: str) -> None:
    tables = dealt(name)
    training = ("demonstrations", "practice")
    evaluation = [split for split in tables if split not in (*training, "demonstrated")]
    assert not ranks(tables, *evaluation) & ranks(tables, *training)
    assert not columns(tables, "group", "id_selection", "id_test") & columns(
        tables, "group", *training
    )
    for rule in ("id", "ood"):
        assert not columns(tables, "group", f"{rule}_selection") & columns(
            tables, "group", f"{rule}_test"
        )
    assert all(subsets(tables, split, 0) == {"seen"} for split in training)
    for split in evaluation:
        if split.startswith("ood"):
            assert tables[split]["cards"].str.contains("J|Q|K").all()


@pytest.mark.parametrize("name", STUDIES)
def test_exposure_says_what_was_dealt(name: str) -> None:
    tables = dealt(name)
    demonstrated = columns(tables, "group", "demonstrations")
    practised = columns(tables, "group", "practice") - demonstrated
    for table in tables.values():
        exposures = table["subsets"].str.split(",").str[1]
        for multiset, exposure in zip(table["group"], exposures, strict=True):
            expected = "demonstrated" if multiset in demonstrated else "neither"
            assert exposure == ("practised" if multiset in practised else expected)
    assert subsets(tables, "demonstrated", 1) == {"demonstrated"}


def test_swapped_study_knows_ood_hands_by_exposure() -> None:
    assert subsets(dealt("published"), "ood_test", 1) == {"neither"}
    assert {"practised", "neither"} <= subsets(dealt("swapped"), "ood_test", 1)


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
    assert tables["demonstrations"]["group"].nunique() == 150
    assert tables["id_test"]["group"].nunique() == 100
    assert not set(tables["demonstrated"]["cards"]) & set(tables["demonstrations"]["cards"])
    assert (
        0.1 < tables["id_test"]["subsets"].str.contains("heldout").mean() < 0.4
    )  # held out: a fifth


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
    practised = columns(tables, "group", "practice")
    assert not {"1 3 5 10", "3 3 8 8"} & practised
    assert ("2", "A", "J", "Q") not in ranks(tables, "practice")


def test_check_splits_names_what_breaks_a_promise() -> None:
    tables = dealt("published")
    summary = check_splits(tables)
    assert list(summary["split"]) == list(SPLITS)
    assert list(summary["problems"]) == [len(tables[split]) for split in SPLITS]
    moves = [("practice", "id_test", "ranks"), ("id_test", "id_selection", "values with id_test")]
    moves += [("id_test", "demonstrated", "not demonstrated"), ("practice", "ood_test", "ranks")]
    for source, destination, message in moves:
        moved = pd.concat([tables[destination], tables[source].head(1)], ignore_index=True)
        with pytest.raises(RuntimeError, match=f"{destination}.*{message}") as caught:
            check_splits(tables | {destination: moved})
        assert tables[source]["cards"][0] in str(caught.value)


def test_further_rules_share_the_hands_of_the_first_ood_test() -> None:
    tables = dealt("further rules")
    summary = check_splits(tables).set_index("split")
    assert list(summary.loc["ood_test":, "rule"]) == ["faces", "odd", "low"]
    assert list(summary.loc["ood_test":, "role"]) == ["test"] * 3
    assert list(summary.loc["ood_test":, "problems"]) == [200] * 3
    for rule in ("odd", "low"):
        assert not ranks(tables, f"ood_test_{rule}") & ranks(tables, "ood_selection")
    assert list(tables["ood_test_odd"]["cards"]) != list(tables["ood_test"]["cards"])
    moved = pd.concat([tables["ood_test_odd"], tables["ood_selection"].head(1)], ignore_index=True)
    with pytest.raises(RuntimeError, match=r"ood_test_odd.*ranks with ood_selection"):
        check_splits(tables | {"ood_test_odd": moved})


def test_a_further_rule_leaves_the_other_splits_as_they_are() -> None:
    rules = {"tens": (10, 10, 10), "faces": (11, 12, 13), "low": (1, 2, 3)}
    with_it = make_hands(study(rules=rules, ood_rules=("faces", "low")), 0)
    for split, table in make_hands(study(rules=rules), 0).items():
        pd.testing.assert_frame_equal(table, with_it[split])
    assert list(with_it) == [*SPLITS, "ood_test_low"]


@pytest.mark.parametrize("changes", [{"rule": "faces"}, {"target": 20}])
def test_varied_hands_keep_their_cards(changes: dict[str, Any]) -> None:
    settings = study()
    table = dealt("published")["practice"]
    varied = vary_table(table, settings.vary(**changes).deal("practice"))
    rule, target = changes.get("rule", "tens"), changes.get("target", 24)
    assert 0 < len(varied) < len(table)  # some cannot be solved
    same = table.set_index("problem").loc[varied["problem"]]
    assert list(varied["cards"]) == list(same["cards"])
    for row in varied.itertuples(index=False):
        numbers = game.values(str(row.cards).split(), settings.rules[rule])
        assert (row.rule, row.target, row.numbers) == (rule, target, game.join(numbers))
        assert row.group == game.join(sorted(numbers))
        assert evaluate(tokenise(str(row.gold))) == target
    left_out = table[~table["problem"].isin(varied["problem"])]
    for cards in left_out["cards"]:
        numbers = game.values(cards.split(), settings.rules[rule])
        assert canonical_solution(numbers, target) is None


def test_varied_to_the_same_is_the_same() -> None:
    table = dealt("published")["practice"]
    varied = vary_table(table, study().vary(rule="tens", target=24).deal("practice"))
    pd.testing.assert_frame_equal(varied, table)


def test_solution_table() -> None:
    table = solution_table(range(1, 14), (4,), 24).set_index("multiset")
    assert (len(table), table["solvable"].sum()) == (1820, 1362)
    assert table.loc["3 3 8 8", "n_formulas"] == 1
    assert table.loc["3 3 8 8", "canonical"] == "8 / ( 3 - ( 8 / 3 ) )"
    assert not table.loc["1 1 1 1", "solvable"]
    several = solution_table(range(1, 14), (2, 3), 24).set_index("multiset")
    assert len(several) == 91 + 455
    # By hand: two values make 24 as 2 * 12, 3 * 8, 4 * 6 and 11 + 13, 12 + 12, of 1 to 13.
    pairs = several.index[several["solvable"] & (several.index.str.count(" ") == 1)]
    assert set(pairs) == {"2 12", "3 8", "4 6", "11 13", "12 12"}


DIGESTS = {0: "8c12da07599b0190", 1: "8f371e2c2d57433c", 2: "6e1009c485b48a64"}


@pytest.mark.parametrize("seed", DIGESTS)
def test_the_default_hands_never_change(seed: int) -> None:
    """Studies are compared problem by problem, so a new option must not move the old hands."""
    digest = hashlib.sha256()
    for split, table in make_hands(Settings(), seed).items():
        digest.update(f"{split}{table.to_csv(index=False)}".encode())
    assert digest.hexdigest()[:16] == DIGESTS[seed]
