"""The page about a related paper: claim by claim, what holds on this bench."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from svdrift.findings.page import VERDICTS, counted, estimate, how_to_read, judged
from svdrift.findings.paper import Paper

DECIDES, LIMITS = "**What decides.** ", "**What this bench can and cannot say.** "
COLUMNS = ["Statement", "Verdict", "Estimate [95 %]", "Each seed", "Published"]


def page(
    paper: Paper,
    findings: pd.DataFrame,
    made_of: str,
    costs: Mapping[str, Mapping[str, int]],
    accuracies: Mapping[str, Mapping[str, float]],
) -> str:
    """Markdown, which stands beside `findings.csv`, `statements.png` and the paper's own figures.

    Args:
        paper: its record.
        findings: of `read_findings`.
        made_of: the study's seeds and settings, in words.
        costs: of each arm, `samples` read, `episodes` played and `replies` sampled for its data.
        accuracies: of each arm the share of problems that it solves, by place; empty where the
            study does not measure it.
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
    lines += ["", f"{DECIDES}{paper.control}", ""]
    lines += [f"{LIMITS}{paper.limits}", "", how_to_read(findings), ""]
    lines += ["![Statements with their estimates](statements.png)", ""]
    for figure in paper.figures:
        lines += [f"![{figure.replace('_', ' ').capitalize()}]({figure}.png)", ""]
    if costs:
        lines += ["## The arms", "", *_arms(paper, costs, accuracies), ""]
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


def _arms(
    paper: Paper,
    costs: Mapping[str, Mapping[str, int]],
    accuracies: Mapping[str, Mapping[str, float]],
) -> list[str]:
    """A table: what each arm solves, and what led to it."""
    places = list(next(iter(accuracies.values()), {}))
    head = ["Arm", *(f"Solves, {place}" for place in places)]
    head += ["Samples read", "Episodes played", "Replies for its data"]
    rows = [
        [
            paper.arms[arm],
            *(_share(accuracies[arm][place]) for place in places),
            *(f"{cost[what]:,}" for what in ("samples", "episodes", "replies")),
        ]
        for arm, cost in costs.items()
    ]
    told = (
        "What led to each since the base, per seed: all training and sampling on its way, also of "
        "checkpoints that made or chose its data, each once; where a stage ends early or data is "
        "filtered, the most that it may be."
    )
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return [told, "", *lines]


def _share(accuracy: float) -> str:
    return "–" if math.isnan(accuracy) else f"{accuracy:.1%}"
