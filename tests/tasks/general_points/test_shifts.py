"""Further tests of the game, and games of other numbers of cards."""

from functools import cache
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from svdrift.errors import UserError
from svdrift.tasks import load_settings, make_task
from svdrift.tasks.general_points.formula import evaluate, numbers_in, tokenise
from svdrift.tasks.general_points.game import Hand
from svdrift.tasks.general_points.hands import check_splits, make_split, vary_table
from svdrift.tasks.general_points.probing import Probing
from svdrift.tasks.general_points.settings import PlaySettings, Settings
from svdrift.tasks.general_points.solver import canonical_solution
from tests.tasks.general_points.dealing import make_hands

SMALL = {
    "demonstrations": 200,
    "practice": 200,
    "demonstrated_test": 50,
    "selection": 40,
    "test": 60,
}
WORTH = {"A": 1, "J": 10, "Q": 10, "K": 10} | {str(number): number for number in range(2, 20)}
FACES = {"J": 11, "Q": 12, "K": 13}
SHIFTS: dict[str, dict[str, Any]] = {
    "three_cards": {"hand_size": 3},
    "three_turned": {"hand_size": 3, "rule": "faces"},
    "large": {"added_cards": [19, 14]},
    "fake": {"stated": "faces"},
    "fake_turned": {"stated": "tens", "rule": "faces"},
    "twenty": {"target": 20},
}


def study(**given: Any) -> Settings:
    return Settings.model_validate({"hands": SMALL} | given)


@cache
def dealt() -> dict[str, pd.DataFrame]:
    return make_hands(study(shifts=SHIFTS), 0)


@pytest.mark.parametrize("name", SHIFTS)
def test_each_shift_has_what_it_names_and_is_solved_by_its_gold_reply(name: str) -> None:
    shift, table = SHIFTS[name], dealt()[f"ood_test_{name}"]
    assert len(table) == table["cards"].nunique() == SMALL["test"]
    worth = WORTH | (FACES if shift.get("rule") == "faces" else {})
    for row in table.itertuples(index=False):
        cards = str(row.cards).split()
        assert len(cards) == shift.get("hand_size", 4)
        numbers = [worth[card] for card in cards]
        assert row.numbers == " ".join(map(str, numbers))
        assert row.target == shift.get("target", 24)
        tokens = tokenise(str(row.gold))
        assert evaluate(tokens) == row.target
        assert sorted(numbers_in(tokens)) == sorted(numbers)
        assert bool({"14", "19"} & set(cards)) == (name == "large")
        if "rule" in shift or "stated" in shift:
            assert set(FACES) & set(cards)
    assert ("stated" in table.columns) == ("stated" in shift)


def test_no_shift_has_hands_of_training_or_selection() -> None:
    tables = dealt()

    def ranks(split: str) -> set[tuple[str, ...]]:
        return {tuple(sorted(cards.split())) for cards in tables[split]["cards"]}

    for name in SHIFTS:
        for split in ("demonstrations", "practice", "ood_selection"):
            assert not ranks(f"ood_test_{name}") & ranks(split)
    summary = check_splits(tables).set_index("split")
    assert list(summary.loc["ood_test_three_cards":].index) == [f"ood_test_{s}" for s in SHIFTS]
    assert set(summary.loc["ood_test":, "role"]) == {"test"}
    assert 0 < summary.loc["ood_test_three_cards", "seen"] < SMALL["test"]


def test_a_shift_without_new_values_leaves_the_other_splits_as_they_are() -> None:
    before = study()
    after = study(shifts={name: shift for name, shift in SHIFTS.items() if name != "large"})
    assert [split.name for split in after.splits][: len(before.splits)] == [
        split.name for split in before.splits
    ]
    for split in before.splits:
        assert after.deal(split.name) == before.deal(split.name)
        assert after.play(split.name) == before.play(split.name)


