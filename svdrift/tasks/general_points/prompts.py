"""Turns of user and model, in three styles.

- `paper`: the published form for instruction-tuned models: a task description, and a JSON-like
  object (with its published trailing comma) as the reply.
- `compact`: one word per token, for models made from nothing:
  `J= 10 Q= 10 K= 10 target 24 cards 3 J 5 9 answer` and `3 10 5 9 : ( 3 * 5 ) + ( 10 - 1 )`.
- `raster`: as `compact`, but the prompt has pictures of the cards (`raster`), and the reply begins
  with the cards: `3 J 5 9 numbers 3 10 5 9 : ( 3 * 5 ) + ( 10 - 1 )`.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from svdrift.tasks.base import Tokens
from svdrift.tasks.general_points import raster
from svdrift.tasks.general_points.game import FACES, LARGEST_NUMBER, Hand, Rule, join

Style = Literal["compact", "paper", "raster"]

ANSWER = "answer"
"""Compact marker: asks for numbers and a formula. Never seen in pretraining."""
TRANSLATE = "translate"
"""Compact marker of pretraining: asks for the values of the cards."""
SOLVE = "solve"
"""Compact marker of pretraining: asks for the given numbers and a formula."""

RECOGNISE = "recognise"
"""Marker of pretraining in the style `raster`: asks for the cards that are drawn."""

IN_WORDS = {2: "two", 3: "three", 4: "four", 5: "five"}

FAULTS = (
    "wrong_number",
    "overused",
    "unused",
    "wrong_value",
    "partial",
    "illegal_formula",
    "unreadable",
)

COMPACT_WORDS: tuple[str, ...] = (
    *map(str, range(LARGEST_NUMBER + 1)),
    *("A", *FACES),
    *(f"{face}=" for face in FACES),
    *("target", "cards", "numbers"),
    *(ANSWER, TRANSLATE, SOLVE),
    *(":", "+", "-", "*", "/", "(", ")"),
    *FAULTS,
    *("other", "nothing"),  # an offending number without a word of its own; no offending number
)

MISREAD = "misread"
"""Further fault of the style `raster`: the cards of the reply are not those of the hand."""
RASTER_WORDS: tuple[str, ...] = (*COMPACT_WORDS, *raster.WORDS, RECOGNISE, MISREAD)

TOKENS = {
    "compact": Tokens(16, 17, 4),
    "raster": Tokens(72, 22, 4),
    "paper": Tokens(202, 56, 55),
}
"""Of four cards, by `prompt_style`; `paper` is an average with the tokenizer of SmolLM2."""
TOKENS_PER_CARD = {
    "compact": Tokens(1, 5, 0),
    "raster": Tokens(15, 6, 0),
    "paper": Tokens(4, 9, 0),
}
"""How many more each further card takes; for `paper` an estimate."""


def first_turn(hand: Hand, style: Style) -> str:
    """The user turn that deals the hand."""
    if style == "compact":
        return compact_prompt(hand.stated_rule, hand.target, "cards", hand.cards, ANSWER)
    if style == "raster":
        cells = raster.drawn(hand.cards, hand.look)
        return compact_prompt(hand.stated_rule, hand.target, "cards", cells, ANSWER)
    count = IN_WORDS[len(hand.cards)]
    return f"""\
You are an expert player of a card game in which {count} cards must make a target number.
You see {count} cards. Write a formula that uses their values and equals {hand.target}.
{_rule_sentence(hand.stated_rule)} An ace counts as 1, every other card as its number.
The formula may hold numbers, the operators '+', '-', '*', '/', and parentheses; each card must be \
used once.

Cards: [{", ".join(f"'{card}'" for card in hand.cards)}]

Reply with nothing but an object of this form:
{{
  "cards": [the {count} cards, as shown],
  "number": [the value of each card, in the same order],
  "formula": "an equation that equals {hand.target}",
}}"""


def reply(hand: Hand, formula: str, style: Style) -> str:
    """The reply that states the hand's numbers and the formula."""
    if style == "compact":
        return compact_reply(hand.numbers, formula)
    if style == "raster":
        return f"{join(hand.cards)} numbers {compact_reply(hand.numbers, formula)}"
    cards = ", ".join(f'"{card}"' for card in hand.cards)
    numbers = ", ".join(map(str, hand.numbers))
    equation = f"{formula.replace(' ', '')}={hand.target}"
    return f'{{\n  "cards": [{cards}],\n  "number": [{numbers}],\n  "formula": "{equation}",\n}}'


def compact_prompt(rule: Rule, target: int, kind: str, items: Sequence[object], marker: str) -> str:
    """Rule, target, cards or numbers, and a marker, always in this order.

    The game and pretraining share the layout, so that skills learned in one transfer to the other.
    """
    values = (f"{face}= {value}" for face, value in zip(FACES, rule, strict=True))
    return join([*values, "target", target, kind, *items, marker])


def compact_reply(numbers: Sequence[int], formula: str) -> str:
    """Numbers and formula as the compact style writes them."""
    return f"{join(numbers)} : {formula}"


def compact_feedback(fault: str, offender: Fraction | int | None, marker: str) -> str:
    """Three words: the kind of fault, the offending number, and the marker again."""
    if offender is None:
        number = "nothing"
    elif offender.denominator == 1 and 0 <= offender <= LARGEST_NUMBER:
        number = str(offender)
    else:
        number = "other"
    return f"{fault} {number} {marker}"


def paper_feedback(reasons: Sequence[str], matched: str) -> str:
    """Sentences that name every fault and the part of the formula that begins a solution."""
    hint = f" The part '{matched}' of your formula is the start of a solution." if matched else ""
    return (
        f"You failed this trial because {' and '.join(reasons)}.{hint} Try again, in the same form."
    )


def _rule_sentence(rule: Rule) -> str:
    j, q, k = rule
    if j == q == k:
        return f"'J', 'Q' and 'K' all count as '{j}'."
    return f"'J', 'Q' and 'K' count as '{j}', '{q}' and '{k}'."


def tokens_of(style: Style, hand_size: int) -> Tokens:
    """Typical lengths of turns in a prompt style."""
    further = hand_size - 4
    both = zip(TOKENS[style], TOKENS_PER_CARD[style], strict=True)
    return Tokens(*(tokens + further * more for tokens, more in both))
