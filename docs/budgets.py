"""Write the budgets of the published studies into docs/cluster.md, between its two markers."""

from __future__ import annotations

from pathlib import Path

from scripts.budget import budget
from svdrift.study.overlays import read_config
from svdrift.study.settings import read_settings

ROOT = Path(__file__).parents[1]
STUDIES = ("llama-3.2-11b", "qwen-2.5-7b")
BEGIN, END = "<!-- budgets: written by `make docs` -->\n", "<!-- end of budgets -->\n"


def with_budgets(page: str) -> str:
    """The page with the budgets between its markers."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{budgets()}{END}{after}"


def budgets() -> str:
    """The budgets of all published studies; what they assume follows each."""
    sections = []
    for study in STUDIES:
        config = read_config(ROOT / "experiments" / f"{study}.yaml", ROOT / "config.yaml")
        sections.append(budget(read_settings(config), ROOT / "experiments" / "models"))
    return "\n\n".join(sections) + "\n"


def main() -> None:
    """Rewrite docs/cluster.md."""
    page = ROOT / "docs" / "cluster.md"
    page.write_text(with_budgets(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
