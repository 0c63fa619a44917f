"""Pretraining examples for the tiny base model: skills of the task, never their composition.

Kinds of examples, in the compact style and with the layout of the task:

- locate: `turns ... route ... seen nothing did turn left seen bakery right crossing locate` ->
  `seen bakery right crossing sentence 3 turn left north`: copy the last observation, and find and
  copy the current sentence;
- choose: `turns ... route ... seen bakery right crossing sentence 3 turn left north choose` ->
  `seen bakery right crossing sentence 3 turn left north : turn left`; what is given is repeated
  first;
- invent: `turns ... route ... choose`, where the reply chooses the step itself.

The rules are made up: the words for turns are some of both real rules', in any order, and never
those of one rule. A turn is named by the one of its two words that is among them. So the marker of
the task and the words of a rule never appear with a route.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from typing import TYPE_CHECKING

from svdrift.tasks.navigation import prompts
from svdrift.tasks.navigation.routes import RULES, TURN_WORDS, Point, Route, Words, draw_route

if TYPE_CHECKING:
    from svdrift.tasks.navigation.settings import WorldSettings

LOCATE_SHARE, INVENTED_SHARE, TURN_SHARE = 0.4, 0.3, 0.6
"""Share of examples that locate; of the others, those whose step the reply chooses, and those that
are surely about a turn."""

MOST_WORDS = 8  # of a rule, as in the task
EVERY_WORD = tuple(word for rule in RULES for word in TURN_WORDS[rule])


class Mixture:
    """A seeded source of examples.

    Args:
        worlds: of the routes.
        words: that instructions show.
        wrap: see `routes.relative_word`.
        seed: of everything that is drawn.
    """

    def __init__(
        self, worlds: Sequence[WorldSettings], words: Words, wrap: bool, seed: int
    ) -> None:
        self._random = Random(seed)
        self._worlds, self._words, self._wrap = list(worlds), words, wrap

    def example(self) -> list[str]:
        """Turns [user, reply]."""
        route = draw_route(self._random.choice(self._worlds), self._wrap, self._random)
        if self._random.random() < LOCATE_SHARE:
            return self._locate(route)
        return self._choose(route)

    def _locate(self, route: Route) -> list[str]:
        place = self._random.randrange(len(route.points))
        point, past = route.points[place], route.points[:place]
        history = [(before, self._action(route, before)) for before in past]
        used = {action.split()[1] for _, action in history if action.startswith("turn ")}
        given = f"{prompts.compact_history(history)} {prompts.compact_seen(point)}"
        return [self._prompt(route, used, (), given, prompts.LOCATE), self._place(route, point)]

    def _choose(self, route: Route) -> list[str]:
        turn = self._random.random() < TURN_SHARE
        point = self._random.choice([p for p in route.points if not turn or p.kind == "turn"])
        action = self._action(route, point)
        used: set[str] = set()
        if point.kind == "turn":
            used = {action.split()[1]}
        both = {route.turn_word(point.leg, rule) for rule in RULES}
        place = self._place(route, point)
        given = "" if self._random.random() < INVENTED_SHARE else place
        prompt = self._prompt(route, used, both - used, given, prompts.CHOOSE)
        return [prompt, f"{place} : {action}"]

    def _place(self, route: Route, point: Point) -> str:
        return prompts.compact_place(route, point, self._words)

    def _action(self, route: Route, point: Point) -> str:
        """The right action, where a turn is named as in either rule."""
        if point.kind != "turn":
            return point.kind
        return f"turn {route.turn_word(point.leg, self._random.choice(RULES))}"

    def _prompt(
        self,
        route: Route,
        used: Collection[str],
        left_out: Collection[str],
        given: str,
        marker: str,
    ) -> str:
        turns = self._made_up_rule(used, left_out)
        return prompts.compact_prompt(turns, route, self._words, given, marker)

    def _made_up_rule(self, used: Collection[str], left_out: Collection[str]) -> list[str]:
        """Words for turns in any order: those `used` and others, never all of one rule alone."""
        others = [word for word in EVERY_WORD if word not in used and word not in left_out]
        while True:
            more = self._random.randint(1, max(1, MOST_WORDS - len(used)))
            turns = [*sorted(used), *self._random.sample(others, min(more, len(others)))]
            if all(set(turns) != set(TURN_WORDS[rule]) for rule in RULES):
                return self._random.sample(turns, len(turns))
