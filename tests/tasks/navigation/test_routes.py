"""Routes by hand and drawn: words of turns, points, and what a route may not do."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svdrift.tasks.navigation.routes import (
    NOTHING,
    Point,
    Route,
    Step,
    draw_route,
    from_columns,
    meets_itself,
    relative_word,
    to_columns,
)
from svdrift.tasks.navigation.settings import WorldSettings
from tests.tasks.navigation.examples import ROUTE

EIGHT = range(0, 360, 45)
MIDDLE = {"left": -90, "slightly-left": -45, "slightly-right": 45, "right": 90}


@pytest.mark.parametrize(
    ("old", "new", "wrapped", "published"),
    [
        (180, 90, "left", "left"),
        (180, 135, "slightly-left", "slightly-left"),
        (0, 45, "slightly-right", "slightly-right"),
        (0, 135, "right", "right"),
        (315, 0, "slightly-right", "left"),
        (0, 315, "slightly-left", "right"),
        (45, 270, "left", "right"),
        (270, 45, "right", "left"),
    ],
)
def test_relative_words_by_hand(old: int, new: int, wrapped: str, published: str) -> None:
    assert relative_word(old, new, wrap=True) == wrapped
    assert relative_word(old, new, wrap=False) == published


def test_a_relative_turn_lands_within_45_degrees() -> None:
    turns = [(old, new) for old in EIGHT for new in EIGHT if (new - old) % 180]
    assert len(turns) == 48
    for old, new in turns:
        there = old + MIDDLE[relative_word(old, new, wrap=True)]
        assert abs((there - new + 180) % 360 - 180) <= 45
    wrong = [
        turn
        for turn in turns
        if relative_word(*turn, wrap=True) != relative_word(*turn, wrap=False)
    ]
    assert len(wrong) == 12  # those across north


def test_points_by_hand() -> None:
    assert ROUTE.points == (
        Point("turn", 0, NOTHING, False),
        Point("forward", 0, NOTHING, False),
        Point("turn", 1, "bakery right", True),
        Point("stop", 1, "bank left", False),
    )
    assert [point.sentence for point in ROUTE.points] == [1, 2, 3, 4]
    golds = [Step(ROUTE, place, "absolute", "both").gold for place in range(4)]
    assert golds == ["turn east", "forward", "turn southeast", "stop"]
    others = [Step(ROUTE, place, "absolute", "both").gold_other_rule for place in range(4)]
    assert others == ["turn left", "forward", "turn slightly-right", "stop"]


def test_routes_that_meet_themselves() -> None:
    assert meets_itself((0, 90, 180, 270), (1, 1, 1, 1))
    assert not meets_itself((0, 90, 180), (2, 1, 2))  # ends beside its start
    assert meets_itself((45, 180, 315), (2, 2, 2))  # crosses its first leg at (1, 1)
    assert not meets_itself((45, 90, 135), (4, 4, 4))


@given(st.integers(0, 10**6), st.sampled_from([4, 8]), st.sampled_from(["known", "new"]))
def test_drawn_routes_keep_their_promises(seed: int, headings: int, names: str) -> None:
    world = WorldSettings(legs=(2, 8), headings=headings, names=names)
    route = draw_route(world, True, Random(seed))
    legs = len(route.turns)
    assert 2 <= legs <= 8
    assert all((new - old) % 180 for old, new in pairwise(route.headings))
    assert all(heading % (360 // headings) == 0 for heading in route.headings)
    assert not meets_itself(route.headings[1:], route.blocks)
    seen = [landmark.split()[0] for landmark in route.landmarks if landmark != NOTHING]
    assert len(set(seen)) == len(seen)
    assert route.landmarks[-1] != NOTHING
    assert all(0 <= kept <= 4 for kept in route.kept_points)
    assert route.points[0].kind == "turn"
    assert [point.kind for point in route.points].count("turn") == legs
    assert [point.kind for point in route.points].count("stop") == 1
    assert len(route.points) == legs + sum(route.kept_points) + 1
    assert from_columns(**to_columns(route)) == route
    if headings == 4:
        assert set(route.turns) <= {"left", "right"}


def test_the_expert_follows_every_route_under_both_rules() -> None:
    """The action of each step, executed on headings alone, ends on the route's last heading."""
    random = Random(0)
    for _ in range(300):
        route: Route = draw_route(WorldSettings(), True, random)
        for rule in ("absolute", "relative"):
            facing, legs = route.headings[0], 0
            for place in range(len(route.points)):
                kind, _, word = Step(route, place, rule, "both").gold.partition(" ")
                if kind != "turn":
                    continue
                legs += 1
                if rule == "absolute":
                    names = "north northeast east southeast south southwest west northwest"
                    facing = 45 * names.split().index(word)
                    assert facing == route.headings[legs]
                else:
                    turned = route.headings[legs - 1] + MIDDLE[word]
                    assert abs((turned - route.headings[legs] + 180) % 360 - 180) <= 45
            assert legs == len(route.turns)
