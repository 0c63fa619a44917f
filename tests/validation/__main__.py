"""Run the simulations in full and write docs/validation.md.

`python -m tests.validation paired ranks` runs some kinds alone, and writes nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import pandas as pd

from tests.validation import replies
from tests.validation.checks import Simulation
from tests.validation.kinds import KINDS
from tests.validation.page import (
    PAGE,
    made,
    percent,
    replies_table,
    row,
    table,
    with_tables,
)

REPORT_EACH = 20.0  # seconds
REPLIES = (10, 100_000)  # runs, each with hands of its own, and replies in each


class Clock:
    """Foretells how long the rest takes, from the time that a study of each simulation takes."""

    def __init__(self, simulations: Sequence[Simulation]) -> None:
        self._began = time.monotonic()
        self._reported = self._began
        self._left = {id(simulation): simulation.long for simulation in simulations}
        self._each: dict[int, float] = {}
        for simulation in simulations:
            list(simulation.studies(1))  # what is computed once
            start = time.monotonic()
            list(simulation.studies(2))
            self._each[id(simulation)] = (time.monotonic() - start) / 2

    def tick(self, simulation: Simulation, done: int, seconds: float) -> None:
        """Note that `done` studies have taken so long; tell now and then."""
        self._left[id(simulation)] = simulation.long - done
        self._each[id(simulation)] = seconds / done
        now = time.monotonic()
        if now - self._reported > REPORT_EACH:
            self._reported = now
            tell(f"  {done} of {simulation.long}: {simulation.simulated}; {self.left()} left")

    def left(self) -> str:
        """The time that is left, in words."""
        seconds = sum(count * self._each[key] for key, count in self._left.items())
        return f"about {seconds / 60:.0f} min" if seconds > 90 else f"about {seconds:.0f} s"

    def minutes(self) -> float:
        """Time since the start."""
        return (time.monotonic() - self._began) / 60


def tell(text: str) -> None:
    print(text, flush=True)


def in_full(simulation: Simulation, clock: Clock) -> list[str]:
    """Simulate and tell what came out; rows of the page."""
    studies, start = [], time.monotonic()
    for study in simulation.studies(simulation.long):
        studies.append(study)
        clock.tick(simulation, len(studies), time.monotonic() - start)
    rows = []
    for statement, rates in simulation.counted(studies):
        tell(f"{percent(rates.missed):>7} missed: {statement.name}; {simulation.simulated}")
        rows.append(row(simulation.simulated, statement, rates))
    return rows


def mutated_replies() -> dict[str, float]:
    """Judge replies to the game, run after run, and sum up."""
    runs, each = REPLIES
    found = []
    for seed in range(runs):
        found.append(replies.run(each, seed))
        tell(f"{(seed + 1) * each:,} of {runs * each:,} replies: {found[-1]}")
    counts = pd.DataFrame(found)
    sums = counts[["count", "disagreements", "crashes"]].sum()
    means = counts[["solved", "judged", "median_us"]].mean()
    return {**sums, **means, "slowest_ms": counts["slowest_ms"].max()}


def main(names: Sequence[str]) -> int:
    """Run all kinds, or those named."""
    chosen = [kind for kind in KINDS if not names or kind.__name__.rpartition(".")[2] in names]
    clock = Clock([simulation for kind in chosen for simulation in kind.SIMULATIONS])
    tell(f"{clock.left()}, and some minutes for replies")
    tables = [
        table(kind.TITLE, [line for one in kind.SIMULATIONS for line in in_full(one, clock)])
        for kind in chosen
    ]
    if not names or "replies" in names:
        tables.append(replies_table(mutated_replies()))
    text = made(clock.minutes()) + "".join(tables)
    if names:
        tell(text)
    else:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
        tell(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
