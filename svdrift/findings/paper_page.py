"""The page about a related paper: claim by claim, what holds on this bench."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.findings.page import HOW_TO_READ, VERDICTS, counted, estimate, judged
from svdrift.findings.paper import Paper

COLUMNS = ["Statement", "Verdict", "Estimate [95 %]", "Each seed", "Published"]


def page(
    paper: Paper,
    findings: pd.DataFrame,
    made_of: str,
    costs: Mapping[str, Mapping[str, int]],
) -> str:
    """Markdown, which stands beside `findings.csv`, `statements.png` and the paper's own figures.

    Args:
        paper: its record.
        findings: of `read_findings`.
        made_of: the study's seeds and settings, in words.
        costs: of each arm, the `samples` that its training read and the `episodes` that it played.
    """
    lines = [
        f"# {paper.title}",
        "",
        f"{paper.links + ', h' if paper.links else 'H'}eld against a study: {made_of}",
        "",
        f"| Claim | {' | '.join(VERDICTS)} |",
        "| --- |" + " --- |" * len(VERDICTS),
    ]
    for claim, text in paper.claims.items():
        of = findings.loc[findings["claim"] == claim, "verdict"]
        lines.append(f"| {text} | {' | '.join(str((of == name).sum()) for name in VERDICTS)} |")
    lines += ["", f"**What decides.** {paper.control}", ""]
    lines += [f"**What this bench can and cannot say.** {paper.limits}", "", HOW_TO_READ, ""]
    lines += ["![Statements with their estimates](statements.png)", ""]
    for figure in paper.figures:
        lines += [f"![{figure.replace('_', ' ').capitalize()}]({figure}.png)", ""]
    if costs:
        most = "where a stage ends early, the most that it may take"
        lines += ["## What the arms cost", "", f"Training since the base, a seed; {most}.", ""]
        lines += ["| Arm | Samples read | Episodes played |", "| --- | --- | --- |"]
        for arm, cost in costs.items():
            told = paper.arms[arm]
            lines.append(f"| {told} | {cost['samples']:,} | {cost['episodes']:,} |")
        lines.append("")
    for claim, text in paper.claims.items():
        rows = findings[findings["claim"] == claim]
        lines += [f"## {text}", ""]
        if rows.empty:
            lines += ["Not measured in this study.", ""]
            continue
        lines += [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
        for row in rows.to_dict("records"):
            detail = f"<br>{row['detail']}" if row["detail"] else ""
            cells = [
                row["statement"],
                f"**{judged(row)}**",
                f"{estimate(row)}<br>{counted(row)}{detail}",
                row["each"],
                row["published"],
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)
