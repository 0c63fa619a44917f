"""A finding: a statement, an estimate with its interval, and the verdict that follows from them.

Many statements are tested at once, so each verdict stands beside one that allows for their number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

Verdict = Literal["holds", "fails", "undecided", "described"]
LEVEL = 0.05
FINE = (
    "rank correlation",
    "R²",
    "%",
    "nats",
    "bits",
    "reward",
    "",
)  # units that are printed with two decimals
Side = Literal["above", "below"]
Unit = Literal[
    "points",
    "% of the loss",
    "%",
    "degrees",
    "rank correlation",
    "R²",
    "nats",
    "bits",
    "reward",
    "",
]


@dataclass(frozen=True)
class Statement:
    """What a claim says of one quantity: that it lies above `bound`, or below it (`side`)."""

    claim: str  # key of `svdrift.findings.claims.CLAIMS`
    statement: str
    unit: Unit
    side: Side
    bound: float  # in `unit`
    published: str
    figure: str  # file names inside the study's folder
    table: str
    _: KW_ONLY
    description: bool = False  # true by construction: told, but not judged


@dataclass(frozen=True)
class Estimate:
    """What the tables of a study say of a quantity, in the statement's unit.

    An estimate without an interval has no sampling width: it is exact, and of these models alone.
    """

    estimate: float  # NaN where there is nothing to estimate
    low: float  # 95 %
    high: float
    each: tuple[float, ...]  # the estimate of every single seed; NaN where it has none
    n: int  # what was counted, over all seeds, see `counted`
    counted: str
    test: str
    _: KW_ONLY
    detail: str = ""  # further numbers of the same table
    groups: int | None = None  # into which what was counted falls, over all seeds
    freedom: float = math.inf  # degrees of freedom of Student's t in a symmetric interval
    exact_p: float | None = None  # of the statement's bound, where the interval is another kind's


@dataclass(frozen=True)
class Finding(Estimate, Statement):
    """A statement about a study with its estimate."""

    @property
    def verdict(self) -> Verdict:
        """What the interval says of the statement; see `verdict`."""
        if self.description or (math.isnan(self.low) and not math.isnan(self.estimate)):
            return "described"
        return verdict(self.low, self.high, self.side, self.bound)

    @property
    def p(self) -> float:
        """Two-sided p of the quantity being at the bound; below 0.05 if the interval excludes it.

        NaN where nothing is judged.
        """
        if self.verdict == "described" or math.isnan(self.low):
            return math.nan
        if self.exact_p is not None:
            return self.exact_p
        gap, half = abs(self.estimate - self.bound), (self.high - self.low) / 2
        if half == 0:
            return float(gap == 0)
        quantile = stats.t.isf(LEVEL / 2, self.freedom)
        return float(2 * stats.t.sf(gap / half * quantile, self.freedom))


def held(pairs: Iterable[tuple[Statement, Estimate | None]]) -> list[Finding]:
    """Findings of the statements that have an estimate."""
    return [Finding(**vars(said), **vars(found)) for said, found in pairs if found is not None]


def verdict(low: float, high: float, side: Side, bound: float) -> Verdict:
    """`holds` if all of a 95 % interval lies on the stated side of the bound, `fails` if all of it
    lies on the other, else `undecided`. A missing interval (NaN) decides nothing.
    """  # noqa: D205
    if math.isnan(low) or math.isnan(high):
        return "undecided"
    if low > bound:
        return "holds" if side == "above" else "fails"
    if high < bound:
        return "fails" if side == "above" else "holds"
    return "undecided"


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values: below 0.05 in at most 5 % of studies in which every null is true.

    The k-th smallest of m is multiplied by m - k + 1 and never below a smaller one (Holm 1979). NaN
    stays, and does not count.
    """
    given = np.asarray(p, dtype=float)
    judged = np.flatnonzero(~np.isnan(given))
    order = judged[np.argsort(given[judged], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted = np.full(len(given), math.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    found: list[float] = adjusted.tolist()
    return found


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row a finding: its fields and `verdict`; `each` as text, `+3.2 -1.0`.

    `p` is two-sided, of the quantity being at the bound; `holm` allows for all the statements of
    the study that are judged (Holm), and `verdict_holm` is the verdict if it is below 0.05.
    """
    rows = []
    for finding, adjusted in zip(findings, holm([one.p for one in findings]), strict=True):
        row = asdict(finding) | {"verdict": finding.verdict, "p": finding.p, "holm": adjusted}
        judged = finding.verdict in ("holds", "fails")
        row["verdict_holm"] = "undecided" if judged and not adjusted < LEVEL else finding.verdict
        digits = 2 if finding.unit in FINE else 1
        row["each"] = " ".join(
            "none" if math.isnan(v) else f"{round(v, digits) + 0.0:+.{digits}f}"
            for v in finding.each
        )
        rows.append(row)
    columns = ["claim", "statement", "verdict", "estimate", "low", "high", "unit", "side", "bound"]
    columns += ["p", "holm", "verdict_holm", "each", "n", "counted", "groups", "detail", "test"]
    columns += ["published", "figure", "table"]
    numbers = dict.fromkeys(("estimate", "low", "high"), 3)
    table = pd.DataFrame(rows, columns=columns).round(numbers)
    for column in ("p", "holm"):
        table[column] = table[column].map(lambda value: float(f"{value:.3g}"))
    return table.astype({"groups": "Int64"})


def read_findings(path: Path) -> pd.DataFrame:
    """The CSV of a `findings_table`: empty numbers are NaN, empty texts are empty."""
    numbers = dict.fromkeys(("estimate", "low", "high", "p", "holm", "groups"), "")
    texts = dict.fromkeys(("each", "detail"), str)  # of one seed, `each` looks like numbers
    return pd.read_csv(path, keep_default_na=False, na_values=numbers, dtype=texts)
