"""Routes in words: where they turn, what is seen on the way, and what to do at each step.

A route is followed on rails: what has been seen and done before a step is what the expert saw and
did, whatever a policy would have done. So a step is a problem of its own. Light, because the
settings import it.

After V-IRL-L (arXiv 2501.17161): absolute turns name the new heading, relative ones the side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from svdrift.tasks.navigation.settings import WorldSettings

Rule = Literal["absolute", "relative"]
RULES: tuple[Rule, ...] = get_args(Rule)
Words = Literal["both", "heading", "relative"]
Kind = Literal["turn", "forward", "stop"]
KINDS: tuple[Kind, ...] = get_args(Kind)

COMPASS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")
"""The heading of i * 45 degrees at place i."""
TURN_WORDS: dict[Rule, tuple[str, ...]] = {
    "absolute": COMPASS,
    "relative": ("left", "slightly-left", "slightly-right", "right"),
}
"""The words by which each rule names a turn."""

SIDES = (
    "front", "right-front", "right", "right-behind", "behind", "left-behind", "left", "left-front",
)  # fmt: skip
"""Where a landmark is seen."""
NAMES = {
    "known": (
        "bakery", "bank", "barber", "bookshop", "bridge", "butcher", "cafe", "chapel", "cinema",
        "clinic", "college", "courthouse", "dentist", "embassy", "factory", "florist", "fountain",
        "gallery", "garage", "grocer", "gym", "hospital", "hotel", "jeweller", "library", "market",
        "monument", "museum", "observatory", "park", "pharmacy", "pizzeria", "playground", "pub",
        "school", "stadium", "station", "theatre", "tower", "zoo",
    ),
    "new": (
        "aquarium", "arcade", "castle", "cemetery", "harbour", "laundry", "lighthouse", "mill",
        "palace", "windmill",
    ),
}  # fmt: skip
"""Names of landmarks: those of training, and others."""

NOTHING = "nothing"  # in place of a landmark
LONGEST = 8
"""The most legs of a route; each has a landmark name of its own."""
POINTS = 4
"""Points within a leg; each is kept, as a step that moves forward, with probability 1/2."""


def relative_word(old: int, new: int, *, wrap: bool) -> str:
    """The relative word of a turn between two headings in degrees.

    Without `wrap` as published: the difference of the headings is taken as it is, so that turns
    across north get the word of the other side.
    """
    turn = new - old
    if wrap:
        turn = (turn + 180) % 360 - 180
    side = "left" if turn < 0 else "right"
    return f"slightly-{side}" if abs(turn) <= 45 else side


class Point(NamedTuple):
    """Where a route stands at one step.

    Attributes:
        kind: of the right action.
        leg: from 0; that of a turn is the one that it begins.
        landmark: what is seen there, such as `bakery right`, or NOTHING.
        crossing: whether it is an intersection.
    """

    kind: Kind
    leg: int
    landmark: str
    crossing: bool

    @property
    def sentence(self) -> int:
        """The number, from 1, of the sentence to follow; each leg has two."""
        return 2 * self.leg + (1 if self.kind == "turn" else 2)


@dataclass(frozen=True)
class Route:
    """A way of several legs.

    Attributes:
        headings: in degrees; the initial one, then one a leg.
        turns: the relative word of each leg's turn.
        blocks: length of each leg; decides only that a route never meets itself.
        landmarks: what is seen at the end of each leg, such as `bakery right`, or NOTHING.
        kept_points: how many steps forward each leg has.
    """

    headings: tuple[int, ...]
    turns: tuple[str, ...]
    blocks: tuple[int, ...]
    landmarks: tuple[str, ...]
    kept_points: tuple[int, ...]

    @property
    def key(self) -> str:
        """The same for routes that differ only in what no instruction tells."""
        return f"{_spaced(self.headings)} | {' ; '.join(self.landmarks)}"

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """All steps: each leg has a turn, then steps forward; the last step stops."""
        found = []
        for leg, kept in enumerate(self.kept_points):
            seen = self.landmarks[leg - 1] if leg else NOTHING
            found.append(Point("turn", leg, seen, leg > 0))
            found += [Point("forward", leg, NOTHING, False)] * kept
        return (*found, Point("stop", len(self.turns) - 1, self.landmarks[-1], False))

    def turn_word(self, leg: int, rule: Rule) -> str:
        """How a rule names the turn that begins a leg."""
        return compass(self.headings[leg + 1]) if rule == "absolute" else self.turns[leg]


@dataclass(frozen=True)
class Step:
    """One problem: a route that was followed up to a step.

    Attributes:
        place: of the step, from 0.
        rule: by whose words turns are named, in the history and in the reply.
        words: which words for its turns the instruction shows.
    """

    route: Route
    place: int
    rule: Rule
    words: Words

    @property
    def point(self) -> Point:
        """Where the route stands."""
        return self.route.points[self.place]

    @property
    def gold(self) -> str:
        """The right action: `turn left`, `forward` or `stop`."""
        return action(self.route, self.point, self.rule)

    @property
    def gold_other_rule(self) -> str:
        """What would be right under the other rule."""
        return action(self.route, self.point, other(self.rule))


def action(route: Route, point: Point, rule: Rule) -> str:
    """The expert's action: `turn left`, `forward` or `stop`."""
    return f"turn {route.turn_word(point.leg, rule)}" if point.kind == "turn" else point.kind


