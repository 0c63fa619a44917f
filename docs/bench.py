"""Write docs/bench.md: paper by paper and claim by claim, from the findings in the gallery."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from docs.related import COST, GALLERY
from svdrift.findings.finding import read_findings
from svdrift.findings.making import clock
from svdrift.findings.page import estimate, judged
from svdrift.findings.paper import Paper, paper
from svdrift.findings.paper_page import DECIDES, LIMITS
from svdrift.study.overlays import read_yaml

DOCS = Path(__file__).parent
PAGE = DOCS / "bench.md"
OVERLAYS = DOCS.parent / "experiments" / "related"
BEGIN, END = "<!-- bench: written by `make docs` -->\n", "<!-- end of bench -->\n"
MARKS = {"holds": "✔ ", "fails": "✘ ", "undecided": "? ", "mixed": "± ", "described": "– "}
JUDGED = ("holds", "fails", "undecided")


def overall(verdicts: pd.Series[str]) -> str:
    """A claim's verdict: that of all its judged statements, or that they differ.

    Args:
        verdicts: which allow for the number of statements on the page (`verdict_holm`).
    """
    judged = verdicts[verdicts != "described"]
    found = set(judged)
    if len(found) == 1:
        return found.pop()
    if not found:
        return "described"
    if {"holds", "fails"} <= found:
        return "mixed"
    (decided,) = found - {"undecided"}
    return f"{decided} in part, {(judged == decided).sum()} of {len(judged)}"


def marked(verdict: str) -> str:
    """With its sign."""
    return MARKS[verdict.split()[0]] + verdict


def judgements(record: Paper, findings: pd.DataFrame) -> dict[str, str]:
    """The verdict of each claim that the study measured, by the claim's key."""
    rows = {claim: findings[findings["claim"] == claim] for claim in record.claims}
    return {claim: overall(of["verdict_holm"]) for claim, of in rows.items() if not of.empty}


def tables(gallery: Path = GALLERY) -> str:
    """An overview, and a section for each paper whose findings lie in the gallery."""
    papers = {
        folder.parent.name: (
            paper(folder.parent.name.replace("-", "_")),
            read_findings(folder),
        )
        for folder in sorted(gallery.glob("*/findings.csv"))
    }
    lines = ["| paper | claims on this bench |", "| --- | --- |"]
    for record, findings in papers.values():
        verdicts = [one.split(",")[0] for one in judgements(record, findings).values()]
        counts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
        lines.append(f"| [{record.title}](#{anchor(record)}) | {counts} |")
    lines.append("")
    for name, (record, findings) in papers.items():
        lines += section(name, record, findings, gallery)
    return "\n".join([*lines, *waiting(set(papers))])


def anchor(record: Paper) -> str:
    """Of a paper's section, as GitHub and MkDocs make it from the title."""
    return re.sub(r"[^\w -]", "", record.title.lower()).replace(" ", "-")


def section(name: str, record: Paper, findings: pd.DataFrame, gallery: Path) -> Iterator[str]:
    """A paper: what it cost, what decides, and one row a claim."""
    yield f"## {record.title}"
    yield ""
    page = f"gallery/related/{name}/README.md"
    yield f"{record.links}; [all statements, figures and numbers]({page})"
    yield ""
    page_text = (gallery / name / "README.md").read_text(encoding="utf-8")
    yield f"- *What decides.* {line(page_text, DECIDES)}"
    yield f"- *Limits.* {line(page_text, LIMITS)}"
    if (gallery / name / COST).exists():
        yield f"- *Cost.* {spent(gallery / name / COST)}"
    yield ""
    yield "| claim | on this bench | statements: hold, fail, undecided, described | such as |"
    yield "| --- | --- | --- | --- |"
    for claim, verdict in judgements(record, findings).items():
        rows = findings[findings["claim"] == claim]
        counts = ", ".join(
            str(int((rows["verdict"] == word).sum())) for word in (*JUDGED, "described")
        )
        told = example(rows)
        yield (
            f"| {record.claims[claim]} | **{marked(verdict)}** | {counts} | {told['statement']}: "
            f"{estimate(told)}, {judged(told)}; published: {told['published']} |"
        )
    yield ""


def line(page: str, begins: str) -> str:
    """What follows a beginning on its line of a page, which tells what its study was."""
    return page.split(begins)[1].split("\n")[0]


def example(rows: pd.DataFrame) -> dict[Hashable, Any]:
    """The first statement that is decided whatever the number of them, else the first judged."""
    decided = rows[rows["verdict_holm"].isin(["holds", "fails"])]
    judged = rows[rows["verdict"] != "described"]
    first = next(one for one in (decided, judged, rows) if not one.empty)
    return first.to_dict("records")[0]


def spent(path: Path) -> str:
    """What a study took, in words."""
    cost = json.loads(path.read_text(encoding="utf-8"))
    return (
        f"{cost['seeds']} seeds; {cost['jobs'] - cost['reused']} jobs took "
        f"{clock(cost['seconds'])} by the clock, added up, and {cost['reused']} were served by "
        "what other studies had computed."
    )


def waiting(shown: set[str]) -> Iterator[str]:
    """The papers whose overlay was not run in full yet.

    Args:
        shown: names of papers that have a page.
    """
    overlays = {
        name.replace("_", "-"): overlay.name
        for overlay in sorted(OVERLAYS.glob("*.yaml"))
        for name in read_yaml(overlay)["papers"]
    }
    left = {name: overlay for name, overlay in overlays.items() if name not in shown}
    if not left:
        return
    yield "## Not run yet"
    yield ""
    yield "With statements and an overlay in `experiments/related/`, and not run with all seeds:"
    yield ""
    for name, overlay in left.items():
        record = paper(name.replace("-", "_"))
        yield f"- {record.title} ({record.links}): `{overlay}`"
    yield ""


def with_tables(page: str, tables: str) -> str:
    """The page with the tables between its markers."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{tables}{END}{after}"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")


if __name__ == "__main__":
    main()
