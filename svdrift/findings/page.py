"""The table of findings for people: how estimates and verdicts read, and Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pandas as pd

from svdrift.findings.claims import CLAIMS
from svdrift.findings.finding import FINE, LEVEL

PAPER = {  # number of the claim in the papers that each chapter tests
    "forgetting": 1,
    "rl": 1,
    "rotation": 2,
    "recovery": 3,
    "strength": 4,
}
VERDICTS = {
    "holds": "✔ holds",
    "fails": "✘ fails",
    "undecided": "? undecided",
    "described": "– described",
}
ALONE = " †"  # of a verdict that does not allow for the number of statements
UNITS = {
    "points": " points",
    "% of the loss": " % of the loss",
    "%": " %",
    "degrees": "°",
    "rank correlation": "",
    "R²": "",
    "nats": " nats",
    "bits": " bits",
    "reward": "",
    "": "",
}
NOTHING = {  # why there may be no estimate
    "points": "nothing to compare",
    "% of the loss": "nothing was clearly lost",
    "%": "nothing changed",
    "degrees": "nothing turned",
    "rank correlation": "in a seed, all checkpoints stand alike",
    "R²": "nothing to compare",
    "nats": "nothing to compare",
    "bits": "nothing to compare",
    "reward": "nothing to compare",
    "": "nothing to compare",
}
COLUMNS = ["Statement", "Verdict", "Estimate [95 %]", "Each seed", "Published", "Look at"]


def how_to_read(findings: pd.DataFrame) -> str:
    """What the verdicts on a page mean, and how many of them chance alone would decide."""
    count = int((findings["verdict"] != "described").sum())
    by_chance = count * LEVEL
    about = f"{by_chance:.{0 if by_chance >= 1 else 1}f}"
    return (
        "A statement holds if all of the 95 % interval lies on its side of the bound, fails if all "
        "of it lies on the other side, and is undecided otherwise, which is no evidence that there "
        "is nothing. What has no sampling width, is true by construction or stands beside the "
        "claim is described and not judged. Each interval stands for itself: were nothing true, "
        f"chance alone would decide about {about} of the {count} judged statements. "
        f"{ALONE.strip()} marks a verdict that Holm's correction for all of them leaves undecided."
    )


def estimate(row: Mapping[Hashable, Any]) -> str:
    """`+3.2 points [1.0, 5.4]`, and that there is none where nothing could be estimated."""
    if pd.isna(row["estimate"]):
        return f"none: {NOTHING[row['unit']]}"
    signed = "" if row["unit"] in ("%", "% of the loss") else "+"
    digits = 2 if row["unit"] in FINE else 1
    number = _round(row["estimate"], digits, signed) + UNITS[row["unit"]]
    if pd.isna(row["low"]):
        return f"{number} (of this model)"
    ends = (_end(row[end], row["bound"], digits) for end in ("low", "high"))
    return f"{number} [{', '.join(ends)}]"


def judged(row: Mapping[Hashable, Any]) -> str:
    """The verdict, with a mark where it does not allow for the number of statements."""
    alone = ALONE if row["verdict_holm"] != row["verdict"] else ""
    return VERDICTS[row["verdict"]] + alone


def counted(row: Mapping[Hashable, Any]) -> str:
    """`5,000 problems in 320 groups`."""
    groups = "" if pd.isna(row["groups"]) else f" in {row['groups']:,.0f} groups"
    return f"{row['n']:,} {row['counted']}{groups}"


def _end(value: float, bound: float, digits: int) -> str:
    """An end of an interval, with one digit more where it would seem to lie on the bound."""
    return _round(value, digits + (value != bound and round(value, digits) == round(bound, digits)))


def _round(value: float, digits: int, sign: str = "") -> str:
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # + 0.0: no minus before a zero


def summary(findings: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: its number here and in the papers, the claim, and how many of each verdict.

    Columns `number`, `claim`, `paper`, `text`, and one per verdict. Claims without findings stay.
    """
    counts = findings.groupby("claim")["verdict"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(index=list(CLAIMS), columns=list(VERDICTS), fill_value=0)
    return counts.reset_index().assign(
        number=range(1, len(CLAIMS) + 1),
        paper=[PAPER[claim] for claim in CLAIMS],
        text=list(CLAIMS.values()),
    )


def markdown(findings: pd.DataFrame, link: Callable[[str], str]) -> str:
    """Summary and one table per claim.

    Args:
        findings: rows of `findings_table`.
        link: where, seen from the page, a file of the study lies.
    """
    lines = [
        f"| | Claim | in the papers | {' | '.join(VERDICTS)} |",
        "| --- | --- | --- |" + " --- |" * len(VERDICTS),
    ]
    for row in summary(findings).to_dict("records"):
        lines.append(
            f"| {row['number']} | {row['text']} | claim {row['paper']} | "
            f"{' | '.join(str(row[verdict]) for verdict in VERDICTS)} |"
        )
    lines += ["", how_to_read(findings)]
    for number, (claim, text) in enumerate(CLAIMS.items(), start=1):
        lines += ["", f"### {number}. {text}", ""]
        rows = findings[findings["claim"] == claim]
        if rows.empty:
            lines.append("Not measured in this study.")
            continue
        lines += [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
        for row in rows.to_dict("records"):
            figure, table = (f"[{kind}]({link(row[kind])})" for kind in ("figure", "table"))
            cells = [
                row["statement"],
                f"**{judged(row)}**",
                _estimate(row),
                row["each"],
                row["published"],
                f"{figure}, {table}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def compact(findings: pd.DataFrame) -> str:
    """One Markdown table of all statements, for a README."""
    lines = ["| Statement | Verdict | Estimate [95 %] | Published |", "| --- | --- | --- | --- |"]
    for number, (claim, text) in enumerate(CLAIMS.items(), start=1):
        lines.append(f"| **{number}. {text}** (claim {PAPER[claim]} of the papers) | | | |")
        for row in findings[findings["claim"] == claim].to_dict("records"):
            cells = [row["statement"], judged(row), _estimate(row), row["published"]]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _estimate(row: Mapping[Hashable, Any]) -> str:
    return estimate(row) + (f"<br>{row['detail']}" if row["detail"] else "")
