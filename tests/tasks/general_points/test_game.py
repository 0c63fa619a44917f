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
    assert game.parse_cards(text, 4) == ("3", "J", "5", "10")


@pytest.mark.parametrize(
    ("text", "message"),
    [("3 J 5", "3 cards"), ("", "0 cards"), ("3 J 5 11", "'11'"), ("3 J 5 X", "'X'")],
)
def test_parse_cards_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        game.parse_cards(text, 4)


def test_multisets() -> None:
    assert game.possible_values({"tens": TENS, "high": (20, 20, 20)}) == (*range(1, 14), 20)
    usual = game.possible_values({"tens": TENS, "faces": FACES})
    assert [len(game.value_multisets(usual, size)) for size in (2, 3, 4, 5)] == [
        91,
        455,
        1820,
        6188,
    ]
    assert (2, 3, 20, 20) in game.value_multisets((2, 3, 20), 4)
    assert game.possible_values({"tens": TENS}, (19, 14)) == (*range(1, 14), 14, 19)
    assert game.rank_multiset(("K", "10", "A", "2")) == "A 2 10 K"
    assert game.rank_multiset(("19", "K", "14", "2")) == "2 K 14 19"


def test_added_cards_are_their_number_under_every_rule() -> None:
    assert game.deck((15, 14)) == (*game.RANKS, "14", "15")
    assert game.values(("14", "K", "19"), TENS) == (14, 10, 19)
    assert game.values(("14", "K", "19"), (12, 12, 12)) == (14, 12, 19)


def test_the_stated_rule_is_the_one_that_counts_unless_another_is_given() -> None:
    assert game.Hand(("J",), TENS, 24).stated_rule == TENS
    fake = game.Hand(("J",), TENS, 24, stated=FACES)
    assert (fake.stated_rule, fake.numbers) == (FACES, (10,))
