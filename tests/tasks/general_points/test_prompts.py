import pytest

from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.game import Hand

HAND = Hand(("3", "J", "5", "A"), (11, 12, 13), 30)


def test_compact_turns() -> None:
    prompt = "J= 11 Q= 12 K= 13 target 30 cards 3 J 5 A answer"
    assert prompts.first_turn(HAND, "compact") == prompt
    assert prompts.reply(HAND, "1 + 2", "compact") == "3 11 5 1 : 1 + 2"
    assert set(prompt.split()) <= set(prompts.COMPACT_WORDS)


def test_words_are_distinct() -> None:
    assert len(set(prompts.COMPACT_WORDS)) == len(prompts.COMPACT_WORDS)
    assert not any(" " in word for word in prompts.COMPACT_WORDS)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ((10, 10, 10), "'J', 'Q' and 'K' all count as '10'."),
        ((11, 12, 13), "'J', 'Q' and 'K' count as '11', '12' and '13'."),
    ],
)
def test_paper_prompt_carries_the_facts(rule: tuple[int, int, int], sentence: str) -> None:
    prompt = prompts.first_turn(Hand(HAND.cards, rule, 30), "paper")
    for fact in (sentence, "equals 30", "each card must be used once", "['3', 'J', '5', 'A']"):
        assert fact in prompt
    for field in ('"cards"', '"number"', '"formula"'):
        assert field in prompt


def test_paper_reply() -> None:
    assert prompts.reply(HAND, "( 1 + 2 ) * 3", "paper") == (
        '{\n  "cards": ["3", "J", "5", "A"],\n  "number": [3, 11, 5, 1],\n'
        '  "formula": "(1+2)*3=30",\n}'
    )
