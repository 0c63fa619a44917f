"""The report says what its tables and the artefacts' provenance say."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from scripts import write_report
from svdrift import scripting
from svdrift.findings.finding import findings_table
from svdrift.scripting import write_table
from tests.findings.test_claims import MODERATE, all_findings

CAPTIONS = Path(__file__).parents[2] / "workflow" / "report"
FIGURES = {
    "accuracy_by_step": "3. Supervised fine-tuning",
    "rl_effect": "4. Reinforcement learning",
}
CLEAN, DIRTY = "a" * 40, "b" * 40 + "-dirty"


@pytest.fixture
def render(tmp_path, monkeypatch):
    """Write the report of a small study; returns the page's text."""

    def write(
        *,
        own: str | None = CLEAN,
        models: str | None = CLEAN,
        findings: pd.DataFrame | None = None,
        changed: tuple[tuple[str, object, object], ...] = (),
        reply: str = "1 2 3 4 : 24",
        seeds: tuple[int, ...] = (0,),
    ) -> str:
        monkeypatch.setattr(scripting, "_commit", lambda: own)
        folder = tmp_path / "study"
        for name in ("base", "sft-64"):
            hardware = {"cpu": "AMD EPYC", "cores": 2, "gpu": None}
            record = {
                "commit": models,
                "started": "2026-11-26T10:18:27+00:00",
                "hardware": hardware,
            }
            place = folder / "seed-0/models" / name / "provenance.json"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(record))
        for kind, log in (("train/sft", ""), ("train/base", "reused from results/.store/x\n")):
            for suffix, text, top in ((".tsv", "s\n61.0\n", "benchmarks"), (".log", log, "logs")):
                path = (folder / top / "seed-0" / kind).with_suffix(suffix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        table = findings_table(all_findings(1)) if findings is None else findings
        table.to_csv(tmp_path / "findings.csv", index=False)
        row = {"kind": "forgot", "count": 3, "n": 10, "split": "ood_test", "problem": "ood-1"}
        row |= {"prompt": "cards 1 2 3 4", "gold": "1 * 2 * 3 * 4", "reply": reply}
        replies = [
            row | {"checkpoint": "sft-8", "solved": True, "fault": "none"},
            row | {"checkpoint": MODERATE.last, "solved": False, "fault": "wrong_value"},
        ]
        write_table(pd.DataFrame(replies), tmp_path / "replies.parquet")
        (tmp_path / "summary.csv").write_text("split,problems\nid_test,100\n")
        for name in FIGURES:
            Image.new("RGB", (2100, 900), "white").save(tmp_path / f"{name}.png")
        out = tmp_path / "report.html"
        arguments = {
            "--page": [CAPTIONS / "page.html.jinja"],
            "--findings": [tmp_path / "findings.csv"],
            "--replies": [tmp_path / "replies.parquet"],
            "--problems": [tmp_path / "summary.csv"],
            "--figures": [tmp_path / f"{name}.png" for name in FIGURES],
            "--captions": [CAPTIONS / f"{name}.rst" for name in ("problems", *FIGURES)],
            "--chapters": [json.dumps(FIGURES)],
            "--story": [MODERATE.model_dump_json()],
            "--study": ["small"],
            "--seeds": seeds,
            "--made-of": ["A small study."],
            "--changed": [json.dumps(changed)],
            "--links": ["tables/findings.csv=every statement"],
            "--folder": [folder],
            "--out": [out],
        }
        line = [str(word) for flag, values in arguments.items() for word in (flag, *values)]
        monkeypatch.setattr(sys, "argv", ["write_report.py", *line])
        write_report.main()
        return out.read_text()

    return write


@pytest.mark.parametrize(
    ("own", "models", "shouted"),
    [
        (CLEAN, CLEAN, []),
        (None, CLEAN, []),
        (DIRTY, CLEAN, ["this page made by"]),
        (CLEAN, DIRTY, ["2 models made by"]),
        (DIRTY, DIRTY, ["this page made by", "2 models made by"]),
    ],
)
def test_uncommitted_changes_are_shouted(render, own, models, shouted):
    text = render(own=own, models=models)
    assert ("UNCOMMITTED CHANGES" in text) == bool(shouted)
    for what in shouted:
        assert what in text
    assert (DIRTY in text) == bool(shouted)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("holds", "✔ this holds"), ("fails", "✘ this fails"), ("undecided", "? this stays undecided")],
)
def test_the_sentences_follow_the_table(render, verdict, said):
    table = findings_table(all_findings(1)).assign(verdict=verdict, verdict_holm=verdict)
    text = render(findings=table)
    assert text.count(said) == 6
    assert f"{verdict}: {len(table)}" in text


def test_what_differs_from_the_default_is_told(render):
    assert "as it stands" in render()
    text = render(changed=(("stages.sft.steps", 16, 256), ("stages.wide", None, "sft")))
    assert re.search(r"stages\.sft\.steps</code></td>.*>16<.*\n.*>256<", text)
    assert ">–<" in text
    assert "as it stands" not in text


def test_costs_leave_out_what_the_store_had(render):
    text = render()
    assert "1 min 01 s" in text
    assert "1 (1 from the store)" in text
    assert "from the store (1 of the jobs) cost no time here" in text


def test_replies_are_text_and_not_markup(render):
    text = render(reply="<b>24</b>")
    assert "&lt;b&gt;24&lt;/b&gt;" in text
    assert "<b>24</b>" not in text


def test_one_seed_is_not_said_to_speak_for_others(render):
    assert "not new seeds" in render()
    assert "cover new seeds, too" in render(seeds=(0, 1, 2))


def test_a_wide_figure_scrolls_and_one_of_a_column_fits(render, tmp_path):
    text = render()
    assert text.count("--inches: 7.0") == 2
    assert 'class="column"' not in text
