"""Put the findings of the five-seed study into README.md, between its two markers."""

from __future__ import annotations

from pathlib import Path

from svdrift.findings.finding import read_findings
from svdrift.findings.page import compact

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- findings: written by `make docs` -->\n", "<!-- end of findings -->\n"


def with_findings(readme: str, table: str) -> str:
    """The text with what stands between the markers replaced by the table."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{table}{END}{after}"


def main() -> None:
    """Rewrite README.md."""
    table = compact(read_findings(ROOT / "docs/gallery/seeds/findings.csv"))
    readme = ROOT / "README.md"
    readme.write_text(with_findings(readme.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main()
