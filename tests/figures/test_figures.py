"""Every figure draws its data whole, with n and intervals, and is written alike twice."""

from __future__ import annotations

import inspect
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from svdrift.checkpoints import Checkpoint
from svdrift.figures import (
    accuracy_by_step,
    advantages,
    compare_accuracy,
    compare_difference,
    faults_by_step,
    labels,
    loss_by_step,
    objectives,
    rank_searches,
    recovery_by_layers,
    recovery_by_rank,
    recovery_effect,
    recovery_frontier,
    recovery_window,
    reliability,
    remedies,
    rl_effect,
    rl_progress,
    rl_update,
    rotation_by_position,
    rotation_by_rank,
    rotation_heatmap,
    spectrum_change,
    stages,
    stages_overview,
    style,
    sweep,
)
from svdrift.figures.aggregate import (
    ANY,
    at,
    beside_nulls,
    first_tries,
    of,
    summary,
    trajectories,
)
from svdrift.figures.style import ALARM, Drawing, save
from svdrift.reference import published
from svdrift.spectra.moved import moved
from svdrift.story import Story
from tests.figures.figure_tables import (
    GRPO_STORY,
    REMEDY_STORY,
    SPECTRAL_STORY,
    STORY,
    accuracy_table,
    advantage_table,
    comparison_table,
    cycles_table,
    loss_table,
    objective_table,
    rank_search_table,
    recovery_effect_table,
    recovery_table,
    remedy_tables,
    samples_table,
    spectral_tables,
    study_accuracies,
    study_difference_table,
    sweep_table,
)

LLAMA, STAGES = published("llama_ood_by_checkpoint"), published("accuracy_by_stage")
CONTROL = published("singular_value_control")
ANCHORS = pd.DataFrame({"seed": range(3), "checkpoint": ["sft-32", "sft-32", "sft-64"]})
FIGURES: dict[str, Callable[[int], Drawing]] = {
    "stages_overview": lambda s: stages_overview.draw(accuracy_table(s), STORY),
    "accuracy_by_step": lambda s: accuracy_by_step.draw(accuracy_table(s), LLAMA, STORY),
    "loss_by_step": lambda s: loss_by_step.draw(loss_table(s), objective_table(s), STORY),
    "faults_by_step": lambda s: faults_by_step.draw(accuracy_table(s), STORY),
    "recovery_window": lambda s: recovery_window.draw(accuracy_table(s), LLAMA, STORY),
    "stages": lambda s: stages.draw(accuracy_table(s), ANCHORS[:s], STAGES, STORY),
    "rl_progress": lambda s: rl_progress.draw(accuracy_table(s), STORY),
    "rl_effect": lambda s: rl_effect.draw(comparison_table(s), STORY),
    "advantages": lambda s: advantages.draw(advantage_table(s), STORY),
    "objectives": lambda s: objectives.draw(objective_table(s), STORY),
    "spectrum_change": lambda s: spectrum_change.draw(
        **_spectral(s, "value_changes", "drift", "spectrum", "matrices"), story=SPECTRAL_STORY
    ),
    "rotation_by_rank": lambda s: rotation_by_rank.draw(
        **_spectral(s, "drift", "nulls", "matrices"), story=SPECTRAL_STORY
    ),
    "rotation_by_position": lambda s: rotation_by_position.draw(
        **_spectral(s, "drift", "nulls", "matrices"), story=SPECTRAL_STORY
    ),
    "rotation_heatmap": lambda s: rotation_heatmap.draw(
        **_spectral(s, "drift", "matrices"), story=SPECTRAL_STORY
    ),
    "rl_update": lambda s: rl_update.draw(**_spectral(s, "updates"), story=SPECTRAL_STORY),
    "recovery_by_rank": lambda s: recovery_by_rank.draw(recovery_table(s), CONTROL),
    "recovery_by_layers": lambda s: recovery_by_layers.draw(recovery_table(s)),
    "recovery_frontier": lambda s: recovery_frontier.draw(recovery_table(s), STORY),
    "recovery_effect": lambda s: recovery_effect.draw(recovery_effect_table(s)),
    "rank_searches": lambda s: rank_searches.draw(rank_search_table(s)),
    "remedies": lambda s: remedies.draw(**remedy_tables(s), story=REMEDY_STORY),
    "reliability": lambda s: reliability.draw(samples_table(s), STORY),
    "sweep": lambda s: sweep.draw(sweep_table(s), STORY),
    "compare_accuracy": lambda s: compare_accuracy.draw(
        study_accuracies(s), {"default": STORY, "grpo": GRPO_STORY}
    ),
    "compare_difference": lambda s: compare_difference.draw(study_difference_table(s)),
}
WITHOUT_INTERVALS = {
    *("loss_by_step", "advantages", "objectives", "spectrum_change"),  # their tables have none
    "rank_searches",  # what a search did on fixed problems is known exactly
    "rotation_heatmap",  # its cells say in brackets what their intervals hold
}


