"""Documents agree with what they are written from, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from docs import bench, tasks
from docs.budgets import with_budgets
from docs.readme_findings import PAGE, table, with_findings
from docs.rule_graph import pass_over, read, reduce

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_gallery_has_the_findings_of_the_study() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_findings(page, table()) == page, "run: make docs"
    assert table().count("\n| ") > 20


def test_the_page_of_tasks_has_the_findings_of_their_studies() -> None:
    page = tasks.PAGE.read_text(encoding="utf-8")
    assert with_findings(page, tasks.table()) == page, "run: make docs"
    assert "| yes |" in tasks.table()


def test_the_bench_has_the_findings_of_the_gallery() -> None:
    page = bench.PAGE.read_text(encoding="utf-8")
    assert bench.with_tables(page, bench.tables()) == page, "run: make docs"
    assert bench.tables().count("\n## ") >= 5


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["holds", "holds", "described"], "holds"),
        (["fails"], "fails"),
        (["undecided"] * 2, "undecided"),
        (["holds", "undecided", "holds"], "holds in part, 2 of 3"),
        (["fails", "undecided"], "fails in part, 1 of 2"),
        (["holds", "fails", "undecided"], "mixed"),
        (["described"], "described"),
    ],
)
def test_a_claim_has_the_verdict_of_its_statements(verdicts, said) -> None:
    assert bench.overall(pd.Series(verdicts)) == said


def test_a_claim_shows_a_statement_that_is_decided_before_others() -> None:
    rows = pd.DataFrame(
        [("a", "described", "described"), ("b", "holds", "undecided"), ("c", "holds", "holds")],
        columns=["statement", "verdict", "verdict_holm"],
    )
    shown = [bench.example(rows[:n])["statement"] for n in (3, 2, 1)]
    assert shown == ["c", "b", "a"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_the_cluster_guide_has_the_budgets_of_the_studies() -> None:
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert with_budgets(page) == page, "run: make docs"
    assert page.count("| **one seed** |") == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


def test_the_rule_graph_keeps_paths_and_drops_detours() -> None:
    text = "id0[a]\nid1[collect_b]\nid2[c]\nid3[plot_d]\n" + "".join(
        f"id{a} --> id{b}\n" for a, b in ((0, 0), (0, 1), (1, 2), (0, 2), (2, 3), (0, 3))
    )
    edges = pass_over(read(text), "collect_b")
    assert edges == {("a", "c"), ("c", "plot_figures"), ("a", "plot_figures")}
    assert reduce(edges) == [("a", "c"), ("c", "plot_figures")]
