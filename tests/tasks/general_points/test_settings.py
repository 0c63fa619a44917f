from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from svdrift.errors import UserError
from svdrift.tasks import make_task
from svdrift.tasks.general_points.hands import vary_table
from svdrift.tasks.general_points.settings import HandsSettings, Settings
from tests.tasks.general_points.dealing import make_hands

RULES = {"tens": (10, 10, 10), "faces": (11, 12, 13), "odd": (15, 20, 60)}


def test_splits_have_roles_and_shifts() -> None:
    settings = Settings(rules=RULES, ood_rules=("faces", "odd"))
    found = {split.name: (split.role, split.shift) for split in settings.splits}
    assert found == {
        "demonstrations": ("training", "id"),
        "practice": ("training", "id"),
        "demonstrated": ("fit", "id"),
        "id_selection": ("selection", "id"),
        "id_test": ("test", "id"),
        "ood_selection": ("selection", "ood"),
        "ood_test": ("test", "ood"),
        "ood_test_odd": ("test", "odd"),
    }
    assert settings.splits[-1].label == "OOD test, rule odd"
    assert settings.count("ood_test_odd") == settings.hands.test
    assert settings.deal("ood_test_odd").faces == RULES["odd"]
    names = [split.name for split in settings.splits]
    for split in settings.splits:
        assert set(split.after) <= set(names[: names.index(split.name)])


def test_one_further_rule_changes_no_other_deal() -> None:
    before = Settings(rules=RULES)
    after = Settings(rules=RULES, ood_rules=("faces", "odd"))
    for split in before.splits:
        assert before.deal(split.name) == after.deal(split.name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ood_rules": ()}, "at least 1 item"),
        ({"ood_rules": ("tens",)}, "other values than id_rule"),
        ({"ood_rules": ("faces", "faces")}, "different values"),
        ({"ood_rules": ("faces", "evn")}, r"'evn' is not a rule \(allowed: tens, faces, odd"),
        ({"rules": RULES | {"a b": (1, 2, 3)}, "ood_rules": ("faces", "a b")}, "name a split"),
        ({"rules": RULES | {"id": (1, 2, 3)}, "ood_rules": ("faces", "id")}, "name a split"),
    ],
)
def test_wrong_rules_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**({"rules": RULES} | given))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "evn"}, r"'evn' is not a rule \(allowed: tens, faces, odd\)"),
        ({"target": 61}, "61 is not a whole number from 1 to 60"),
        ({"target": 0}, "0 is not"),
        ({"target": True}, "true is not"),
        ({"cards": 5}, r"'cards' cannot vary \(allowed: rule, target\)"),
    ],
)
def test_variations_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings(rules=RULES).vary(**changes)


def test_variations_are_played_under_their_own_rule_and_target() -> None:
    small = HandsSettings(
        demonstrations=200, practice=200, demonstrated_test=50, selection=60, test=100
    )
    settings = Settings(rules=RULES, hands=small)
    varied = settings.vary(rule="odd").vary(target=30)
    assert settings.play("practice").rules == {"tens": RULES["tens"]}
    assert varied.play("practice", "ood_test").rules == {"odd": RULES["odd"]}
    table = vary_table(make_hands(settings, 0)["practice"], varied.deal("practice"))
    task = make_task(varied.play("practice"))
    for problem in task.read(table):
        assert (problem.rule, problem.target) == (RULES["odd"], 30)
        assert task.verify(problem, task.gold_reply(problem)).solved
        words = {*task.first_turn(problem).split(), *task.gold_reply(problem).split()}
        assert words <= set(task.words)


def test_own_files_are_read_early(tmp_path: Path) -> None:
    path = tmp_path / "hands.csv"
    path.write_text("cards\n8 10 8 8\n", encoding="utf-8")
    Settings().check_problems()
    Settings(hands=HandsSettings(files={"id_test": str(path)})).check_problems()
    own = Settings(hands=HandsSettings(files={"ood_test": str(path)}))
    assert own.files("practice") == (str(path),)
    with pytest.raises(UserError, match=r"hands\.csv: OOD hands need a J, Q or K: 8 10 8 8"):
        own.check_problems()
