"""What figures call things, and that no look has two meanings or hides another."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from svdrift import plugins
from svdrift.figures import compare_difference, faults_by_step, labels, recovery_effect
from svdrift.recovery import kind as kinds
from tests.figures.figure_tables import STORY, accuracy_table, recovery_effect_table
from tests.figures.test_figures import FIGURES, texts


def test_colours_of_id_and_ood_mean_nothing_else() -> None:
    of_splits = {labels.SPLIT_COLOURS[labels.ID], labels.SPLIT_COLOURS[labels.OOD]}
    others = [look.colour for look in labels.ends(STORY)]
    others += [kinds.kind(name).colour for name in plugins.names(kinds.ROOM)]
    others += [*labels.SIDE_COLOURS.values(), *faults_by_step.COLOURS, *compare_difference.COLOURS]
    assert not of_splits & set(others)


# These two list checkpoints.
@pytest.mark.parametrize("name", sorted({*FIGURES} - {"stages_overview", "compare_difference"}))
def test_no_raw_id_stands_in_a_legend_a_title_or_at_an_axis(name: str) -> None:
    figure = FIGURES[name](2).figure
    words = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    for axes in figure.axes:
        words += [axes.get_title(loc="left"), axes.get_xlabel()]
        words += [label.get_text() for label in axes.get_yticklabels()]
    assert not [word for word in words if re.search(r"sft-\d|top\d|layers\d|weight\d", word)]


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("directions-top0.2", "directions, top 20 %"),
        ("directions-top1-layers0-0.25", "directions, all ranks, layers 0–25 %"),
        ("directions-bottom0.125", "directions, bottom 12.5 %"),
        ("directions-top0.1-bottom0.1", "directions, top 10 %, bottom 10 %"),
        ("random_directions-top0.2-seed3", "random directions, top 20 %, draw 3"),
        ("interpolate-weight0.5", "interpolate, weight 0.5"),
        ("reset-layers0.5-1-inside", "reset, layers 50–100 %, without embedding and head"),
        ("directions-top1-q_k", "directions, all ranks, q, k only"),
        ("directions-top1-published", "directions, all ranks, as published"),
    ],
)
def test_an_intervention_is_told_in_words(id: str, words: str) -> None:
    assert labels.intervention(id).replace("\N{NO-BREAK SPACE}", " ") == words


def test_a_note_counts_only_problems_that_are_drawn() -> None:
    table = recovery_effect_table(2)
    chosen_on = table[table["shift"] == "ood"].assign(role="selection", n=777)
    noted, plain = (
        texts(recovery_effect.draw(one).figure) for one in (pd.concat([table, chosen_on]), table)
    )
    assert noted == plain


def test_faults_that_hardly_occur_are_named_and_not_drawn() -> None:
    table = accuracy_table(1)
    kind = next(m for m in table["measure"] if m.startswith(faults_by_step.PREFIX))
    rare = table["measure"] == kind
    drawing = faults_by_step.draw(table.assign(value=table["value"].mask(rare, 0.001)), STORY)
    name = kind.removeprefix(faults_by_step.PREFIX).replace("_", " ")
    assert f"Below 1% throughout: {name}." in texts(drawing.figure).replace("\n", " ")
    assert name not in {
        t.get_text() for legend in drawing.figure.legends for t in legend.get_texts()
    }
    assert (drawing.data["kind"] == kind.removeprefix(faults_by_step.PREFIX)).any()


def test_changes_of_values_have_their_zero_at_one_height() -> None:
    figure = FIGURES["spectrum_change"](1).figure
    right = [axes for axes in figure.axes if axes.spines["right"].get_visible()]
    heights = [axes.transAxes.inverted().transform(axes.transData.transform((0, 0)))[1]
               for axes in right]  # fmt: skip
    assert len(right) >= 2
    assert heights == pytest.approx([heights[0]] * len(heights))


def test_names_of_published_lines_lie_on_no_line() -> None:
    figure = FIGURES["recovery_by_rank"](1).figure
    figure.draw_without_rendering()
    panel = figure.axes[2]
    assert len(panel.texts) == 4
    for text in panel.texts:
        box = text.get_window_extent()
        for line in panel.get_lines():
            points = line.get_transform().transform(line.get_xydata())
            assert not [point for point in points if box.contains(*point)], text


def test_a_point_alone_has_whiskers_and_no_seed_lines_cross() -> None:
    panel = FIGURES["recovery_window"](3).figure.axes[0]
    thin = {line.get_color() for line in panel.get_lines() if line.get_linewidth() == 0.5}
    assert thin == {labels.PATH_COLOUR}
    wide = STORY.controls[1]
    assert len(wide.results) == 1  # a band of one point has no width
    assert [c for c in panel.containers if isinstance(c, ErrorbarContainer)]
