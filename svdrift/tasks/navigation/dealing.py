"""Deals routes step by step, so that none of an evaluation was trained on.

A *group* is a route: its headings and landmarks (`Route.key`). A number computed from seed and
group says which part of a study may have it, so that splits share no group, in whatever order they
are dealt. Only `demonstrated` has those of the demonstrations, and tests of further worlds share a
part. A split has all steps of its routes, in order, but for those of the last one that are too
many.

The one subset of a step is its kind: `turn`, `forward` or `stop`. Only turns differ between rules.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import pandas as pd

from svdrift.errors import UserError
from svdrift.tasks.navigation.routes import (
    NAMES,
    SIDES,
    Route,
    Step,
    draw_route,
    from_columns,
    to_columns,
)
from svdrift.tasks.usual import FURTHER, ROLES

if TYPE_CHECKING:
    from svdrift.tasks.navigation.settings import DealSettings, WorldSettings

ROUTE_COLUMNS = ["headings", "turns", "blocks", "landmarks", "kept_points"]
PARTS = (*(split for split, role in ROLES.items() if role != "fit"), FURTHER)
MARGIN = 4
"""How many times the routes that are needed there must be, at least, for none to be counted."""
DRAWS = 200
"""Routes in a row, times PARTS, that are all known or another part's before drawing ends."""


def make_split(
    split: str,
    settings: DealSettings,
    count: int,
    seed: int,
    training: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Deal one split.

    Columns: `problem`, `group`, `subsets`; `step` (from 1) of `steps`; `rule` and `words`; `kind`
    of the right action; the route as in `Route`; `gold` and `gold_other_rule`, the right action
    under the rule and under the other one.

    Raises:
        UserError: there are too few routes.
    """
    if split == "demonstrated":
        shown = training["demonstrations"].head(count).reset_index(drop=True)
        return shown.assign(problem=_ids(split, len(shown)))
    steps = list(islice(_steps(split, settings, seed), count))
    if len(steps) < count:
        raise UserError(
            f"task.problems: {split} asks for {count} steps and there are routes for {len(steps)} "
            "(ask for fewer, or allow more legs, headings or landmarks)"
        )
    routes = pd.DataFrame([to_columns(step.route) for step in steps])
    given = pd.DataFrame(
        {
            "problem": _ids(split, len(steps)),
            "group": [step.route.key for step in steps],
            "subsets": [step.point.kind for step in steps],
            "step": [step.place + 1 for step in steps],
            "steps": [len(step.route.points) for step in steps],
            "kind": [step.point.kind for step in steps],
        }
    )
    return _with_gold(pd.concat([given, routes], axis=1), settings)


def vary_table(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
    """The same steps under the rule of `settings`, with its words in their instructions."""
    return _with_gold(table, settings)


def read_steps(table: pd.DataFrame) -> list[Step]:
    """The steps in the rows of a table, in order."""
    routes = {texts: from_columns(*texts) for texts in set(_texts(table))}
    given = zip(_texts(table), table["step"], table["rule"], table["words"], strict=True)
    return [Step(routes[texts], int(step) - 1, rule, words) for texts, step, rule, words in given]


def check_supply(split: str, settings: DealSettings, count: int, seeds: Sequence[int]) -> None:
    """Refuse to ask for more steps than there are. Routes are drawn only where they may be few.

    Raises:
        UserError: naming the split, how many steps are asked for and how many there are.
    """
    world = settings.world
    routes = count / (world.legs[0] + 1)  # a route has at least a turn for each leg, and its stop
    if MARGIN * routes > fewest_routes(world) / len(PARTS):
        for seed in seeds:
            make_split(split, settings, count, seed, {})


def fewest_routes(world: WorldSettings) -> int:
    """How many groups have the fewest legs and a landmark at the destination only.

    Those that meet themselves are counted, too: a reason for MARGIN.
    """
    turns: int = (world.headings - 2) ** world.legs[0]
    return world.headings * turns * len(NAMES[world.names]) * len(SIDES)


def check_splits(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Verify what the top of this module promises.

    Returns:
        One row a split: `split`, `rule`, `problems`, `groups`, `turns`: the share of turns.

    Raises:
        RuntimeError: naming the broken promise.
    """
    owner: dict[str, str] = {}  # split that has a group
    rows = []
    for split, table in tables.items():
        part = FURTHER if split.startswith(FURTHER) else split
        if split == "demonstrated":
            if not set(table["group"]) <= set(tables["demonstrations"]["group"]):
                raise RuntimeError(f"{split}: has routes that are not demonstrated")
        else:
            for group in table["group"].unique():
                if owner.setdefault(group, part) != part:
                    raise RuntimeError(f"{split}: shares the route {group} with {owner[group]}")
        differs = table["gold"] != table["gold_other_rule"]
        if (differs != (table["kind"] == "turn")).any():
            raise RuntimeError(f"{split}: rules differ elsewhere than at turns")
        if table.duplicated(["group", "step"]).any():
            raise RuntimeError(f"{split}: has a step twice")
        rows.append(
            {
                "split": split,
                "rule": table["rule"].iloc[0],
                "problems": len(table),
                "groups": table["group"].nunique(),
                "turns": float((table["kind"] == "turn").mean()),
            }
        )
    return pd.DataFrame(rows)


def _steps(split: str, settings: DealSettings, seed: int) -> Iterator[Step]:
    """Steps of ever more routes; ends when no more are found."""
    part = PARTS.index(FURTHER if split.startswith(FURTHER) else split)
    random, known, vain = Random(f"{seed} {split}"), set(), 0
    while vain < DRAWS * len(PARTS):
        route = draw_route(settings.world, settings.wrap, random)
        if route.key in known or _part(route, seed) != part:
            vain += 1
            continue
        known.add(route.key)
        vain = 0
        for place in range(len(route.points)):
            yield Step(route, place, settings.rule, settings.words)


def _part(route: Route, seed: int) -> int:
    """The place in PARTS of the splits that may have a route."""
    return zlib.crc32(f"{seed} {route.key}".encode()) % len(PARTS)


def _with_gold(table: pd.DataFrame, settings: DealSettings) -> pd.DataFrame:
    posed = table.assign(rule=settings.rule, words=settings.words)
    steps = read_steps(posed)
    return posed.assign(
        gold=[step.gold for step in steps],
        gold_other_rule=[step.gold_other_rule for step in steps],
    )


def _texts(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(table[ROUTE_COLUMNS].itertuples(index=False, name=None))


def _ids(split: str, count: int) -> list[str]:
    return [f"{split}-{row:05d}" for row in range(count)]
