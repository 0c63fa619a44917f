"""The report as a reader meets it: in a real browser, offline, on a desk and on a phone."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from scripts.write_report import anchor
from svdrift.findings.claims import CLAIMS
from tests.workflow.browser import BROWSER, DRIVER, browser, complaints, open_page

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.smoke,
    pytest.mark.skipif(
        not (BROWSER and DRIVER) and not os.environ.get("CI"),
        reason="needs chromium and chromedriver (apt-get install chromium chromium-driver)",
    ),
]
WIDTHS = pytest.mark.parametrize("width", [1280, 390])


@pytest.fixture(scope="module")
def report(smoke, snakemake, tmp_path_factory) -> Path:
    page = tmp_path_factory.mktemp("report") / "report.html"
    made = snakemake("--configfile", "experiments/smoke.yaml", "--report", str(page))
    assert made.returncode == 0, made.stderr[-2000:]
    return page


@WIDTHS
def test_the_findings_can_be_read(smoke, width):
    findings = pd.read_csv(smoke / "tables/findings.csv")
    with browser(width) as driver:
        open_page(driver, smoke / "findings.html")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        rows = [row.text for row in driver.find_elements(By.CSS_SELECTOR, "tbody tr")]
        for statement, verdict in zip(findings["statement"], findings["verdict"], strict=True):
            (row,) = [text for text in rows if statement in text]
            assert verdict in row
        cells = driver.find_elements(By.CSS_SELECTOR, "td:first-child")
        for cell in filter(lambda one: one.text, cells):
            assert cell.size["width"] >= 20
            assert float(cell.value_of_css_property("font-size").removesuffix("px")) >= 14
        assert complaints(driver) == []


@WIDTHS
def test_the_report_shows_findings_first_and_every_figure(smoke, report, width):
    figures = {path.name for path in (smoke / "figures").glob("*.png")}
    with browser(width) as driver:
        open_page(driver, report)
        wait = WebDriverWait(driver, 20)
        menu = wait.until(
            lambda d: [link for link in d.find_elements(By.CSS_SELECTOR, "nav a") if link.text]
        )
        chapters = [link.text for link in menu if re.match(r"\d\. ", link.text)]
        assert chapters == sorted(chapters)
        assert chapters[0] == "1. Findings"
        sizes = driver.execute_async_script(LOAD_IMAGES)
        assert {Path(name).name for name in sizes} == figures
        assert min(sizes.values()) > 300
        next(link for link in menu if link.text == "1. Findings").click()
        eye = wait.until(lambda d: d.find_element(By.CSS_SELECTOR, "nav a[iconname=eye]"))
        eye.click()
        frame = wait.until(lambda d: d.find_element(By.CSS_SELECTOR, "iframe"))
        driver.switch_to.frame(frame)
        assert "Findings" in driver.find_element(By.TAG_NAME, "h1").text
        assert complaints(driver) == []


LOAD_IMAGES = """
const done = arguments[0], sizes = {};
const images = Object.entries(results).filter(([name]) => name.endsWith(".png"));
Promise.all(images.map(([name, entry]) => new Promise(next => {
  const image = new Image();
  image.onload = image.onerror = () => { sizes[name] = image.naturalWidth; next(); };
  image.src = entry.data_uri;
}))).then(() => done(sizes));
"""


def test_the_markdown_report_stands_alone(smoke):
    folder = smoke / "report"
    text = (folder / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 40
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("## ")]
    for link in links:
        if link.startswith("#"):
            assert link[1:] in map(anchor, headings), link
        else:
            assert (folder / link).is_file(), link
    for claim in CLAIMS.values():
        assert claim in text
    assert "{{" not in text
    assert text.count("Study smoke, seed 0") == 1
