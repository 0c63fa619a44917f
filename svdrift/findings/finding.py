"""A finding: a statement, an estimate with its interval, and the verdict that follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

Verdict = Literal["holds", "fails", "undecided"]
Unit = Literal["points", "% of the loss", "%", "degrees", "rank correlation"]


@dataclass(frozen=True)
class Statement:
    """What a claim says of one quantity: that it lies above `bound`, or below it (`side`)."""

    claim: str  # key of `svdrift.findings.claims.CLAIMS`
    statement: str
    unit: Unit
    side: Literal["above", "below"]
    bound: float  # in `unit`
    published: str
    figure: str  # file names inside the study's folder
    table: str


@dataclass(frozen=True)
class Estimate:
    """What the tables of a study say of a quantity, in the statement's unit."""

    estimate: float
    low: float  # 95 %
    high: float
    each: tuple[float, ...]  # the estimate of every single seed; NaN where it has none
    n: int  # what was counted, over all seeds, see `counted`
    counted: str
    test: str
    detail: str = ""  # further numbers of the same table


@dataclass(frozen=True)
class Finding(Estimate, Statement):
    """A statement about a study with its estimate."""

    @property
    def verdict(self) -> Verdict:
        """What the interval says of the statement; see `verdict`."""
        return verdict(self.low, self.high, self.side, self.bound)


def held(pairs: Iterable[tuple[Statement, Estimate | None]]) -> list[Finding]:
    """Findings of the statements that have an estimate."""
    return [Finding(**vars(said), **vars(found)) for said, found in pairs if found is not None]


def verdict(low: float, high: float, side: Literal["above", "below"], bound: float) -> Verdict:
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


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row a finding: its fields and `verdict`; `each` as text, `+3.2 -1.0`."""
    rows = []
    for finding in findings:
        row = asdict(finding) | {"verdict": finding.verdict}
        digits = 2 if finding.unit in ("rank correlation", "%") else 1
        row["each"] = " ".join(
            "none" if math.isnan(v) else f"{round(v, digits) + 0.0:+.{digits}f}"
            for v in finding.each
        )
        rows.append(row)
    columns = ["claim", "statement", "verdict", "estimate", "low", "high", "unit", "side", "bound"]
    columns += ["each", "n", "counted", "detail", "test", "published", "figure", "table"]
    numbers = dict.fromkeys(("estimate", "low", "high"), 3)
    return pd.DataFrame(rows, columns=columns).round(numbers)


def read_findings(path: Path) -> pd.DataFrame:
    """The CSV of a `findings_table`: empty numbers are NaN, empty texts are empty."""
    numbers = dict.fromkeys(("estimate", "low", "high"), "")
    texts = dict.fromkeys(("each", "detail"), str)  # of one seed, `each` looks like numbers
    return pd.read_csv(path, keep_default_na=False, na_values=numbers, dtype=texts)
