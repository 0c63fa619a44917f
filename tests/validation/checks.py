"""Simulated studies in which the truth is known, and how often what they say of it is wrong.

A 95 % interval should miss the truth in at most 5 % of studies. A statement that the quantity lies
above the truth (or below it) is false; it would *hold* where the whole interval lies there.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import stats

LIMIT = 0.05
SURELY = 0.001  # a rate exceeds its limit where chance alone would make it so large less often


class Said(NamedTuple):
    """The interval that one simulated study gives, and the truth; NaN where it gives none."""

    low: float
    high: float
    truth: float = 0.0


NOTHING = Said(math.nan, math.nan)
WRONG, RIGHT = Said(1.0, 1.0), Said(-1.0, 1.0)  # of what gives a verdict and no interval

Simulate = Callable[[np.random.Generator], Mapping[str, Said | Sequence[Said]]]


class Statement(NamedTuple):
    """A kind of statement, and how often it may be wrong.

    `limit` is that of the share of intervals that miss the truth; where it is not 5 %, `note` says
    why. `least` is for what is known to be wrong: the share that it misses at least, so that a
    warning is kept only as long as it is due.
    """

    name: str
    limit: float = LIMIT
    least: float = 0.0
    note: str = ""


UNEVEN = "groups of very unequal size say less than as many equal ones"


@dataclass(frozen=True)
class Simulation:
    """Studies of one kind, and the statements that each of them makes.

    `simulate` returns by a statement's name what one study says of a quantity, or of several
    alike. `long` and `short` are numbers of studies, for the page and for the unit tests.
    """

    simulated: str
    statements: Sequence[Statement]
    simulate: Simulate = field(repr=False)
    long: int
    short: int

    def studies(self, count: int, seed: int = 0) -> Iterator[dict[str, Outcome]]:
        """Simulate so many studies, the same ones for the same seed."""
        names = "".join(statement.name for statement in self.statements)
        rng = np.random.default_rng([seed, zlib.crc32(f"{self.simulated}{names}".encode())])
        for _ in range(count):
            found = self.simulate(rng)
            yield {one.name: outcome(found[one.name]) for one in self.statements}

    def rates(self, count: int, seed: int = 0) -> list[tuple[Statement, Rates]]:
        """Simulate so many studies and count."""
        return self.counted(list(self.studies(count, seed)))

    def counted(self, studies: Sequence[Mapping[str, Outcome]]) -> list[tuple[Statement, Rates]]:
        """The rates of each statement in simulated studies."""
        return [(one, rates([study[one.name] for study in studies])) for one in self.statements]


class Outcome(NamedTuple):
    """Of one study's intervals the share that lies above the truth, and below.

    NaN where it gives none.
    """

    above: float
    below: float


class Rates(NamedTuple):
    """Means over those simulated studies that give an interval."""

    studies: int
    given: int
    above: float
    below: float

    @property
    def missed(self) -> float:
        """Share of intervals that do not hold the truth: the two-sided rate."""
        return self.above + self.below

    @property
    def error(self) -> float:
        """Monte Carlo standard error of `missed`; several intervals of a study count as one."""
        return math.sqrt(self.missed * (1 - self.missed) / self.given)

    def surely_above(self, limit: float) -> bool:
        """Whether the true rate is above a limit, beyond the chance of the simulation."""
        fewest = math.ceil(round(self.missed * self.given, 6))
        return bool(stats.binom.sf(fewest - 1, self.given, limit) < SURELY)

    def surely_below(self, limit: float) -> bool:
        """Whether it is below."""
        most = math.floor(round(self.missed * self.given, 6))
        return bool(stats.binom.cdf(most, self.given, limit) < SURELY)


def outcome(said: Said | Sequence[Said]) -> Outcome:
    """Count the intervals of a study that lie above or below the truth."""
    each = [said] if isinstance(said, Said) else said
    given = [one for one in each if not (math.isnan(one.low) or math.isnan(one.high))]
    if not given:
        return Outcome(math.nan, math.nan)
    above = sum(one.low > one.truth for one in given) / len(given)
    return Outcome(above, sum(one.high < one.truth for one in given) / len(given))


def rates(outcomes: Sequence[Outcome]) -> Rates:
    """Average over the studies that give an interval."""
    given = [one for one in outcomes if not math.isnan(one.above)]
    count = max(len(given), 1)
    return Rates(
        len(outcomes),
        len(given),
        math.fsum(one.above for one in given) / count,
        math.fsum(one.below for one in given) / count,
    )
