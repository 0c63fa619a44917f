"""What the card game gives to probes."""

import pytest

from svdrift.errors import UserError
from svdrift.tasks import make_task
from svdrift.tasks.general_points.game import Hand
from svdrift.tasks.general_points.probing import Probing
from svdrift.tasks.general_points.settings import PlaySettings
from svdrift.tasks.general_points.solver import solutions
from svdrift.tasks.probing import make_probing, probing_class

HAND = Hand(("3", "J", "5", "A"), (10, 10, 10), 24)
GOLD = "3 10 5 1 : ( ( 3 * 5 ) + 10 ) - 1"
STYLES = ["compact", "paper", "raster"]


@pytest.fixture(params=STYLES)
def settings(request):
    return PlaySettings(prompt_style=request.param)


def test_every_listed_reply_is_right_and_the_gold_one_is_among_them(settings):
    task, replies = make_task(settings), make_probing(settings).replies(HAND)
    assert len(set(replies)) == len(replies) == len(solutions(HAND.numbers, 24))
    assert all(task.verify(HAND, reply).solved for reply in replies)
    assert task.gold_reply(HAND) in replies


def test_parts_cover_the_reply(settings):
    task = make_task(settings)
    reply = task.gold_reply(HAND)
    parts = Probing(settings).parts(HAND, reply)
    (first, middle), (also, last) = parts["translation"], parts["formula"]
    assert first == parts.get("recognition", (0, 0))[1]
    assert last == len(reply)
    assert middle == also
    assert reply[middle:].strip().startswith("(" if settings.prompt_style == "paper" else "( ( 3")


def test_help_begins_the_gold_reply(settings):
    task = make_task(settings)
    helps = Probing(settings).helped(HAND)
    assert list(helps) == ["nothing", "values", "translation", "one_operation", "two_operations"]
    begun = [help.begun for help in helps.values()]
    assert all(task.gold_reply(HAND).startswith(text) for text in begun)
    assert [len(text) for text in begun] == sorted(len(text) for text in begun)
    assert helps["nothing"].turn == task.first_turn(HAND)


def test_help_by_hand():
    helps = Probing(PlaySettings()).helped(HAND)
    assert helps["values"] == ("J= 10 Q= 10 K= 10 target 24 numbers 3 10 5 1 solve", "")
    assert helps["translation"].begun == "3 10 5 1 :"
    assert helps["one_operation"].begun == "3 10 5 1 : ( ( 3 * 5"
    assert helps["two_operations"].begun == "3 10 5 1 : ( ( 3 * 5 ) + 10"


@pytest.mark.parametrize(
    ("reply", "expert_match", "same_form"),
    [
        (GOLD, True, True),
        (GOLD + " = 24", True, True),
        ("3 10 5 1 : ( 10 - 1 ) + ( 3 * 5 )", False, True),
        ("1 1 1 1 : ((3*5)+10)-1", True, True),  # the formula alone counts
        ("3 10 5 1 : ( 3 * ( 10 - 1 ) ) - 5", False, False),  # wrong
        ("3 10 5 1 : ( 3 * 5", False, False),
        ("no idea", False, False),
        ("", False, False),
        ("3 10 5 1 : 1 / ( 5 - 5 )", False, False),
    ],
)
def test_scores(reply, expert_match, same_form):
    found = Probing(PlaySettings()).scores(HAND, reply)
    assert found == {"expert_match": expert_match, "same_form": same_form}


def test_solutions_are_counted_as_texts_and_by_what_they_say():
    found = Probing(PlaySettings()).solutions(HAND)
    assert found["formulas"] == len(solutions(HAND.numbers, 24))
    assert 1 <= found["forms"] < found["formulas"]
    # By hand: 2 * 2 * 2 * 3 and ( 2 + 2 ) * 2 * 3.
    twos = Probing(PlaySettings()).solutions(Hand(("2", "2", "2", "3"), (10, 10, 10), 24))
    assert twos["forms"] == 2


def test_another_rule_counts_where_it_gives_other_values():
    probing = Probing(PlaySettings())
    assert probing.under_other_rules(HAND) == {"faces": Hand(HAND.cards, (11, 12, 13), 24)}
    assert probing.under_other_rules(Hand(("3", "3", "8", "8"), (10, 10, 10), 24)) == {}


def test_a_task_without_probing_is_refused():
    with pytest.raises(UserError, match=r"'toy' is unknown.*general_points"):
        probing_class("toy")
