"""Write docs/bench.md: paper by paper and claim by claim, from the findings in the gallery."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from svdrift.findings.finding import read_findings
from svdrift.findings.page import estimate, judged
from svdrift.findings.paper import paper

DOCS = Path(__file__).parent
PAGE, GALLERY = DOCS / "bench.md", DOCS / "gallery/related"
BEGIN, END = "<!-- bench: written by `make docs` -->\n", "<!-- end of bench -->\n"
WORDS = {"holds": "✔ holds", "fails": "✘ fails", "undecided": "? undecided"}


def overall(verdicts: pd.Series[str]) -> str:
    """A claim's verdict: that of all its judged statements, or that they differ.

    Args:
        verdicts: which allow for the number of statements on the page (`verdict_holm`).
    """
    found = set(verdicts) - {"described"}
    if len(found) == 1:
        return WORDS[found.pop()]
    if found <= {"holds", "undecided"} and found:
        return "✔ holds in part"
    if found <= {"fails", "undecided"} and found:
        return "✘ fails in part"
    return "± mixed" if found else "– described"


def table(gallery: Path = GALLERY) -> str:
    """One row a claim of each paper whose findings lie in the gallery."""
    lines = [
        "| paper | claim | on this bench | statements: hold, fail, undecided | the first of them |",
        "| --- | --- | --- | --- | --- |",
    ]
    for folder in sorted(gallery.glob("*/findings.csv")):
        name = folder.parent.name
        record, findings = paper(name.replace("-", "_")), read_findings(folder)
        for claim, text in record.claims.items():
            rows = findings[findings["claim"] == claim]
            if rows.empty:
                continue
            counts = [int((rows["verdict"] == word).sum()) for word in WORDS]
            first = rows.iloc[0].to_dict()
            lines.append(
                f"| [{record.title}](gallery/related/{name}/README.md) (arXiv {record.arxiv}) "
                f"| {text} | **{overall(rows['verdict_holm'])}** | {', '.join(map(str, counts))} "
                f"| {first['statement']}: {estimate(first)}, {judged(first)}; published: "
                f"{first['published']} |"
            )
    return "\n".join(lines) + "\n"


def with_table(page: str, table: str) -> str:
    """The page with the table between its markers."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{table}{END}{after}"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")


if __name__ == "__main__":
    main()
