"""Turns of user and model, in two styles that carry the same information.

- `paper`: an instruction for real language models in our own words, and a JSON object with the
  published three fields as the reply;
- `compact`: for models made from nothing, one word per token. A prompt has the words for turns, the
  initial heading, the numbered sentences, the history, and a marker:
  `turns left slightly-left slightly-right right facing south route 1 turn left east 2 until bakery
  right 3 turn slightly-right southeast 4 end bank left seen nothing did turn left seen bakery right
  crossing answer`; the reply is `seen bakery right crossing sentence 3 turn slightly-right
  southeast : turn slightly-right`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from svdrift.tasks.navigation.routes import (
    COMPASS,
    LONGEST,
    NAMES,
    NOTHING,
    SIDES,
    TURN_WORDS,
    Point,
    Route,
    Step,
    Words,
    action,
    compass,
)

Style = Literal["compact", "paper"]

ANSWER = "answer"
"""Compact marker: asks for what is seen, the sentence and the action. Never seen in pretraining."""
LOCATE = "locate"
"""Compact marker of pretraining: asks for what is seen and the sentence to follow."""
CHOOSE = "choose"
"""Compact marker of pretraining: asks for the action, from what is seen and the sentence."""

FAULTS = (
    "wrong_turn",  # another turn of the rule
    "wrong_kind",  # a turn, forward or stop, where another of them is right
    "other_rule",  # what would be right under the other rule
    "illegal_action",  # a turn by a word that the rule does not have
    "wrong_crossing",  # a wrong action, and a wrong claim about an intersection
    "unreadable",  # no action in the reply
)

COMPACT_WORDS: tuple[str, ...] = tuple(
    dict.fromkeys(
        (
            *COMPASS, *TURN_WORDS["relative"], *SIDES, *NAMES["known"], *NAMES["new"], NOTHING,
            *map(str, range(1, 2 * LONGEST + 1)),
            "turns", "facing", "route", "turn", "until", "end", "seen", "crossing", "did",
            "forward", "stop", "sentence", ":", ANSWER, LOCATE, CHOOSE, *FAULTS,
        )
    )
)  # fmt: skip

SIDE_PHRASES = {
    "front": "in front of you",
    "right-front": "ahead on your right",
    "right": "on your right",
    "right-behind": "behind you on your right",
    "behind": "behind you",
    "left-behind": "behind you on your left",
    "left": "on your left",
    "left-front": "ahead on your left",
}

OBSERVATION, INSTRUCTION, ACTION = "current observation", "current instruction", "action"
"""Fields of a reply in the `paper` style."""


def first_turn(step: Step, style: Style) -> str:
    """The user turn that poses a step."""
    route, past = step.route, step.route.points[: step.place]
    history = [(point, action(route, point, step.rule)) for point in past]
    if style == "compact":
        given = f"{compact_history(history)} {compact_seen(step.point)}"
        return compact_prompt(TURN_WORDS[step.rule], route, step.words, given, ANSWER)
    return _paper_prompt(step, history)


def reply(step: Step, style: Style) -> str:
    """The reply that solves a step."""
    if style == "compact":
        return f"{compact_place(step.route, step.point, step.words)} : {step.gold}"
    return (
        f'{{\n  "{OBSERVATION}": "{observation(step.point)}",\n'
        f'  "{INSTRUCTION}": "{step.point.sentence}. {sentence(step)}",\n'
        f'  "{ACTION}": "{paper_action(step.gold)}"\n}}'
    )


# --------------------------------------------------------------------------------------
# Compact


def compact_prompt(
    turns: Iterable[str], route: Route, words: Words, given: str, marker: str
) -> str:
    """Words for turns, route, what is given, and a marker, in the task and in pretraining."""
    numbered = (
        f"{number} {text}" for number, text in enumerate(_compact_sentences(route, words), start=1)
    )
    parts = ["turns", *turns, "facing", compass(route.headings[0]), "route", *numbered]
    return " ".join([*parts, *given.split(), marker])


def compact_history(history: Sequence[tuple[Point, str]]) -> str:
    """What was seen and done before, as pairs of a point and an action."""
    return " ".join(f"{compact_seen(point)} did {done}" for point, done in history)


def compact_seen(point: Point) -> str:
    """`seen bakery right crossing`."""
    return f"seen {point.landmark}{' crossing' if point.crossing else ''}"


def compact_place(route: Route, point: Point, words: Words) -> str:
    """What a reply says before its action: what is seen, and the sentence to follow."""
    text = _compact_sentences(route, words)[point.sentence - 1]
    return f"{compact_seen(point)} sentence {point.sentence} {text}"


def _compact_sentences(route: Route, words: Words) -> list[str]:
    """Two a leg."""
    texts = []
    for leg, landmark in enumerate(route.landmarks):
        told = "end" if leg == len(route.turns) - 1 else "until"
        texts += [f"turn {_turn(route, leg, words)}", f"{told} {landmark}"]
    return texts


def _turn(route: Route, leg: int, words: Words) -> str:
    """Relative word and heading, or the one that the instruction shows."""
    relative, heading = route.turns[leg], compass(route.headings[leg + 1])
    return {"both": f"{relative} {heading}", "heading": heading, "relative": relative}[words]


# --------------------------------------------------------------------------------------
# Paper


def _paper_prompt(step: Step, history: Sequence[tuple[Point, str]]) -> str:
    route = step.route
    sentences = enumerate(_sentences(route, step.words), start=1)
    directions = "\n".join(f"{number}. {text}" for number, text in sentences)
    done = "".join(
        f"O_{number}: {observation(point)}\nA_{number}: {paper_action(did)}\n"
        for number, (point, did) in enumerate(history, start=1)
    )
    number = len(history) + 1
    turns = ", ".join(word.replace("-", " ") for word in TURN_WORDS[step.rule])
    return f"""\