def _spectral(seeds: int, *names: str) -> dict[str, pd.DataFrame]:
    return {name: spectral_tables(seeds)[name] for name in names}


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


@pytest.mark.parametrize("name", ["accuracy_by_step", "rotation_by_position"])
def test_saved_files_are_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        save(FIGURES[name](2), tmp_path / folder / name)
    for suffix in ("pdf", "png", "csv"):
        first, second = (tmp_path / f / f"{name}.{suffix}" for f in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size > 1000


@pytest.mark.parametrize("name", FIGURES)
def test_panels_lie_where_rounding_puts_them(name: str) -> None:
    """The layout's solver differs in its last digits from process to process."""
    figure = FIGURES[name](2).figure
    style.fix_layout(figure)
    fixed = [axes.get_position(original=True).bounds for axes in figure.axes]
    assert np.allclose(fixed, np.round(fixed, style.PLACES), rtol=0, atol=1e-12)
    figure.draw_without_rendering()
    assert fixed == [axes.get_position(original=True).bounds for axes in figure.axes]


def test_csv_holds_what_is_drawn(tmp_path: Path) -> None:
    drawing = FIGURES["accuracy_by_step"](2)
    save(drawing, tmp_path / "figure")
    read = pd.read_csv(tmp_path / "figure.csv")
    mean = of(read[(read["subset"] == "all") & (read["seed"] == "mean")], "test", "id")
    line = next(
        line for line in drawing.figure.axes[0].get_lines() if line.get_label() == "ID test"
    )
    drawn = np.asarray(line.get_xydata())[:, 1]
    np.testing.assert_allclose(drawn, mean.sort_values("step")["value"])
    assert (read["role"] == "published").sum() == len(LLAMA)


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


def test_runs_begin_at_their_start() -> None:
    assert STORY.rl is not None
    rows = trajectories(of(first_tries(accuracy_table(1)), "test", "ood"), STORY.rl)
    assert rows.groupby("start")["step"].apply(list).to_dict() == {
        "sft-64": [0, 40, 80, 120],
        "sft-512": [0, 40, 80, 120],
    }
    before = rows[(rows["start"] == "sft-64") & (rows["step"] == 0)]
    assert before["checkpoint"].tolist() == ["sft-64"]


def test_a_missing_checkpoint_is_named() -> None:
    table = accuracy_table(1)
    with pytest.raises(ValueError, match=r"sft-128\b"):
        at(table[table["checkpoint"] != "sft-128"], STORY.path)
    with pytest.raises(ValueError, match=r"sft-64\.continued-120"):
        recovery_window.draw(table[table["checkpoint"] != "sft-64.continued-120"], LLAMA, STORY)
    comparisons = comparison_table(1)
    with pytest.raises(ValueError, match=r"sft-512\.ppo-120 minus sft-512\.wide-120"):
        rl_effect.draw(comparisons[comparisons["stage_b"] != "wide"], STORY)


def test_starts_whose_rl_had_no_signal_are_marked():
    starts = list(STORY.rl.results)
    signals = pd.DataFrame(
        [
            {
                "stage": "ppo",
                "start": start,
                "seed": seed,
                "had_signal": (start, seed) != (starts[0], 1),
            }
            for start in starts
            for seed in range(3)
        ]
    )
    window = recovery_window.draw(accuracy_table(3), LLAMA, STORY, signals)
    hollow = [
        line
        for line in window.figure.axes[0].lines
        if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    ]
    assert [list(line.get_xdata()) for line in hollow] == [[Checkpoint.parse(starts[0]).step]]
    effect = rl_effect.draw(comparison_table(3), STORY, signals)
    named = [label.get_text() for label in effect.figure.axes[0].get_yticklabels()]
    assert named == [
        labels.checkpoint(STORY, start) + " *" * (start == starts[0]) for start in starts
    ]
    for drawing in (window, effect):
        assert f"without a reward signal in 1 of 3 runs from {starts[0]}" in texts(
            drawing.figure
        ).replace("\n", " ")


def test_every_test_split_is_shown_along_the_path() -> None:
    figure = FIGURES["accuracy_by_step"](1).figure
    names = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    assert {"ID test", "OOD test", "OOD test, odd", "ID, fitted problems"} <= set(names)


def test_single_seeds_are_mentioned_only_where_they_are_drawn() -> None:
    for name, draw in FIGURES.items():
        note = texts(draw(1).figure)
        assert not re.search(r"(single|over|averaged over) seeds|seeds pooled", note), name


@pytest.mark.parametrize("seeds", [1, 2])
def test_overview_draws_any_graph(seeds: int) -> None:
    story = Story(
        path=("base", "sft-16", "sft-64"), path_label="SFT", labels={"sft": "SFT", "ppo": "PPO"}
    )
    table = cycles_table(seeds)
    figure = stages_overview.draw(table, story).figure
    (axes,) = figure.axes
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == table["checkpoint"].nunique() - 2  # all but the two roots have one
    marks = {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines}
    shown = {name: look for name, look in marks.items() if not name.startswith("_")}
    assert set(shown) == {"base", "other", "SFT", "PPO", "again", "grpo"}  # no label: the name
    assert len(set(shown.values())) == len(shown)
    incomplete = table[(table["checkpoint"] != "sft-16") | (table["shift"] == "id")]
    with pytest.raises(ValueError, match="sft-16"):
        stages_overview.draw(incomplete, story)


def test_overview_tells_as_many_stages_apart_as_a_paper_has_arms() -> None:
    runs = accuracy_table(1).query("checkpoint == 'sft-16'")
    arms = [runs.assign(checkpoint=f"arm_{i}-16", stage=f"arm_{i}", start=pd.NA) for i in range(16)]
    figure = stages_overview.draw(pd.concat([accuracy_table(1), *arms]), STORY).figure
    lines = [line for line in figure.axes[0].lines if not str(line.get_label()).startswith("_")]
    looks = {(line.get_color(), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) > 16


def test_published_numbers() -> None:
    assert LLAMA.loc[LLAMA["step"] == 140, "ood_accuracy_sft"].item() == 17.52
    assert set(published("singular_value_control")["model"]) == {"llama-3.2-11b", "qwen-2.5-7b"}


# ---------------------------------------------------------------------- spectra


def test_means_beside_nulls() -> None:
    nulls = spectral_tables(2)["nulls"]
    rows = moved(spectral_tables(2)["drift"]).query("measure == 'window_angle'")
    table = beside_nulls(rows, nulls, ["pair", "side", "module", "start"])
    place = "pair == 'anchor-to-last' and side == 'left' and module == 'v' and start == 0.5"
    part = rows.query(place)
    assert len(part) == 2 * 3  # seeds, layers
    for series in ("observed", "isotropic", "inputs_kept", "random", "minus_isotropic"):
        mean = table.query(f"{place} and seed == 'mean' and series == '{series}'").iloc[0]
        assert mean["value"] == pytest.approx(part[series].mean())
    # Layers within a draw, then draws within a seed, then seeds.
    draws = nulls.query(f"{place} and measure == 'window_angle'").pivot_table(
        index="seed", columns="draw", values="isotropic"
    )
    factor = stats.t.isf(0.025, draws.shape[1] - 1) * np.sqrt(1 + 1 / draws.shape[1])
    half = factor * draws.std(axis=1, ddof=1)
    expected = np.sqrt(np.square(half).sum()) / 2
    assert mean["value"] - mean["low"] == pytest.approx(expected)
    assert mean["high"] - mean["value"] == pytest.approx(expected)


def test_intervals_end_where_values_do() -> None:
    table = pd.DataFrame({"seed": [0], "k": [1], "value": [0.99], "low": [0.9], "high": [1.08]})
    assert summary(table, ["k"])["high"].iloc[-1] == 1
    assert summary(table, ["k"], ANY)["high"].iloc[-1] == pytest.approx(1.08)


def test_frozen_matrices_are_left_out() -> None:
    drift = spectral_tables(1)["drift"]
    assert {"embedding", "head"} <= set(drift["module"])
    drawing = FIGURES["rotation_by_rank"](1)
    assert set(drawing.data["module"]) == {"q", "v", "down", "head"}
    assert drawing.data["value"].gt(0).mean() > 0.5
    assert "n = 10 matrices" in texts(drawing.figure)


def test_another_pair_where_the_anchor_is_the_last_checkpoint() -> None:
    tables = _spectral(1, "drift", "matrices")
    drift = tables["drift"].copy()
    numbers = ["observed", "isotropic", "minus_isotropic"]
    drift.loc[drift["pair"] == "anchor-to-last", numbers] = 0.0
    figure = rotation_heatmap.draw(drift, tables["matrices"], SPECTRAL_STORY).figure
    assert "base to sft-8" in texts(figure)  # the last step of SFT
    assert "anchor to last" not in texts(figure)


@pytest.mark.parametrize(
    "module", [spectrum_change, rotation_by_rank, rotation_by_position, rotation_heatmap]
)
def test_matrices_that_look_random_are_reported_in_red(module: ModuleType) -> None:
    names = [name for name in inspect.signature(module.draw).parameters if name != "story"]
    tables = _spectral(1, *names)
    assert "never trained" not in texts(module.draw(**tables, story=SPECTRAL_STORY).figure)
    matrices = tables["matrices"]
    fresh = matrices.assign(looks_random=matrices["checkpoint"] == "sft-8")
    figure = module.draw(**{**tables, "matrices": fresh}, story=SPECTRAL_STORY).figure
    (warning,) = [text for text in figure.texts if "never trained" in text.get_text()]
    assert warning.get_color() == ALARM
    assert re.search(r"11 of \d+ matrices look never trained \(sft-8\)", warning.get_text())


def test_heatmap_puts_in_brackets_what_the_null_explains() -> None:
    drawing = FIGURES["rotation_heatmap"](1)
    drift = moved(spectral_tables(1)["drift"]).query(
        "pair == 'anchor-to-last' and measure == 'energy_off_diagonal' and layer.notna()"
    )
    unclear = drift["minus_isotropic_low"].le(0) & drift["minus_isotropic_high"].ge(0)
    cells = [text.get_text() for text in drawing.figure.axes[2].texts]
    assert len(cells) == len(drift) == 9
    assert sum(cell.startswith("(") for cell in cells) == unclear.sum()
    assert unclear.sum() > 0


def test_spectra_are_of_base_to_last_where_the_anchor_is_last() -> None:
    tables = spectral_tables(1)
    drift = tables["drift"].copy()
    still = (drift["pair"] == "anchor-to-last") & (drift["measure"] == "update_norm")
    drift.loc[still, "observed"] = 0.0
    drawing = spectrum_change.draw(
        tables["value_changes"],
        drift,
        tables["spectrum"],
        tables["matrices"],
        SPECTRAL_STORY,
    )
    change = drawing.data.query("series == 'change' and seed == 'mean'")
    expected = tables["value_changes"].query("pair == 'base-to-sft-8'")
    joined = change.merge(expected, on=["layer", "module", "index"])
    assert len(joined) == len(change) > 0
    assert joined["value"].tolist() == pytest.approx(joined["change"].tolist())


# ---------------------------------------------------------------------- recovery


def test_without_ranks_every_kind_is_the_target() -> None:
    drawing = FIGURES["recovery_by_rank"](2)
    own = of(recovery_table(2).query("repair == 'last-with-anchor'"), "test", "ood")
    target = own.loc[own["intervention"] == "target", "value"].mean()
    lines = {line.get_label(): line.get_xydata() for line in drawing.figure.axes[1].get_lines()}
    directions = np.asarray(lines["directions (UV merging)"])
    assert directions[:, 0].tolist() == [0, 0.1, 0.2, 0.3, 1]  # no block of layers
    assert directions[0, 1] == pytest.approx(target)
    assert np.asarray(lines["singular values only"])[0, 1] == pytest.approx(target)
    whole = own.loc[own["intervention"] == "directions-top1", "value"].mean()
    assert directions[-1, 1] == pytest.approx(whole)


def test_layer_blocks_span_their_layers() -> None:
    drawing = FIGURES["recovery_by_layers"](1)
    blocks = of(drawing.data.query("kind == 'directions' and seed == 'mean'"), "test", "id")
    assert blocks["layers_start"].tolist() == [0, 0, 0.25, 0.5, 0.75]
    assert blocks["layers_stop"].tolist() == [0.25, 1, 0.5, 0.75, 1]


def test_frontier_interpolates_from_target_to_anchor() -> None:
    drawing = FIGURES["recovery_frontier"](2)
    own = recovery_table(2).query("repair == 'last-with-anchor'")
    mean = own.groupby(["intervention", "role", "shift"])["value"].mean()
    order = ["target", *(f"interpolate-weight{w}" for w in (0.25, 0.5, 0.75)), "anchor"]
    expected = [(mean[name, "test", "id"], mean[name, "test", "ood"]) for name in order]
    axes = drawing.figure.axes[3]  # second row, first repair
    paths = [line.get_xydata() for line in axes.get_lines() if line.get_linestyle() == "-"]
    assert any(len(p) == 5 and np.allclose(np.asarray(p), expected) for p in paths)
    assert len(drawing.figure.axes) == 2 * own["repair"].nunique() * 3


def test_no_clear_loss_is_said() -> None:
    effect = recovery_effect_table(1).assign(recovered=np.nan, recovered_low=np.nan)
    drawing = recovery_effect.draw(effect.assign(recovered_high=np.nan))
    assert "nothing was clearly lost" in texts(drawing.figure).replace("\n", " ")
    first = drawing.figure.axes[0]
    assert first.get_xlabel() == "repaired − target (points)"
    assert "clearly lost" not in texts(FIGURES["recovery_effect"](1).figure)


# ---------------------------------------------------------------------- several studies


def test_a_second_setting_has_rows_and_text_stands_side_by_side() -> None:
    table = sweep_table(1)
    both = pd.concat(
        [table.assign(**{"stages.ppo.granularity": name}) for name in ("turn", "token")],
        ignore_index=True,
    )
    keys = ["stages.ppo.granularity", "stages.ppo.learning_rate"]
    drawing = sweep.draw(both[keys + [c for c in both if c not in keys]], STORY)
    assert len(drawing.figure.axes) == 2 * 3  # ID and OOD; three learning rates
    labels = [tick.get_text() for tick in drawing.figure.axes[4].get_xticklabels()]
    assert labels == ["turn", "token"]


def test_only_the_last_checkpoint_of_sft_stands_for_it() -> None:
    table = sweep_table(2)
    data = sweep.draw(table, STORY).data
    shown = of(data[data["line"] == "end of SFT"], "test", "ood")
    whole = of(first_tries(table), "test", "ood")
    last = whole[whole["checkpoint"] == "sft-256"]
    assert sorted(shown.loc[shown["seed"] != "mean", "value"]) == sorted(last["value"])


def test_unpaired_comparisons_are_named() -> None:
    table = study_difference_table(1)
    assert "Paired on the same problems" in texts(compare_difference.draw(table).figure)
    table.loc[table["shift"] == "ood", "paired"] = False
    note = texts(compare_difference.draw(table).figure).replace("\n", " ")
    assert "NOT paired, since the problems differ: grpo on OOD test" in note


def test_colours_of_a_heatmap_are_those_of_every_other():
    """So that a figure of noise is pale, whatever its own largest value."""
    from matplotlib.colors import AsinhNorm

    figure = FIGURES["rotation_heatmap"](1).figure
    scales = [image.norm for axes in figure.axes for image in axes.images]
    assert len(scales) >= 3
    assert all(isinstance(scale, AsinhNorm) for scale in scales)
    assert {(scale.vmin, scale.vmax) for scale in scales} == {(-45.0, 45.0), (-1.0, 1.0)}
    degrees = next(scale for scale in scales if scale.vmax == 45)
    assert abs(degrees(0.3) - 0.5) < 0.05  # of noise
    assert degrees(10) > 0.8


def test_studies_that_are_compared_fit_one_axis_whichever_solves_more():
    table = study_accuracies(1)
    higher = table["study"] == "grpo"
    for column in ("value", "low", "high"):
        table[column] = table[column].where(~higher, 0.9 + table[column] / 10)
    table.loc[~higher, ["value", "low", "high"]] /= 10
    figure = compare_accuracy.draw(table, {"default": STORY, "grpo": GRPO_STORY}).figure
    for panel in figure.axes:
        bottom, top = panel.get_ylim()
        shown = np.concatenate([np.asarray(line.get_ydata(), float) for line in panel.lines])
        assert bottom == 0
        assert top >= np.nanmax(shown)