@pytest.mark.parametrize("style", ["compact", "paper"])
def test_a_fake_rule_is_stated_and_not_scored(style: str) -> None:
    settings = study(shifts=SHIFTS, prompt_style=style, max_reply_tokens=200)
    table = dealt()["ood_test_fake"]
    task = make_task(settings.play("ood_test_fake"))
    for problem in task.read(table):
        turn = task.first_turn(problem)
        stated = {"compact": "J= 11 Q= 12 K= 13", "paper": "count as '11', '12' and '13'"}
        assert stated[style] in turn
        assert task.verify(problem, task.gold_reply(problem)).solved
        believed = Hand(problem.cards, (11, 12, 13), problem.target)
        if canonical_solution(believed.numbers, 24):
            verdict = task.verify(problem, task.gold_reply(believed))
            assert not verdict.solved
            assert not verdict.translated


def test_probes_judge_a_fake_hand_under_the_stated_rule_too() -> None:
    fake = Hand(("3", "J", "5", "A"), (10, 10, 10), 24, stated=(11, 12, 13))
    others = Probing(PlaySettings()).under_other_rules(fake)
    assert {name: hand.numbers for name, hand in others.items()} == {"faces": (3, 11, 5, 1)}
    turn = Probing(PlaySettings()).helped(fake)["values"].turn
    assert turn == "J= 11 Q= 12 K= 13 target 24 numbers 3 10 5 1 solve"


def test_all_faces_can_count_12() -> None:
    rules = {"tens": [10, 10, 10], "faces": [11, 12, 13], "twelves": [12, 12, 12]}
    settings = study(rules=rules, ood_rules=["faces", "twelves"])
    task = make_task(settings.play("ood_test_twelves"))
    hand = Hand(("J", "Q", "K", "A"), settings.rules["twelves"], 24)
    assert task.verify(hand, "12 12 12 1 : 12 * ( ( 12 / 12 ) + 1 )").solved  # by hand
    assert not task.verify(hand, "10 10 10 1 : ( 10 + 10 ) + 10 - 1").solved
    for problem in task.read(make_hands(settings, 0)["ood_test_twelves"]):
        assert problem.numbers == tuple(
            (WORTH | dict.fromkeys("JQK", 12))[c] for c in problem.cards
        )


FIVE = Hand(("3", "K", "7", "4", "6"), (3, 3, 3), 24)
FIVE_REPLY = "3 3 7 4 6 : ( ( 3 + 3 ) * ( 7 - 4 ) ) + 6"  # by hand


def test_five_cards_are_posed_and_judged() -> None:
    task = make_task(PlaySettings())
    assert task.first_turn(FIVE) == "J= 3 Q= 3 K= 3 target 24 cards 3 K 7 4 6 answer"
    assert task.verify(FIVE, FIVE_REPLY).solved
    assert task.verify(FIVE, FIVE_REPLY.replace("+ 6", "+ 5")).fault == "wrong_number"
    assert task.verify(FIVE, "3 3 7 4 6 : ( 3 + 3 ) * 4").fault == "unused"
    paper = make_task(PlaySettings(prompt_style="paper"))
    assert paper.first_turn(FIVE).count("five cards") == 3
    assert "four" not in paper.first_turn(FIVE)
    partial = paper.verify(FIVE, paper.gold_reply(FIVE).replace("=24", "").replace("6)", "6"))
    assert paper.verify(FIVE, paper.gold_reply(FIVE)).solved
    assert not partial.solved


def test_help_ends_before_the_last_operation() -> None:
    probing = Probing(PlaySettings())
    five, two = probing.helped(FIVE), probing.helped(Hand(("3", "8"), (10, 10, 10), 24))
    assert list(five)[3:] == ["one_operation", "two_operations", "three_operations"]
    assert list(two) == ["nothing", "values", "translation"]
    gold = canonical_solution(FIVE.numbers, 24)
    assert gold is not None
    numbers = [
        len(numbers_in(tokenise(help.begun.split(":")[1]))) for help in list(five.values())[3:]
    ]
    assert numbers == [2, 3, 4]


