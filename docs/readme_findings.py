"""Write the findings of the five-seed study into docs/gallery/findings.md, between its markers."""

from __future__ import annotations

from pathlib import Path

from svdrift.findings.finding import read_findings
from svdrift.findings.page import compact

GALLERY = Path(__file__).parent / "gallery"
PAGE = GALLERY / "findings.md"
BEGIN, END = "<!-- findings: written by `make docs` -->\n", "<!-- end of findings -->\n"


def table() -> str:
    """The findings of the five-seed study as one Markdown table."""
    return compact(read_findings(GALLERY / "seeds/findings.csv"))


def with_findings(page: str, table: str) -> str:
    """The page with the table between its markers."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{table}{END}{after}"


def main() -> None:
    """Rewrite the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_findings(page, table()), encoding="utf-8")


if __name__ == "__main__":
    main()
