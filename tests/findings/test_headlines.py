"""The six sentences are picked from the table of findings and say what stands there."""

from pathlib import Path

import pytest

from svdrift.findings.finding import findings_table, read_findings
from svdrift.findings.headlines import MOST, PICKED, counts, headlines, said
from tests.findings.test_claims import all_findings

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_whole_study_has_six_of_all_claims(seeds):
    table = findings_table(all_findings(seeds))
    chosen = headlines(table)
    assert len(chosen) == MOST
    assert set(chosen["claim"]) == set(table["claim"])
    assert list(chosen.index) == sorted(chosen.index)
    assert chosen["statement"].str.contains("moderate start").sum() == 2


def test_every_pattern_fits_a_statement_of_the_five_seeds():
    table = read_findings(GALLERY / "seeds/findings.csv")
    found = [
        table[(table["claim"] == claim) & table["statement"].str.contains(pattern)]
        for claim, pattern in PICKED
    ]
    # Where the peak is named in advance no seed has its own, or the other way about.
    assert [len(rows) > 0 for rows in found].count(False) <= 1


@pytest.mark.parametrize("claims", [["forgetting"], ["forgetting", "rotation"], ["recovery"], []])
def test_a_part_of_a_study_has_what_it_has(claims):
    table = findings_table(all_findings(3))
    table = table[table["claim"].isin(claims)]
    chosen = headlines(table)
    assert set(chosen["claim"]) == set(claims)
    assert len(chosen) <= min(MOST, len(table))


@pytest.mark.parametrize(
    ("verdict", "holm", "expected"),
    [
        ("holds", "holds", "✔ this holds"),
        ("holds", "undecided", "✔ this holds †"),
        ("fails", "fails", "✘ this fails"),
        ("undecided", "undecided", "? this stays undecided"),
        ("described", "described", "– this is described, not judged"),
    ],
)
def test_a_sentence_says_the_verdict_of_the_table(verdict, holm, expected):
    assert said({"verdict": verdict, "verdict_holm": holm}) == expected


def test_counts_leave_out_verdicts_that_none_has():
    table = findings_table(all_findings(3)).assign(verdict="fails")
    assert counts(table) == (len(table), {"fails": len(table)})
