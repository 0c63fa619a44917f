import pytest

from svdrift.tasks.general_points import game

TENS, FACES = (10, 10, 10), (11, 12, 13)


def test_values_follow_the_rule() -> None:
    cards = ("A", "J", "Q", "K")
    assert game.values(cards, TENS) == (1, 10, 10, 10)
    assert game.values(cards, FACES) == (1, 11, 12, 13)
    assert game.Hand(cards, FACES, 24).numbers == (1, 11, 12, 13)


@pytest.mark.parametrize("text", ["3 J 5 10", "3,J,5,10", " 3, j , 5 10 "])
def test_parse_cards(text: str) -> None:
    assert game.parse_cards(text) == ("3", "J", "5", "10")


@pytest.mark.parametrize(
    ("text", "message"),
    [("3 J 5", "3 cards"), ("", "0 cards"), ("3 J 5 11", "'11'"), ("3 J 5 X", "'X'")],
)
def test_parse_cards_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        game.parse_cards(text)


def test_multisets() -> None:
    assert game.possible_values({"tens": TENS, "high": (20, 20, 20)}) == (*range(1, 14), 20)
    assert len(game.value_multisets(game.possible_values({"tens": TENS, "faces": FACES}))) == 1820
    assert (2, 3, 20, 20) in game.value_multisets((2, 3, 20))
    assert game.rank_multiset(("K", "10", "A", "2")) == "A 2 10 K"
