"""The card game with traces as a task: variants, verdicts, pretraining and refusals."""

import pytest

from svdrift.errors import UserError
from svdrift.tasks import make_task, task_class
from svdrift.tasks.backtracking.task import without_trace
from svdrift.tasks.base import demonstrations
from svdrift.tasks.dealing import read_task
from svdrift.tasks.general_points.game import Hand
from tests.tasks.test_tasks import deal

HANDS = {
    "demonstrated_multisets": 40,
    "demonstrations": 120,
    "practice": 200,
    "selection": 20,
    "test": 30,
    "demonstrated_test": 20,
}
HAND = Hand(("3", "10", "5", "A"), (10, 10, 10), 24)


@pytest.fixture(scope="module")
def settings():
    return read_task("backtracking", {"hands": HANDS})


@pytest.fixture(scope="module")
def tables(settings):
    return deal(settings)


def variant(settings, tables, **trace):
    deal_of = settings.vary(trace=trace).deal("demonstrations")
    return task_class("backtracking").vary(tables["demonstrations"], deal_of)


def test_the_splits_are_those_of_the_card_game(settings, tables):
    game = deal(read_task("general_points", {"hands": HANDS}))
    for split, table in tables.items():
        assert table.equals(game[split]), split
    assert list(make_task(settings.play(*tables)).validate(tables)["problems"]) == [
        len(table) for table in tables.values()
    ]


def test_all_variants_demonstrate_the_same_hands(settings, tables):
    task = make_task(settings.play("demonstrations"))
    plain = variant(settings, tables, kind="direct")
    assert 0 < len(plain) < len(tables["demonstrations"])
    for kind in ("right", "filler", "corrupt", "shuffled"):
        for count in (0, 3):
            table = variant(settings, tables, kind=kind, dead_ends=count)
            assert table["problem"].tolist() == plain["problem"].tolist()
            for problem, reply in zip(task.read(table), table["reply"], strict=True):
                verdict = task.verify(problem, reply)
                assert verdict.solved, reply
                assert verdict.translated, reply
            assert demonstrations(task, table)[0][1] == table["reply"].iloc[0]
            assert table.equals(variant(settings, tables, kind=kind, dead_ends=count))
    assert plain["reply"].tolist() == [task.gold_reply(problem) for problem in task.read(plain)]


def test_words_cover_all_turns_and_replies_fit(settings, tables):
    task = make_task(settings.play("demonstrations"))
    words = set(task.words)
    assert len(words) == len(task.words)
    replies = variant(settings, tables, kind="right", dead_ends=5)["reply"]
    turns = [
        turn for one in task.pretraining_examples(settings.skills, 400, 0) for turn in one
    ] + list(replies)
    assert {word for turn in turns for word in turn.split()} <= words
    assert max(len(reply.split()) for reply in replies) < settings.max_reply_tokens


def test_pretraining_never_traces_cards(settings):
    examples = task_class("backtracking").pretraining_examples(settings.skills, 600, 1)
    traced = [one for one in examples if any(";" in turn for turn in one)]
    assert 150 < len(traced) < 330
    assert all(one[0].endswith("search") and "cards" not in one[0] for one in traced)
    assert any("undo" in one[1] for one in traced)
    assert any("undo" not in one[1] for one in traced)
    few = read_task("backtracking", {"hands": HANDS, "most_dead_ends": 1}).skills
    replies = [one[-1] for one in task_class("backtracking").pretraining_examples(few, 300, 1)]
    assert max(reply.count("undo") for reply in replies) == 1


@pytest.mark.parametrize(
    ("reply", "fault", "translated"),
    [
        ("3 10 5 1 ; 3 * 5 = 15 , undo 1 , 2 : ( ( 3 * 5 ) + 10 ) - 1", "none", True),
        ("3 10 5 1 : ( ( 3 * 5 ) + 10 ) - 1", "none", True),
        ("3 10 5 1 ; 3 * 5 = 15 , 15 + 10 = 25 , 25 - 1 = 24", "unreadable", False),
        ("3 10 5 2 ; 3 * 5 = 15 : ( ( 3 * 5 ) + 10 ) - 1", "none", False),
        ("3 10 5 1 ; : ( 3 * 5 ) + 10", "unused", True),
        (";", "unreadable", False),
    ],
)
def test_the_formula_alone_is_judged(settings, reply, fault, translated):
    verdict = make_task(settings.play("id_test")).verify(HAND, reply)
    assert (verdict.fault, verdict.translated) == (fault, translated)


def test_without_a_trace_a_reply_stays_as_it_is():
    for text in ("", "3 10 5 1 : ( 3 )", "; ;", "1 ; 2 , 3"):
        assert without_trace(text) == text
    assert without_trace("1 ; a : b : c") == "1 : c"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trace": {"kind": "wrong"}}, "trace.kind"),
        ({"trace": {"dead_ends": 7}}, "trace.dead_ends: 7 lies above task.most_dead_ends 5"),
        ({"trace": {"dead": 1}}, "unknown key 'trace.dead'"),
        ({"size": 2}, "'size' cannot vary (allowed: rule, target, trace)"),
    ],
)
def test_wrong_variants_are_refused(settings, changes, told):
    with pytest.raises(UserError) as caught:
        settings.vary(**changes)
    assert told in str(caught.value)


def test_other_styles_are_refused():
    with pytest.raises(UserError, match="prompt_style: traces are written in the style 'compact'"):
        read_task("backtracking", {"prompt_style": "paper"})
