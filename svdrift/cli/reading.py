"""Progress of a command that reads tensors one after the other, told on stderr."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from svdrift.scripting import progress


class ReadingProgress:
    """Counts tensors as they are read: `tick` is called with each one's name.

    Which of them count is known only when the model is open, so `start` tells them.
    """

    def __init__(self) -> None:
        self._counted: frozenset[str] = frozenset()
        self._ticks: Iterator[int] = iter(())

    def start(self, names: Collection[str], description: str) -> None:
        """Begin to count the tensors `names`."""
        self._counted = frozenset(names)
        self._ticks = progress(range(len(names)), len(names), description)

    def tick(self, name: str) -> None:
        """Note that work on a tensor begins."""
        if name in self._counted:
            next(self._ticks, None)

    def finish(self) -> None:
        """Note that the last one is done as well."""
        for _ in self._ticks:
            pass
