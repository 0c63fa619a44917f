"""Every figure draws its data whole, with n and intervals, and is written alike twice."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from svdrift.figures import (
    accuracy_by_step,
    advantages,
    faults_by_step,
    loss_by_step,
    objectives,
    recovery_window,
    rl_effect,
    rl_progress,
    stages,
)
from svdrift.figures.aggregate import accuracies, summary
from svdrift.figures.style import Drawing, save
from svdrift.reference import published
from tests.figures.figure_tables import (
    accuracy_table,
    advantage_table,
    difference_table,
    loss_table,
    objective_table,
)

LLAMA, STAGES = published("llama_ood_by_checkpoint"), published("accuracy_by_stage")
ANCHORS = pd.DataFrame({"seed": range(3), "sft_step": [32, 32, 64]})
FIGURES: dict[str, Callable[[int], Drawing]] = {
    "accuracy_by_step": lambda s: accuracy_by_step.draw(accuracy_table(s), LLAMA),
    "loss_by_step": lambda s: loss_by_step.draw(loss_table(s)),
    "faults_by_step": lambda s: faults_by_step.draw(accuracy_table(s)),
    "recovery_window": lambda s: recovery_window.draw(accuracy_table(s), LLAMA),
    "stages": lambda s: stages.draw(accuracy_table(s), ANCHORS[:s], STAGES, moderate_step=512),
    "rl_progress": lambda s: rl_progress.draw(accuracy_table(s), last_update=120),
    "rl_effect": lambda s: rl_effect.draw(difference_table(s)),
    "advantages": lambda s: advantages.draw(advantage_table(s)),
    "objectives": lambda s: objectives.draw(objective_table(s), last_update=120),
}
WITHOUT_INTERVALS = {"loss_by_step", "advantages", "objectives"}  # their tables have none


def texts(figure: Figure) -> str:
    found = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        found += [t.get_text() for t in axes.texts]
        found += [axes.get_title(loc="left")]
        legend = axes.get_legend()
        found += [t.get_text() for t in legend.get_texts()] if legend else []
    return "\n".join(found)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", FIGURES)
def test_figure(name: str, seeds: int) -> None:
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing = FIGURES[name](seeds)
        figure = drawing.figure
        figure.savefig(io.BytesIO(), dpi=figure.dpi)
    assert dict(mpl.rcParams) == before  # the user's own style is left alone

    assert re.search(r"\bn = [\d,]+", texts(figure))
    assert f"{seeds} seed" in texts(figure)
    assert not drawing.data.empty
    if name not in WITHOUT_INTERVALS:
        drawn = [
            artist
            for axes in figure.axes
            for artist in [*axes.collections, *axes.containers]
            if isinstance(artist, PolyCollection | ErrorbarContainer)
        ]
        assert drawn
    for axes in figure.axes:
        assert axes.has_data()
        for line in axes.get_lines():
            xy = line.get_transform().transform(line.get_xydata())
            xy = xy[np.isfinite(xy).all(axis=1)]
            inside = axes.transAxes.inverted().transform(xy)
            assert ((inside > -1e-6) & (inside < 1 + 1e-6)).all()

    # Nothing sticks out of the page.
    page = figure.bbox
    words = [*figure.texts, *(t for legend in figure.legends for t in legend.get_texts())]
    for axes in figure.axes:
        titles = (t for t in axes.get_children() if isinstance(t, Text))
        words += [*titles, axes.xaxis.label, axes.yaxis.label]
    for text in words:
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            assert box.x0 >= page.x0 - 1, text
            assert box.x1 <= page.x1 + 1, text
            assert box.y0 >= page.y0 - 1, text
            assert box.y1 <= page.y1 + 1, text


@pytest.mark.parametrize("name", ["accuracy_by_step", "advantages"])
def test_saved_files_are_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        save(FIGURES[name](2), tmp_path / folder / name)
    for suffix in ("pdf", "png", "csv"):
        first, second = (tmp_path / f / f"{name}.{suffix}" for f in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size > 1000


def test_csv_holds_what_is_drawn(tmp_path: Path) -> None:
    drawing = FIGURES["accuracy_by_step"](2)
    save(drawing, tmp_path / "figure")
    read = pd.read_csv(tmp_path / "figure.csv")
    mean = read[(read["split"] == "id_test") & (read["subset"] == "all") & (read["seed"] == "mean")]
    line = next(
        line for line in drawing.figure.axes[0].get_lines() if line.get_label() == "ID test"
    )
    drawn = np.asarray(line.get_xydata())[:, 1]
    np.testing.assert_allclose(drawn, mean.sort_values("sft_step")["value"])
    assert (read["split"] == "published").sum() == len(LLAMA)


def test_summary_is_the_mean_with_combined_intervals() -> None:
    table = pd.DataFrame(
        {
            "seed": [0, 1],
            "step": [8, 8],
            "n": [100, 100],
            "value": [0.4, 0.6],
            "low": [0.37, 0.56],
            "high": [0.43, 0.64],
        }
    )
    mean = summary(table, ["step"]).query("seed == 'mean'").iloc[0]
    assert mean["value"] == pytest.approx(0.5)
    assert mean["low"] == pytest.approx(0.5 - 0.025)  # a 3-4-5 triangle over two seeds
    assert mean["high"] == pytest.approx(0.5 + 0.025)
    assert mean["n"] == 200
    with pytest.raises(ValueError, match="two values"):
        summary(pd.concat([table, table]), ["step"])


def test_only_the_end_of_a_run_is_shown() -> None:
    table = accuracy_table(1)
    rows = accuracies(table, "solved_first_try", ["ood_test"], ["sft", "ppo"])
    assert rows["update"].isna().all()
    assert set(rows["run"]) == {"sft", "ppo"}
    assert not rows.duplicated(["run", "sft_step"]).any()


def test_published_numbers() -> None:
    assert LLAMA.loc[LLAMA["sft_step"] == 140, "ood_accuracy_sft"].item() == 17.52
    assert set(published("singular_value_control")["model"]) == {"llama-3.2-11b", "qwen-2.5-7b"}