def other(rule: Rule) -> Rule:
    """The rule that it is not."""
    return "relative" if rule == "absolute" else "absolute"


def compass(heading: int) -> str:
    """The word of a heading in degrees."""
    return COMPASS[heading // 45]


def draw_route(world: WorldSettings, wrap: bool, random: Random) -> Route:
    """A route that never meets itself; see `WorldSettings`.

    No heading is the one before it, nor its opposite. The destination always has a landmark.
    """
    while True:
        legs = random.randint(*world.legs)
        headings = _draw_headings(legs, 360 // world.headings, random)
        blocks = tuple(random.randint(*world.blocks) for _ in range(legs))
        if not meets_itself(headings[1:], blocks):
            break
    names = random.sample(NAMES[world.names], legs)
    landmarks = [
        f"{name} {random.choice(SIDES)}"
        if leg == legs - 1 or random.random() < world.landmarks
        else NOTHING
        for leg, name in enumerate(names)
    ]
    return Route(
        headings=headings,
        turns=tuple(relative_word(old, new, wrap=wrap) for old, new in pairwise(headings)),
        blocks=blocks,
        landmarks=tuple(landmarks),
        kept_points=tuple(random.getrandbits(POINTS).bit_count() for _ in range(legs)),
    )


def meets_itself(headings: tuple[int, ...], blocks: tuple[int, ...]) -> bool:
    """Whether legs with these headings and lengths pass a node of the grid twice."""
    here = (0, 0)
    passed = {here}
    for heading, length in zip(headings, blocks, strict=True):
        east, north = _DIRECTIONS[heading]
        for _ in range(length):
            here = (here[0] + east, here[1] + north)
            if here in passed:
                return True
            passed.add(here)
    return False


_DIRECTIONS = {
    0: (0, 1), 45: (1, 1), 90: (1, 0), 135: (1, -1),
    180: (0, -1), 225: (-1, -1), 270: (-1, 0), 315: (-1, 1),
}  # fmt: skip
"""By heading: blocks to the east and to the north."""


def _draw_headings(legs: int, apart: int, random: Random) -> tuple[int, ...]:
    every = range(0, 360, apart)
    headings = [random.choice(every)]
    while len(headings) <= legs:
        headings.append(random.choice([h for h in every if (h - headings[-1]) % 180]))
    return tuple(headings)


def to_columns(route: Route) -> dict[str, str]:
    """A route as texts, for tables."""
    return {
        "headings": _spaced(route.headings),
        "turns": _spaced(route.turns),
        "blocks": _spaced(route.blocks),
        "landmarks": " ; ".join(route.landmarks),
        "kept_points": _spaced(route.kept_points),
    }


def from_columns(headings: str, turns: str, blocks: str, landmarks: str, kept_points: str) -> Route:
    """What `to_columns` has written."""
    return Route(
        headings=_integers(headings),
        turns=tuple(turns.split()),
        blocks=_integers(blocks),
        landmarks=tuple(landmarks.split(" ; ")),
        kept_points=_integers(kept_points),
    )


def _spaced(items: tuple[object, ...]) -> str:
    return " ".join(map(str, items))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))
