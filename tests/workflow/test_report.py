"""The report as a reader meets it: in a real browser, offline, on a desk and on a phone."""

from __future__ import annotations

import os
import re

import pandas as pd
import pytest
from selenium.webdriver.common.by import By

from scripts import write_gallery
from svdrift.findings.claims import CLAIMS
from svdrift.findings.finding import read_findings
from svdrift.findings.headlines import headlines, said
from tests.workflow.browser import BROWSER, DRIVER, browser, complaints, open_page

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.smoke,
    pytest.mark.skipif(
        not (BROWSER and DRIVER) and not os.environ.get("CI"),
        reason="needs chromium and chromedriver (apt-get install chromium chromium-driver)",
    ),
]


@pytest.fixture(params=[1280, 390])
def page(request, smoke, tmp_path):
    """The report, carried to an empty folder and opened there, so that it has nothing beside it."""
    (tmp_path / "report.html").write_bytes((smoke / "report.html").read_bytes())
    with browser(request.param) as driver:
        open_page(driver, tmp_path / "report.html")
        yield driver


def texts(driver, selector: str) -> list[str]:
    return [found.text for found in driver.find_elements(By.CSS_SELECTOR, selector)]


def test_it_opens_on_what_came_out(smoke, page):
    findings = read_findings(smoke / "tables/findings.csv")
    chosen = headlines(findings).to_dict("records")
    sentences = texts(page, "#what-came-out li")
    assert len(sentences) == len(chosen) > 2
    for sentence, row in zip(sentences, chosen, strict=True):
        assert sentence.startswith(f"{row['statement']}: {said(row)}")
    first = page.find_element(By.CSS_SELECTOR, "#what-came-out li")
    assert first.location["y"] < 900


def test_it_fits_and_can_be_read(page):
    width = page.execute_script("return window.innerWidth")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    sizes = page.execute_script(
        "return [...document.querySelectorAll('p,li,td,dd,pre,small,code')].map("
        "one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 12  # CSS pixels
    assert complaints(page) == []


def test_every_figure_is_there_in_the_order_of_the_story(smoke, page):
    drawn = {path.stem for path in (smoke / "figures").glob("*.png")}
    shown = page.execute_script(
        "return [...document.querySelectorAll('figure')].map(one => {"
        " const image = one.querySelector('img');"
        " return [one.id, image.naturalWidth, image.clientWidth,"
        " one.querySelector('figcaption').innerText]})"
    )
    assert {name for name, *_ in shown} == drawn
    order = [name for name, *_ in shown]
    assert order.index("accuracy_by_step") < order.index("rl_effect")
    assert order.index("rl_effect") < order.index("rotation_by_rank")
    assert order.index("rotation_by_rank") < order.index("recovery_effect")
    for name, pixels, width, caption in shown:
        assert pixels >= 1000, name  # it was read from the page itself
        assert width / pixels >= 105 / 300 - 0.01, f"{name}: its letters are too small"
        assert len(caption) > 80, name


def test_the_contents_lead_everywhere(page):
    targets = page.execute_script(
        "return [...document.querySelectorAll('a[href^=\"#\"]')].map("
        "one => [one.getAttribute('href'), !!document.querySelector(one.getAttribute('href'))])"
    )
    assert len(targets) > 40
    assert [name for name, there in targets if not there] == []
    headings = texts(page, "h2")
    assert headings == texts(page, "nav > ol > li > a")
    assert headings[0] == "What came out"


def test_statements_keep_their_verdicts(smoke, page):
    findings = read_findings(smoke / "tables/findings.csv")
    rows = texts(page, ".cards tbody tr")
    for statement, verdict in zip(findings["statement"], findings["verdict"], strict=True):
        (row,) = [text for text in rows if text.startswith(statement)]
        assert verdict in row


def test_samples_are_of_the_table(smoke, page):
    replies = pd.read_parquet(smoke / "tables/replies.parquet")
    assert "wrong" in set(replies["kind"])
    for kind, rows in replies.groupby("kind"):
        shown = page.find_element(By.ID, f"reply-{kind}").text
        for reply in rows["reply"]:
            assert (reply or "(nothing)") in shown
        assert rows["prompt"].iloc[0] in shown


def test_it_says_how_it_was_made(smoke, page):
    text = page.find_element(By.TAG_NAME, "body").text
    for wanted in ("Commit of this page", "Machine of the models", "2 cores", "UTC", "train ppo"):
        assert wanted in text
    assert "stages.ppo.updates" in text  # which the smoke study changes


def test_links_lead_to_files_beside_it(smoke):
    text = (smoke / "report.html").read_text()
    links = {
        link for link in re.findall(r'href="([^"]+)"', text) if not link.startswith(("#", "data:"))
    }
    assert len(links) > 60
    assert [link for link in links if not (smoke / link).exists()] == []
    assert not re.search(r'src="(?!data:)', text)


def test_uncommitted_changes_are_shouted(smoke, page):
    """The smoke study is made in a copy without git; a clone with edits says otherwise."""
    own = pd.read_json(smoke / "report.provenance.json", typ="series")
    alarms = texts(page, ".alarm")
    assert bool(alarms) == str(own["commit"]).endswith("-dirty")


def test_snakemakes_own_report_can_stand_beside_it(smoke, snakemake, tmp_path):
    made = tmp_path / "snakemake-report.html"
    done = snakemake("--configfile", "experiments/smoke.yaml", "--report", str(made))
    assert done.returncode == 0, done.stderr[-2000:]
    text = made.read_text()
    for figure in (smoke / "figures").glob("*.png"):
        assert figure.name in text


def test_the_gallery_stands_alone(smoke, snakemake):
    done = snakemake("--cores", "1", "--configfile", "experiments/smoke.yaml", "--", "gallery")
    assert done.returncode == 0, done.stderr[-2000:]
    folder = smoke / "gallery"
    text = (folder / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 40
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("## ")]
    for link in links:
        if link.startswith("#"):
            assert link[1:] in map(write_gallery.anchor, headings), link
        else:
            assert (folder / link).is_file(), link
    for claim in CLAIMS.values():
        assert claim in text
    assert "{{" not in text
    assert text.count("Study smoke, seed 0") == 1
