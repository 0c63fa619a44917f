"""Prompts by hand, and verdicts on replies by hand and at random."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from svdrift.tasks.navigation import prompts
from svdrift.tasks.navigation.prompts import COMPACT_WORDS, FAULTS, first_turn, reply
from svdrift.tasks.navigation.routes import Step
from svdrift.tasks.navigation.verifier import verify
from tests.tasks.navigation.examples import AT_THE_CROSSING, AT_THE_END, ROUTE

COMPASS = "north northeast east southeast south southwest west northwest"


def test_compact_turns_by_hand() -> None:
    assert first_turn(AT_THE_CROSSING, "compact") == (
        f"turns {COMPASS} facing south route 1 turn left east 2 until bakery right "
        "3 turn slightly-right southeast 4 end bank left "
        "seen nothing did turn east seen nothing did forward seen bakery right crossing answer"
    )
    assert reply(AT_THE_CROSSING, "compact") == (
        "seen bakery right crossing sentence 3 turn slightly-right southeast : turn southeast"
    )
    assert reply(AT_THE_END, "compact") == "seen bank left sentence 4 end bank left : stop"


def test_the_history_is_in_the_words_of_the_rule() -> None:
    relative = replace(AT_THE_CROSSING, rule="relative")
    assert first_turn(relative, "compact") == (
        "turns left slightly-left slightly-right right facing south route 1 turn left east "
        "2 until bakery right 3 turn slightly-right southeast 4 end bank left "
        "seen nothing did turn left seen nothing did forward seen bakery right crossing answer"
    )
    assert reply(relative, "compact").endswith(": turn slightly-right")
    assert "A_1: turn_direction(left)\n" in first_turn(relative, "paper")
    assert "x is one of: left, slightly left, slightly right, right\n" in first_turn(
        relative, "paper"
    )


@pytest.mark.parametrize(
    ("words", "compact", "paper"),
    [
        ("both", "turn slightly-right southeast", "Turn slightly right to face southeast."),
        ("heading", "turn southeast", "Turn to face southeast."),
        ("relative", "turn slightly-right", "Turn slightly right."),
    ],
)
def test_the_instruction_shows_the_words_that_are_asked_for(words, compact, paper) -> None:
    step = replace(AT_THE_CROSSING, words=words)
    assert f" 3 {compact} 4 end " in first_turn(step, "compact")
    assert f"\n3. {paper}\n4. Move forward" in first_turn(step, "paper")


def test_paper_turns_by_hand() -> None:
    turn = first_turn(AT_THE_CROSSING, "paper")
    assert (
        "where you face south:\n1. First, turn left to face east.\n2. Move forward until the next "
        "intersection, where the bakery is on your right.\n3. Turn slightly right to face "
        "southeast.\n4. Move forward until you reach the destination, where the bank is on your "
        "left.\n"
    ) in turn
    assert (
        "O_1: No landmarks nearby.\nA_1: turn_direction(east)\nO_2: No landmarks nearby.\n"
        "A_2: forward()\nO_3: The bakery is on your right; you observe an intersection.\nA_3:\n"
    ) in turn
    assert reply(AT_THE_CROSSING, "paper") == (
        '{\n  "current observation": "The bakery is on your right; you observe an intersection.",\n'
        '  "current instruction": "3. Turn slightly right to face southeast.",\n'
        '  "action": "turn_direction(southeast)"\n}'
    )
    assert '"action": "stop()"' in reply(AT_THE_END, "paper")


SEEN = "seen bakery right crossing sentence 3 turn slightly-right southeast"


@pytest.mark.parametrize(
    ("text", "fault", "reward", "translated"),
    [
        (f"{SEEN} : turn southeast", "none", 1.0, True),
        ("seen bakery right sentence 3 : turn southeast", "none", 1.0, False),
        (": turn southeast", "none", 1.0, False),
        (f"{SEEN} : forward : turn southeast", "none", 1.0, False),
        (f"{SEEN} : turn east", "wrong_turn", -1.0, True),
        (f"{SEEN} : forward", "wrong_kind", -1.0, True),
        (f"{SEEN} : turn slightly-right", "other_rule", -1.0, True),
        ("seen nothing sentence 3 : turn slightly-right", "other_rule", -1.5, False),
        (f"{SEEN} : turn left", "illegal_action", -1.0, True),
        (f"{SEEN} : turn bakery", "illegal_action", -1.0, True),
        ("seen nothing sentence 2 : forward", "wrong_crossing", -1.5, False),
        (": forward", "wrong_kind", -1.0, False),
        (f"{SEEN} : turn", "unreadable", -1.0, True),
        (f"{SEEN} : turn southeast southeast", "unreadable", -1.0, True),
        ("seen nothing sentence 3 :", "unreadable", -1.0, False),
        (SEEN, "unreadable", -1.0, True),
        ("turn southeast", "unreadable", -1.0, False),
        ("", "unreadable", -1.0, False),
        (f"{'seen ' * 2000}: turn southeast", "unreadable", -1.0, False),
    ],
)
def test_compact_verdicts(text: str, fault: str, reward: float, translated: bool) -> None:
    verdict = verify(AT_THE_CROSSING, text, "compact")
    assert (verdict.fault, verdict.reward, verdict.translated) == (fault, reward, translated)
    assert verdict.solved == (fault == "none")
    assert verdict.feedback == ("" if verdict.solved else f"{fault} answer")


def test_a_crossing_that_is_not_there_is_a_wrong_claim_too() -> None:
    verdict = verify(AT_THE_END, "seen bank left crossing sentence 4 : forward", "compact")
    assert (verdict.fault, verdict.reward) == ("wrong_crossing", -1.5)
    verdict = verify(AT_THE_END, "seen bank left sentence 4 : forward", "compact")
    assert (verdict.fault, verdict.reward) == ("wrong_kind", -1.0)


def fields(action: str, seen: str = "The bakery is on your right; you observe an intersection."):
    told = "3. Turn slightly right to face southeast."
    return f'{{"current observation": "{seen}", "current instruction": "{told}", {action}}}'


@pytest.mark.parametrize(
    ("text", "fault", "reward", "translated"),
    [
        (fields('"action": "turn_direction(southeast)"'), "none", 1.0, True),
        (fields('"action": "turn_direction( Southeast )",'), "none", 1.0, True),
        (fields('"action": "Turn_Direction(\'south-east\')"'), "none", 1.0, True),
        (fields("'action' : turn_direction(southeast)"), "none", 1.0, True),
        (fields('"action":\n "turn_direction(southeast)"'), "none", 1.0, True),
        ('{"action": "turn_direction(southeast)", "current observation": "x"}', "none", 1.0, False),
        ('{"action": "forward()"} {"action": "turn_direction(southeast)"}', "none", 1.0, False),
        ('{"action": "turn_direction(southeast)"} {"action": "stop()"}', "wrong_kind", -1.0, False),
        ('{"action": "turn_direction(southeast)"} Action: done', "none", 1.0, False),
        (fields('"action": "turn_direction(slightly right)"'), "other_rule", -1.0, True),
        (fields('"action": "turn_direction(slightly_right)"'), "other_rule", -1.0, True),
        (fields('"action": "turn_direction(left)"'), "illegal_action", -1.0, True),
        (fields('"action": "turn_direction(up)"'), "illegal_action", -1.0, True),
        (fields('"action": "turn_direction(east)"'), "wrong_turn", -1.0, True),
        (fields('"action": "forward()"'), "wrong_kind", -1.0, True),
        (fields('"action": "forward"'), "wrong_kind", -1.0, True),
        # Right at an intersection that it does report: not told that there is none, as published.
        (fields('"action": "stop()"'), "wrong_kind", -1.0, True),
        (fields('"action": "stop()"', "No landmarks nearby."), "wrong_crossing", -1.5, False),
        (fields('"action": "turn_direction()"'), "unreadable", -1.0, True),
        (fields('"action": "turn_direction(southeast) or so"'), "unreadable", -1.0, True),
        (fields('"action": "southeast"', "No landmarks nearby."), "unreadable", -1.0, False),
        ("turn_direction(southeast)", "unreadable", -1.0, False),
    ],
)
def test_paper_verdicts(text: str, fault: str, reward: float, translated: bool) -> None:
    verdict = verify(AT_THE_CROSSING, text, "paper")
    assert (verdict.fault, verdict.reward, verdict.translated) == (fault, reward, translated)
    assert ("Try again" in verdict.feedback) != verdict.solved


@pytest.mark.parametrize("style", ["compact", "paper"])
@pytest.mark.parametrize("place", range(4))
@given(text=st.text() | st.lists(st.sampled_from(COMPACT_WORDS)).map(" ".join))
@example(text='"action": "turn_direction(')
@example(text="\x00\ud800")
def test_any_text_gets_a_verdict(place: int, style: prompts.Style, text: str) -> None:
    step = Step(ROUTE, place, "relative", "both")
    verdict = verify(step, text, style)
    assert verdict.fault in ("none", *FAULTS)
    assert verdict.reward in (1.0, -1.0, -1.5)
    assert verdict.solved == (verdict.reward > 0) == (verdict.fault == "none")


@pytest.mark.parametrize("style", ["compact", "paper"])
@pytest.mark.parametrize(
    "text",
    [
        "x" * 10**6,
        "action:" * 580,
        "action:\n" * 500,
        "action" + " " * 4000,
        '{"action": "turn_direction(' + "(" * 4000,
        "{" * 2000 + '"action": ' + "}" * 2000,
        "current observation " * 200 + "action: forward",
        ":" * 4000,
    ],
)
def test_hostile_replies_are_judged_quickly(text: str, style: prompts.Style) -> None:
    started = time.process_time()
    verify(AT_THE_CROSSING, text, style)
    assert time.process_time() - started < 1