def test_a_whole_study_has_another_number_of_cards() -> None:
    few = {"test_multisets": 8, "selection_multisets": 6, "demonstrated_multisets": 10}
    few |= {"demonstrations": 20, "practice": 40, "demonstrated_test": 10}
    settings = study(hand_size=3, hands=few | {"selection": 5, "test": 8})
    settings.check_supply((0,))
    tables = make_hands(settings, 0)
    task = make_task(settings.play(*tables))
    assert list(task.validate(tables)["accepted"]) == [len(table) for table in tables.values()]
    for table in tables.values():
        assert set(table["cards"].str.split().str.len()) == {3}


@pytest.mark.parametrize("size", [3, 5])
def test_turns_have_the_length_that_budgets_reckon_with(size: int) -> None:
    few = {"test_multisets": 8, "selection_multisets": 6, "demonstrated_multisets": 10}
    settings = study(hand_size=size, max_reply_tokens=22, hands=few | {"demonstrations": 20})
    task = make_task(settings.play("demonstrations"))
    hands = task.read(make_split("demonstrations", settings.deal("demonstrations"), 20, 0, {}))
    assert {len(task.gold_reply(hand).split()) + 1 for hand in hands} == {settings.tokens.reply}
    assert {len(task.first_turn(hand).split()) + 2 for hand in hands} == {settings.tokens.prompt}


def test_variants_of_a_shift_change_its_rule_and_target() -> None:
    settings = study(shifts=SHIFTS)
    table = dealt()["ood_test_fake"]
    turned = settings.vary(rule="faces").deal("ood_test_fake")
    assert "stated" not in vary_table(table, turned)
    assert set(vary_table(table, turned)["rule"]) == {"faces"}
    other = settings.vary(target=30).deal("ood_test_fake")
    assert set(vary_table(table, other)["stated"]) == {"faces"}
    assert settings.vary(target=30).deal("ood_test_twenty").target == 30


WRONG = [
    ({"shifts": {"x": {}}}, r"shifts\.x: is what is trained"),
    ({"shifts": {"x": {"rule": "tens", "target": 24}}}, "is what is trained"),
    ({"shifts": {"x": {"rule": "evn"}}}, r"shifts\.x\.rule: 'evn' is not a rule \(allowed: tens"),
    ({"shifts": {"x": {"stated": "evn"}}}, r"shifts\.x\.stated: 'evn' is not a rule"),
    ({"shifts": {"x": {"stated": "tens"}}}, r"shifts\.x\.stated: 'tens' gives the face cards the"),
    ({"shifts": {"x": {"hand_size": 6}}}, "less than or equal to 5"),
    ({"shifts": {"x": {"added_cards": [13]}}}, "greater than or equal to 14"),
    ({"shifts": {"x": {"added_cards": [14, 14]}}}, "names a card twice"),
    ({"shifts": {"a b": {"target": 20}}}, "'a b' cannot name a split"),
    ({"shifts": {"ood": {"target": 20}}}, "'ood' cannot name a split"),
    ({"hand_size": 1}, "greater than or equal to 2"),
    ({"hand_size": 5}, r"max_reply_tokens: 18 cuts off every reply to 5 cards \(allowed: 22 or"),
    ({"shifts": {"x": {"hand_size": 5}}}, "18 cuts off every reply to 5 cards"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_wrong_shifts_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate(given)


def test_a_shift_cannot_have_the_name_of_a_further_rule() -> None:
    rules = {"tens": [10, 10, 10], "faces": [11, 12, 13], "odd": [7, 9, 11]}
    with pytest.raises(ValidationError, match=r"'odd' cannot name a split.*odd"):
        study(rules=rules, ood_rules=["faces", "odd"], shifts={"odd": {"target": 20}})


def test_too_few_hands_of_a_shift_are_refused_before_they_are_dealt() -> None:
    settings = study(shifts={"pairs": {"hand_size": 2}})
    with pytest.raises(
        UserError, match=r"hands\.test: 60 hands wanted for ood_test_pairs, but onl"
    ):
        settings.check_supply((0,))


@pytest.mark.parametrize(
    "given", [{"hand_size": 3}, {"shifts": {"x": {"hand_size": 5}}, "max_reply_tokens": 160}]
)
def test_traces_are_of_four_cards(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="hand_size: traces are of four cards alone"):
        load_settings("backtracking").Settings.model_validate({"name": "backtracking"} | given)
