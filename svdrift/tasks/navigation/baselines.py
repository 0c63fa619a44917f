"""What policies score that do not read the directions: to be held beside every accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING

import pandas as pd

from svdrift.tasks.navigation.routes import KINDS, RULES, TURN_WORDS, Step, draw_route

if TYPE_CHECKING:
    from svdrift.tasks.navigation.settings import WorldSettings

ROUTES = 1000
"""Drawn for each world."""

POLICIES: Mapping[str, Callable[[Step], str]] = {
    "forward": lambda _: "forward",
    "first_turn": lambda step: f"turn {TURN_WORDS[step.rule][0]}",
    "other_rule": lambda step: step.gold_other_rule,
}
"""Always forward, which is also the first of the actions; always the first turn of the rule; and
the expert of the other rule."""


def baseline_table(worlds: Mapping[str, WorldSettings], wrap: bool) -> pd.DataFrame:
    """Accuracies of POLICIES over the steps of random routes.

    Returns:
        `world`, `rule`, `policy`, `subset` (a kind of steps, or `all`), `steps`, `accuracy`.
    """
    rows = []
    for name, world in worlds.items():
        random = Random(0)
        routes = [draw_route(world, wrap, random) for _ in range(ROUTES)]
        for rule in RULES:
            steps = [
                Step(route, at, rule, "both") for route in routes for at in range(len(route.points))
            ]
            for policy, act in POLICIES.items():
                right = pd.Series([act(step) == step.gold for step in steps])
                kinds = pd.Series([step.point.kind for step in steps])
                for subset in ("all", *KINDS):
                    of = right if subset == "all" else right[kinds == subset]
                    rows.append((name, rule, policy, subset, len(of), float(of.mean())))
    columns = ["world", "rule", "policy", "subset", "steps", "accuracy"]
    return pd.DataFrame(rows, columns=columns)
