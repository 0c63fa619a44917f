"""What probes ask of a task beyond posing problems and verifying replies.

A task that can be probed so has a module `probing.py` with the class `Probing` (a file of your own
holds it beside the rest). Each method is asked for by one kind of probe, which its text names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from svdrift import plugins
from svdrift.tasks.base import Problem, TaskPart

ROOM, PART = "svdrift.tasks", "probing"


class Help(NamedTuple):
    """A problem with a part of its solution given.

    Attributes:
        turn: the user turn that poses it.
        begun: the beginning of the reply, which the model goes on from; empty for none.
    """

    turn: str
    begun: str


class Probing(Protocol):
    """The task's side of the probes that look into its problems and replies."""

    def __init__(self, settings: Any) -> None:
        """Make it from the task's `PlaySettings`."""
        ...

    def replies(self, problem: Problem) -> Sequence[str]:
        """Every right reply that can be listed, each once (probe `losses`)."""
        ...

    def parts(self, problem: Problem, reply: str) -> Mapping[str, tuple[int, int]]:
        """The parts of a gold reply by name, as spans of characters that cover it (`losses`)."""
        ...

    def helped(self, problem: Problem) -> Mapping[str, Help]:
        """The problem with more and more of its solution given, by what is given (`given`)."""
        ...

    def scores(self, problem: Problem, reply: str) -> Mapping[str, bool]:
        """Other judgements of a reply than the verifier's, by name (`scores`)."""
        ...

    def solutions(self, problem: Problem) -> Mapping[str, int]:
        """How many solutions it has, by how they are counted (`scores`)."""
        ...

    def under_other_rules(self, problem: Problem) -> Mapping[str, Problem]:
        """The same problem under each other rule of the study, by its name (`scores`)."""
        ...


def files(name: str) -> tuple[str, ...]:
    """The file of a task's `Probing`, for `tracking`; see `plugins.files`."""
    return plugins.files(ROOM, name, PART)


def probing_class(name: str) -> type[Probing]:
    """The class of a task.

    Raises:
        UserError: there is no such task, or it cannot be probed so; the message names those that
            can.
    """
    found: type[Probing] = plugins.load(ROOM, name, PART, ("Probing",)).Probing
    return found


def make_probing(play: TaskPart) -> Probing:
    """The `Probing` of the task that its `PlaySettings` describe; see `probing_class`."""
    return probing_class(play.name)(play)
