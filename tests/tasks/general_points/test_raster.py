"""Cards as pictures of words: drawing, recognition and its fault."""

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from svdrift.tasks import make_task
from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.game import RANKS, Hand
from svdrift.tasks.general_points.pretraining import Mixture
from svdrift.tasks.general_points.probing import Probing
from svdrift.tasks.general_points.raster import CELLS, COLUMNS, GLYPHS, ROWS, drawn, split_reply
from svdrift.tasks.general_points.settings import PlaySettings, Settings
from tests.tasks.general_points.dealing import make_hands

STYLE = PlaySettings(prompt_style="raster")
HAND = Hand(("3", "J", "5", "A"), (10, 10, 10), 24)
GOLD = "3 J 5 A numbers 3 10 5 1 : ( ( 3 * 5 ) + 10 ) - 1"
SMALL = {
    "demonstrations": 200,
    "practice": 200,
    "demonstrated_test": 50,
    "selection": 50,
    "test": 50,
}


def recognised(words: list[str]) -> list[str]:
    """An oracle: the rank whose picture each CELLS words are, in any look."""
    ranks = []
    for start in range(0, len(words), CELLS):
        cells = ["." if word == "white" else "#" for word in words[start : start + CELLS]]
        rows = ["".join(cells[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(ROWS)]
        found = [rank for rank, glyph in GLYPHS.items() if glyph.split() == rows]
        mirrored = [row[::-1] for row in rows]
        found += [rank for rank, glyph in GLYPHS.items() if glyph.split() == mirrored]
        assert len(set(found)) == 1
        ranks.append(found[0])
    return ranks


def test_pictures_are_of_one_size_and_none_is_another_or_its_mirror_image() -> None:
    assert tuple(GLYPHS) == RANKS
    assert all([len(row) for row in glyph.split()] == [3] * 5 for glyph in GLYPHS.values())
    mirrored = {rank: " ".join(row[::-1] for row in g.split()) for rank, g in GLYPHS.items()}
    assert len(set(GLYPHS.values())) == len(RANKS)
    for rank, glyph in GLYPHS.items():
        assert {other for other, image in mirrored.items() if image == glyph} <= {rank}


def test_a_card_is_drawn_row_by_row() -> None:
    by_hand = "black black black  white white black  white black white " + 2 * " white black white"
    assert drawn(["7"], "black") == by_hand.split()
    assert drawn(["7"], "red") == by_hand.replace("black", "red").split()
    turned = "black black black  black white white  white black white " + 2 * " white black white"
    assert drawn(["7"], "mirrored") == turned.split()
    assert recognised(drawn(RANKS, "mirrored")) == list(RANKS)


def test_turns_by_hand() -> None:
    task = make_task(STYLE)
    words = task.first_turn(HAND).split()
    assert words[:9] == ["J=", "10", "Q=", "10", "K=", "10", "target", "24", "cards"]
    assert recognised(words[9:-1]) == list(HAND.cards)
    assert words[-1] == "answer"
    assert task.gold_reply(HAND) == GOLD
    red = task.first_turn(Hand(*[HAND.cards, HAND.rule, 24], look="red")).split()
    assert set(red[9:-1]) == {"red", "white"}


@pytest.mark.parametrize(
    ("reply", "fault", "reward", "translated"),
    [
        (GOLD, "none", 5.0, True),
        (GOLD.replace("3 J 5 A", "A, j 3 5"), "none", 5.0, True),  # the cards in another order
        (GOLD.replace("3 J 5 A", "3 K 5 A"), "misread", -1.5, True),  # whatever the formula
        (GOLD.replace("3 J 5 A", "3 J 5"), "misread", -1.5, True),
        (GOLD.replace("3 J 5 A", "8 J 5 A").replace("3 10", "8 10"), "misread", -1.5, False),
        # Recognised, but read by the other rule.
        ("3 J 5 A numbers 3 11 5 1 : ( ( 11 + 1 ) * ( 5 - 3 ) )", "wrong_number", -4.0, False),
        (GOLD.replace("- 1", "+ 1"), "wrong_value", -1.0, True),
        (GOLD[:-2], "partial", -1.0, True),
        ("3 10 5 1 : ( ( 3 * 5 ) + 10 ) - 1", "unreadable", -3.0, True),  # names no cards
        ("numbers 3 10 5 1 : ( ( 3 * 5 ) + 10 ) - 1", "unreadable", -3.0, True),
        ("3 J 5 A numbers", "unreadable", -3.0, False),
        ("", "unreadable", -3.0, False),
    ],
)
def test_verdicts(reply: str, fault: str, reward: float, translated: bool) -> None:
    verdict = make_task(STYLE).verify(HAND, reply)
    assert (verdict.fault, verdict.reward, verdict.translated) == (fault, reward, translated)
    assert verdict.solved == (fault == "none")
    if fault != "none":
        assert set(verdict.feedback.split()) <= set(make_task(STYLE).words)
    if fault == "misread":
        assert verdict.feedback == "misread nothing answer"


def test_replies_are_split_at_the_word() -> None:
    assert split_reply("3 j, 5 numbers 1 2") == (("3", "J", "5"), " 1 2")
    assert split_reply("3 5 : 3 + 5") == (None, "3 5 : 3 + 5")
    assert split_reply(" numbers 3") == (None, " 3")


def test_other_styles_know_no_misreading() -> None:
    for style in ("compact", "paper"):
        task = make_task(PlaySettings(prompt_style=style))
        assert "misread" not in task.faults
        assert task.words == prompts.COMPACT_WORDS
    assert make_task(STYLE).faults[-1] == "misread"
    assert len(set(prompts.RASTER_WORDS)) == len(prompts.RASTER_WORDS)


def settings(**given: Any) -> Settings:
    usual = {"prompt_style": "raster", "max_reply_tokens": 23, "hands": SMALL}
    return Settings.model_validate(usual | given)


def test_looks_are_of_the_prompt_alone() -> None:
    study = settings(shifts={"red": {"look": "red"}, "mirrored": {"look": "mirrored"}})
    tables = make_hands(study, 0)
    written = make_hands(Settings.model_validate({"hands": SMALL}), 0)
    for split, table in written.items():
        assert table.equals(tables[split])
    task = make_task(study.play(*tables))
    for look in ("red", "mirrored"):
        table = tables[f"ood_test_{look}"]
        assert set(table["look"]) == {look}
        assert set(table["rule"]) == {"tens"}
        for hand in task.read(table):
            cells = task.first_turn(hand).split()[9:-1]
            assert cells == drawn(hand.cards, look)  # type: ignore[arg-type]
            assert recognised(cells) == list(hand.cards)
    assert study.tokens.reply == len(GOLD.split()) + 1
    assert study.tokens.prompt == len(task.first_turn(HAND).split()) + 2


def test_pretraining_shows_pictures_of_every_look_and_no_hand() -> None:
    study = settings(shifts={"red": {"look": "red"}})
    held_out = {(1, 3, 5, 10), (3, 3, 8, 8)}
    mixture = Mixture(study.skills, held_out, seed=0)
    examples = [mixture.example() for _ in range(2000)]
    words = {word for example in examples for turn in example for word in turn.split()}
    assert words <= set(prompts.RASTER_WORDS)
    assert "answer" not in words
    named = [example for example in examples if example[0].endswith(prompts.RECOGNISE)]
    assert len(named) / 2000 == pytest.approx(0.3, abs=0.03)
    inks = Counter[str]()
    for prompt, reply in named:
        cells = prompt.split()[9:-1]
        assert recognised(cells) == reply.split()
        (ink,) = set(cells) - {"white"}
        inks[ink] += 1
    assert inks["red"] / inks.total() == pytest.approx(0.5, abs=0.08)
    compact = Settings(hands=study.hands).skills
    assert compact.looks == ()


def test_probes_part_recognition_from_translation() -> None:
    parts = Probing(STYLE).parts(HAND, GOLD)
    texts = {name: GOLD[start:end].strip() for name, (start, end) in parts.items()}
    assert texts == {
        "recognition": "3 J 5 A",
        "translation": "numbers 3 10 5 1 :",
        "formula": "( ( 3 * 5 ) + 10 ) - 1",
    }
    helps = Probing(STYLE).helped(HAND)
    assert helps["values"] == (
        "J= 10 Q= 10 K= 10 target 24 numbers 3 10 5 1 solve",
        "3 J 5 A numbers",
    )
    assert Probing(STYLE).scores(HAND, GOLD) == {"expert_match": True, "same_form": True}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"prompt_style": "raster"},
            r"max_reply_tokens: 18 cuts off every reply to 4 cards \(all.* 22",
        ),
        ({"shifts": {"x": {"look": "red"}}}, r"shifts\.x\.look: only prompt_style 'raster' draws"),
        ({"shifts": {"x": {"look": "black"}}}, "'red' or 'mirrored'"),
        (
            {
                "prompt_style": "raster",
                "max_reply_tokens": 23,
                "shifts": {"x": {"added_cards": [14]}},
            },
            r"shifts\.x\.added_cards: prompt_style 'raster' draws A to K alone",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate(given)
