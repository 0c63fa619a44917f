"""Cards as pictures of words, so that reading them is a step of its own.

A card is five rows of three cells, each a word: that of the ink, or PAPER. After the published
variant with images of cards (arXiv 2501.17161), whose visual shift is the colour of the suit.
"""

from __future__ import annotations

from collections.abc import Iterable

from svdrift.tasks.general_points.game import RANKS, Look

PAPER = "white"
WORDS = (PAPER, "black", "red")
ROWS, COLUMNS = 5, 3
CELLS = ROWS * COLUMNS

GLYPHS = {
    "A": ".#. #.# ### #.# #.#",
    "2": "##. ..# .#. #.. ###",
    "3": "##. ..# .#. ..# ##.",
    "4": "#.# #.# ### ..# ..#",
    "5": "### #.. ##. ..# ##.",
    "6": ".## #.. ### #.# ###",
    "7": "### ..# .#. .#. .#.",
    "8": "### #.# ### #.# ###",
    "9": "### #.# ### ..# ##.",
    "10": "### .#. .#. .#. .#.",  # a T, as in notations of cards
    "J": "..# ..# ..# #.# ###",
    "Q": "### #.# #.# ### ..#",
    "K": "#.# #.# ##. #.# #.#",
}
"""Rows of each rank, from the top. None is the mirror image of another."""
assert tuple(GLYPHS) == RANKS


def drawn(cards: Iterable[str], look: Look) -> list[str]:
    """The words of the cards, CELLS of each, row by row.

    Raises:
        KeyError: an added card, which has no picture.
    """
    ink = "red" if look == "red" else "black"
    words = []
    for card in cards:
        for row in GLYPHS[card].split():
            cells = reversed(row) if look == "mirrored" else row
            words += [ink if cell == "#" else PAPER for cell in cells]
    return words


def split_reply(reply: str) -> tuple[tuple[str, ...] | None, str]:
    """The cards that a reply names before the word `numbers`, and what follows it.

    None for the cards where the word is missing, or nothing stands before it.
    """
    head, word, rest = reply.partition("numbers")
    cards = tuple(head.replace(",", " ").upper().split())
    return (cards, rest) if word and cards else (None, rest if word else reply)
