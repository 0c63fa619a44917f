import time

import pytest

from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.game import Hand
from svdrift.tasks.general_points.reading import read_reply
from svdrift.tasks.general_points.settings import PlaySettings
from svdrift.tasks.general_points.verifier import verify

HAND = Hand(("3", "J", "5", "A"), (10, 10, 10), 24)  # ( 3 * 5 ) + ( 10 - 1 )
UNFINISHED = PlaySettings().partial_reward
STYLES: tuple[prompts.Style, ...] = ("compact", "paper")

CASES = [  # formula, fault, reward, words of the compact feedback, part of the paper feedback
    ("( 3 * 5 ) + ( 10 - 1 )", "none", 5, "", ""),
    ("3 * 5 + 10 - 1", "none", 5, "", ""),
    ("( 3 * 5 ) + ( 10 + 1 )", "wrong_value", -1, "wrong_value 26", "equals 26, not 24"),
    ("( 3 - 5 ) * ( 10 + 1 )", "wrong_value", -1, "wrong_value other", "equals -22"),
    ("( 3 * 5 ) + ( 10 / 1 ) + 1 - 2", "wrong_number", -4, "wrong_number 2", "[2] and"),
    ("( 3 * 5 ) + ( 11 - 1 )", "wrong_number", -4, "wrong_number 11", "numbers [11] and"),
    ("( 3 * 5 ) + ( 10 - 1 ) * 1", "overused", -2, "overused 1", "too often the numbers [1]"),
    ("( 3 * 5 ) + 10", "unused", -2, "unused 1", "does not use the numbers [1]"),
    ("3 * 3 * 11", "wrong_number", -6, "wrong_number 11", "[11] and"),
    ("( 3 * 5 ) + ( 10 -", "partial", -1, "partial nothing", "part '( 3 * 5 ) + ( 10 -'"),
    ("( 3", "partial", -1, "partial nothing", "part '( 3'"),
    ("(", "illegal_formula", -3, "illegal_formula nothing", "not finished"),
    ("( 3 + + 5", "illegal_formula", -3, "illegal_formula nothing", "where a number"),
    ("( 3 * 5 ) + ( J - 1 )", "illegal_formula", -3, "illegal_formula nothing", "characters: J"),
    ("( 3 * 5 ) / ( 1 - 1 )", "illegal_formula", -3, "illegal_formula nothing", "zero"),
    ("", "unreadable", -3, "unreadable nothing", "no formula"),
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("formula", "fault", "reward", "compact", "paper"), CASES)
def test_faults_rewards_and_feedback(
    style: prompts.Style, formula: str, fault: str, reward: float, compact: str, paper: str
) -> None:
    text = f"3 10 5 1 : {formula}"
    if style == "paper":
        text = f'{{"cards": ["3", "J"], "number": [3, 10, 5, 1], "formula": "{formula}"}}'
    verdict = verify(HAND, text, style, UNFINISHED)
    assert (verdict.fault, verdict.reward, verdict.solved) == (fault, reward, fault == "none")
    assert verdict.translated
    if verdict.solved:
        assert verdict.feedback == ""
    elif style == "compact":
        assert verdict.feedback == f"{compact} answer"
        assert set(verdict.feedback.split()) <= set(prompts.COMPACT_WORDS)
    else:
        assert verdict.feedback.startswith("You failed this trial because")
        assert paper in verdict.feedback


@pytest.mark.parametrize(
    "text",
    [
        "{'cards': ['3','J','5','A'], 'number': [3, 10, 5, 1], 'formula': '(3*5)+(10-1)=24',}",
        '```json\n{"number": [3,\n10, 5, 1],\n"formula": "(3*5)+(10-1)=24"}\n```',
        'Let me think: 3*5 is 15.\n{"number": ["3", "10", "5", "1"], "formula": (3*5)+(10-1)=24,}',
        '{"number": [1], "formula": "1"} No: {"number": [3,10,5,1], "formula": "3*5+(10-1)"} Done.',
        '{"number": [3, 10, 5, 1], "formula": "(3*5)+(10-1)=24',
        "3 10 5 1 : ( 3 * 5 ) + ( 10 - 1 )",
    ],
)
def test_lenient_reading(text: str) -> None:
    verdict = verify(HAND, text, "paper", UNFINISHED)
    assert verdict.solved
    assert verdict.translated


@pytest.mark.parametrize(
    ("numbers", "translated"),
    [("3 10 5 1", True), ("3 5 10 1", False), ("3 11 5 1", False), ("3 10 5", False), ("", False)],
)
def test_translation_is_judged_apart_from_the_formula(numbers: str, translated: bool) -> None:
    verdict = verify(HAND, f"{numbers} : ( 3 * 5 ) + ( 10 - 1 )", "compact", UNFINISHED)
    assert verdict.solved
    assert verdict.translated is translated


def test_numbers_without_a_formula() -> None:
    verdict = verify(HAND, "3 10 5 1", "compact", UNFINISHED)
    assert (verdict.fault, verdict.translated) == ("unreadable", True)


def test_what_is_not_stated_is_none() -> None:
    assert read_reply("I do not know.") == (None, None)
    assert read_reply('{"number": [3, "J"]}') == (None, None)
    assert read_reply("²  1 : 2") == (None, " 2")


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "3 10 5 1 : " + "(" * 100_000,
        '{"formula": "' + "(" * 4_000,
        '{"formula": "' + "9*" * 2_000,
        "number: [" * 450,
        "formula:" * 500,
        "formula :" + " " * 4_000,
        "3 10 5 1 : " + "9" * 4_000,
        "1/" * 100 + "0",
        "3 10 5 1 : " + "\\frac{" * 600,
        "3 10 5 1 : " + "\\frac{1}{" * 200 + "2" + "}" * 200,
        "formula: 1+1" + "x" * 10 + "formula: 1+" * 350,
        '"formula": "' + "{" * 2_000 + "}" * 2_000,
        "<answer>" * 500,
        "\\boxed{" * 500,
        "3 10 5 1 : " + "3 x" * 1_300,
        "3 10 5 1 : " + "**" * 2_000,
        "3 10 5 1 : " + "\\u0033" * 600,
        "3 10 5 1 : 3 = " + "9" * 4_000,
        "\x00\ud800",
    ],
)
@pytest.mark.parametrize("style", STYLES)
def test_hostile_replies_are_rejected_quickly(text: str, style: prompts.Style) -> None:
    started = time.process_time()
    verdict = verify(HAND, text, style, UNFINISHED)
    assert time.process_time() - started < 2  # seconds of the processor; milliseconds are measured
    assert not verdict.solved
    assert len(verdict.feedback) < 2_000
