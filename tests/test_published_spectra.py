"""The page on the published spectra: it shows what its code prints, and that is right."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import integrate, optimize

from docs.published_spectra import PAGE, draw, with_outputs
from svdrift.reference import published


@pytest.fixture(scope="module")
def executed() -> tuple[str, dict]:
    return with_outputs(PAGE.read_text(encoding="utf-8"))


def test_the_page_shows_what_its_code_prints(executed) -> None:
    page, _ = executed
    assert page == PAGE.read_text(encoding="utf-8"), "run: make docs"
    assert len(re.findall(r"^```text\n.+?^```", page, re.M | re.S)) == 2


def test_the_law_is_the_quarter_circle_and_its_edges(executed) -> None:
    """Against closed forms and quadrature, not against the library's table of the law."""
    law = executed[1]["law"]

    def above(value: float) -> float:  # 1024 of 4096 values of a square matrix lie above
        density = integrate.quad(lambda x: np.sqrt(4 - x * x) / np.pi, value, 2)[0]
        return density - 1024 / 4095

    square = optimize.brentq(above, 0, 2) * 0.02 * 64
    assert law((4096, 4096), 1024, 0.02) == pytest.approx(square, abs=1e-4)
    for (m, n), sigma in (((4096, 14336), 0.018), ((4096, 4096), 0.018), ((1024, 4096), 0.02)):
        edges = [sigma * (n**0.5 + m**0.5), sigma * (n**0.5 - m**0.5)]
        assert [law((m, n), rank, sigma) for rank in (0, m - 1)] == pytest.approx(edges, abs=1e-6)


def test_published_values_are_as_near_the_law_as_the_page_says(executed) -> None:
    law = executed[1]["law"]
    table = published("llama_spectra")
    assert list(table["value"]) == [3.31, 2.31, 1.75, 2.55, 1.63, 1.92, 0.64]
    sigma = np.where(table["matrix"].str.endswith("proj"), 0.02, 0.018)
    expected = [
        law((row.rows, row.columns), row.rank, s)
        for row, s in zip(table.itertuples(), sigma, strict=True)
    ]
    off = np.abs(table["value"] / expected - 1)
    assert off[:3].max() == pytest.approx(0.013, abs=0.0005)  # 1.75 is the farthest
    assert off[3:].max() < 0.005


def test_unrelated_matrices_agree_in_values_alone(executed) -> None:
    _, names = executed
    first, second = names["first"], names["second"]
    assert (first.S - second.S).norm() / first.S.norm() < 0.002
    assert (first.U.T @ second.U).abs().max() < 0.2
    assert (first.Vh @ second.Vh.T).abs().max() < 0.2


def test_the_figure_shows_the_published_values(executed) -> None:
    law = draw(executed[1]).axes[0]
    points = {
        line.get_label(): list(line.get_ydata()) for line in law.lines if line.get_marker() == "o"
    }
    assert points == {"q_proj": [2.55, 1.63], "k_proj": [1.92, 0.64]}
    assert PAGE.with_suffix(".png").exists()
