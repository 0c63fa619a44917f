"""Write docs/gallery/tasks.md: the claims of the paper side by side over tasks."""

from __future__ import annotations

from docs.readme_findings import GALLERY, with_findings
from svdrift.findings.across import lines, side_by_side
from svdrift.findings.finding import read_findings

PAGE = GALLERY / "tasks.md"
STUDIES = {"the card game": "seeds", "navigation": "navigation", "determinant": "determinant"}
"""Folders of the gallery by task."""
CHECKPOINTS = {r" \(sft-\d+\)": "", r"sft-\d+, named": "the checkpoint named"}
"""Names that statements give to a study's own checkpoints, by what stands for them in all."""


def table() -> str:
    """The statements of each task's study, and whether they keep their sign."""
    found = {}
    for task, study in STUDIES.items():
        own = read_findings(GALLERY / study / "findings.csv")
        own["statement"] = own["statement"].replace(CHECKPOINTS, regex=True)
        if own["statement"].duplicated().any():
            raise RuntimeError(f"{study}: two statements differ only by the name of a checkpoint")
        found[task] = own
    return "\n".join(lines(side_by_side(found), list(found), "task")) + "\n"


def main() -> None:
    """Rewrite the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_findings(page, table()), encoding="utf-8")


if __name__ == "__main__":
    main()