You are an expert navigator who follows written directions through a city, one action at a time.

Directions, which begin where you face {compass(route.headings[0])}:
{directions}

Actions:
- forward(): move on
- turn_direction(x): turn, where x is one of: {turns}
- stop(): end at the destination

Observations (O) and actions (A) so far:
{done}O_{number}: {observation(step.point)}
A_{number}:

Reply with nothing but an object of this form:
{{
  "{OBSERVATION}": "the last observation, as shown",
  "{INSTRUCTION}": "the numbered sentence of the directions that you follow now, as shown",
  "{ACTION}": "one of the actions"
}}"""


def observation(point: Point) -> str:
    """What is seen at a point, as a sentence."""
    text = "No landmarks nearby"
    if point.landmark != NOTHING:
        text = f"The {_landmark(point.landmark)}"
    return f"{text}; you observe an intersection." if point.crossing else f"{text}."


def sentence(step: Step) -> str:
    """The sentence to follow, without its number."""
    return _sentences(step.route, step.words)[step.point.sentence - 1]


def paper_action(done: str) -> str:
    """`turn_direction(slightly left)` of `turn slightly-left`."""
    kind, _, word = done.partition(" ")
    return f"turn_direction({word.replace('-', ' ')})" if word else f"{kind}()"


def _sentences(route: Route, words: Words) -> list[str]:
    """Two a leg."""
    texts = []
    for leg, landmark in enumerate(route.landmarks):
        relative, heading = route.turns[leg].replace("-", " "), compass(route.headings[leg + 1])
        turn = {
            "both": f"turn {relative} to face {heading}",
            "heading": f"turn to face {heading}",
            "relative": f"turn {relative}",
        }[words]
        last = leg == len(route.turns) - 1
        until = "you reach the destination" if last else "the next intersection"
        where = "" if landmark == NOTHING else f", where the {_landmark(landmark)}"
        texts += [
            f"{turn[0].upper()}{turn[1:]}." if leg else f"First, {turn}.",
            f"Move forward until {until}{where}.",
        ]
    return texts


def _landmark(landmark: str) -> str:
    name, side = landmark.split()
    return f"{name} is {SIDE_PHRASES[side]}"


# --------------------------------------------------------------------------------------
# Both


def feedback(fault: str, style: Style) -> str:
    """The user turn after a wrong reply."""
    if style == "compact":
        return f"{fault} {ANSWER}"
    reasons = {
        "wrong_turn": "this is not where to turn to",
        "wrong_kind": "this is not what to do here",
        "other_rule": "your action names the turn by a word that is not in the list",
        "illegal_action": "this is not one of the actions",
        "wrong_crossing": "the action is wrong, and so is what you observe about an intersection",
        "unreadable": "no action was found in your reply",
    }
    return f"You failed this trial because {reasons[fault]}. Try again, in the same form."
