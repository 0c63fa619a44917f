"""The sentences that a report opens on: the statements that say most, with their verdicts."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from svdrift.findings.page import judged

MOST = 6
# Claim, and how the statement reads; the first that a study has, up to `MOST` of them.
PICKED = (
    ("forgetting", r"^OOD accuracy falls from (?!each seed)"),
    ("rl", r"from the moderate start \(.*\) ends above its own start"),
    ("rl", r"from the moderate start \(.*\) ends above (?!its own start)"),
    ("rotation", r"^Directions of the largest .* than isotropic noise"),
    ("recovery", r"^The directions of the top 20 % of ranks bring back"),
    ("strength", r"^The higher .* ends on OOD$"),
    # Where a study lacks some of these:
    ("recovery", r"than plain interpolation"),
    ("forgetting", r"^ID accuracy on test problems"),
    ("rotation", r"^Singular values change no more"),
    ("forgetting", r"^OOD accuracy falls from each seed"),
    ("rotation", r"^Directions in the middle"),
    ("recovery", r"^The singular values alone"),
)
SAID = {
    "holds": "this holds",
    "fails": "this fails",
    "undecided": "this stays undecided",
    "described": "this is described, not judged",
}


class Counts(NamedTuple):
    """How many statements a study has, and how many of each verdict."""

    statements: int
    verdicts: dict[str, int]


def headlines(findings: pd.DataFrame) -> pd.DataFrame:
    """At most `MOST` rows of a table of findings, in its order."""
    chosen: list[int] = []
    for claim, pattern in PICKED:
        rows = findings[findings["claim"] == claim]
        found = rows.index[rows["statement"].map(lambda text, p=pattern: bool(re.search(p, text)))]
        chosen += [int(row) for row in found[:1]]
    return findings.loc[sorted(chosen[:MOST])]


def counts(findings: pd.DataFrame) -> Counts:
    """Statements by verdict, in the order of `SAID`; verdicts that none has are left out."""
    found = findings["verdict"].value_counts()
    return Counts(len(findings), {name: int(found[name]) for name in SAID if name in found})


def said(row: Mapping[Hashable, Any]) -> str:
    """`✔ this holds †`: how a sentence that begins with the statement goes on."""
    verdict: str = row["verdict"]
    return judged(row).replace(verdict, SAID[verdict])
