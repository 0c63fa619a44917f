"""What playing problems takes from the task, by the splits that they are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from svdrift.study.data import Variant, inputs
from svdrift.study.stages import Graph
from svdrift.tasks.base import TaskSettings


def play_settings(
    task: TaskSettings, graph: Graph, data: Sequence[str], *, rewards: bool = True
) -> dict[str, Any]:
    """The `PlaySettings` of splits or data together, as plain values.

    Args:
        task: of the study.
        graph: with what data is made from.
        data: names of splits or data.
        rewards: False for jobs whose results do not depend on what replies earn.
    """
    plays: dict[str, Any] = {}
    for name in data:
        for leaf, changes in _leaves(graph, name):
            varied = task.vary(**changes) if changes else task
            play = varied.play(leaf)
            exclude = set() if rewards else set(play.REWARDS)
            plays = _joined(plays, play.model_dump(mode="json", exclude=exclude))
    return plays


def _leaves(graph: Graph, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The splits that data is made from, each with what varies."""
    data = graph.data.get(name)
    if data is None:
        yield name, {}
    elif isinstance(data, Variant):
        yield data.on, data.changes
    else:
        for used in inputs(data):
            yield from _leaves(graph, used)


def _joined(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Both mappings, those within them joined; the second one's plain values count."""
    joined = {**a, **b}
    for name in a.keys() & b.keys():
        if isinstance(a[name], dict) and isinstance(b[name], dict):
            joined[name] = a[name] | b[name]
    return joined
