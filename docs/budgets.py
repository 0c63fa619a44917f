"""Put the budgets of the published studies into docs/cluster.md, between its two markers."""

from __future__ import annotations

from pathlib import Path

import yaml

from scripts.budget import budget
from svdrift.settings.study import read_settings

ROOT = Path(__file__).parents[1]
STUDIES = ("llama-3.2-11b", "qwen-2.5-7b")
BEGIN, END = "<!-- budgets: written by `make docs` -->\n", "<!-- end of budgets -->\n"


def with_budgets(page: str) -> str:
    """The page with what stands between the markers replaced by the budgets."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{budgets()}{END}{after}"


def budgets() -> str:
    """The budgets of all published studies; what they assume follows each."""
    sections = []
    for study in STUDIES:
        config = yaml.safe_load((ROOT / "experiments" / f"{study}.yaml").read_text())
        sections.append(budget(read_settings(config), ROOT / "experiments" / "models"))
    return "\n\n".join(sections) + "\n"


def main() -> None:
    """Rewrite docs/cluster.md."""
    page = ROOT / "docs" / "cluster.md"
    page.write_text(with_budgets(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
