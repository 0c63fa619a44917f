"""What all figures share: size, fonts, colours, axes, curves with bands, and how they are saved."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

P = ParamSpec("P")

COLUMN, PAGE = 3.4, 7.0  # inches: one column of a two-column paper, and both

# Okabe and Ito's palette, distinguishable with any common colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
ALARM = "#C00000"  # for warnings alone
YELLOW, BLUE, RED, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#767676"

SPLIT_LABELS = {
    "demonstrated": "ID, demonstrated hands",
    "id_test": "ID test",
    "ood_test": "OOD test",
}
SPLIT_COLOURS = {"demonstrated": SKY, "id_test": BLUE, "ood_test": RED}
RUN_LABELS = {
    "sft": "SFT",
    "ppo": "then RL (PPO)",
    "grpo": "then RL (GRPO)",
    "continued": "then more SFT, same demonstrations",
    "wide": "then SFT on RL's hands",
    "demonstrated-ppo": "then PPO on demonstrated hands",
    "demonstrated-grpo": "then GRPO on demonstrated hands",
}
RUN_COLOURS = {
    "sft": BLACK,
    "ppo": RED,
    "grpo": RED,
    "continued": SKY,
    "wide": GREEN,
    "demonstrated-ppo": PURPLE,
    "demonstrated-grpo": PURPLE,
}
RUN_MARKERS = {
    "sft": "o",
    "ppo": "s",
    "grpo": "s",
    "continued": "^",
    "wide": "D",
    "demonstrated-ppo": "v",
    "demonstrated-grpo": "v",
}
MODULES = ("q", "k", "v", "o", "gate", "up", "down", "embedding", "head")  # as in the model
SIDE_LABELS = {"left": "left (U)", "right": "right (V)"}
SIDE_COLOURS = {"left": BLUE, "right": ORANGE}
SIDE_OPTIONS: dict[str, dict[str, Any]] = {  # where both coincide, both are seen
    "left": {"lw": 1.8, "ms": 3.4},
    "right": {"lw": 0.9, "ms": 1.8},
}
NULL_LABELS = {
    "observed": "observed",
    "isotropic": "isotropic noise of the update's size",
    "random": "two unrelated matrices",
}
NULL_LINES = {"observed": "-", "isotropic": "--", "random": ":"}
KIND_LABELS = {
    "directions": "directions (UV merging)",
    "triplets": "triplets",
    "values": "singular values only",
    "random_directions": "random directions",
    "interpolate": "interpolation of weights",
    "reset": "reset of whole layers",
}
KIND_COLOURS = {
    "directions": RED,
    "triplets": ORANGE,
    "values": BLUE,
    "random_directions": GREY,
    "interpolate": BLACK,
    "reset": PURPLE,
}
KIND_MARKERS = {
    "directions": "o",
    "triplets": "s",
    "values": "D",
    "random_directions": "X",
    "interpolate": ".",
    "reset": "^",
}
END_LABELS = {"target": "target, before the repair", "anchor": "anchor"}
END_LINES = {"target": ":", "anchor": "--"}
END_MARKERS = {"target": "P", "anchor": "*"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 3.2,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # text stays text
}


@dataclass(frozen=True)
class Drawing:
    """A figure and the table of exactly what it shows."""

    figure: Figure
    data: pd.DataFrame


def styled(draw: Callable[P, Drawing]) -> Callable[P, Drawing]:
    """Draw in the house style, whatever the user's matplotlibrc says."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        with matplotlib.style.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return wrapper


def save(drawing: Drawing, path: Path) -> None:
    """Write `path` with the suffixes .pdf, .png and .csv; the same drawing gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.style.context(STYLE, after_reset=True):
        undated = {"CreationDate": None, "Producer": None, "Creator": None}
        drawing.figure.savefig(path.with_suffix(".pdf"), metadata=undated)
        drawing.figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
    drawing.data.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")


def panels(
    rows: int,
    columns: int,
    height: float,
    *,
    width: float = PAGE,
    note: str,
    warning: str = "",
    xlabel: str = "",
    **subplots: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with its axes row by row, and `note` underneath.

    Above the note there is room for one line of `warning`, in red, and above that for an `xlabel`
    of all panels (a `supxlabel` would lie on the note).
    """
    note = note.replace(" %", "\N{NO-BREAK SPACE}%")
    note = "\n".join(textwrap.fill(line, round(21.5 * width)) for line in note.split("\n"))
    bottom = 0.03 + 0.125 * (note.count("\n") + 1)
    texts: list[tuple[float, float, str, dict[str, Any]]] = [
        (0.06, 0.04, note, {"fontsize": 6, "color": GREY})
    ]
    if warning:
        texts.append(
            (0.06, bottom + 0.03, warning, {"fontsize": 7, "color": ALARM, "fontweight": "bold"})
        )
        bottom += 0.17
    if xlabel:
        texts.append((width / 2, bottom + 0.03, xlabel, {"fontsize": 7.5, "ha": "center"}))
        bottom += 0.15
    layout = ConstrainedLayoutEngine(rect=(0, bottom / height, 1, 1 - bottom / height))
    figure = Figure(figsize=(width, height), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    for x, y, text, options in texts:
        figure.text(x / width, y / height, text, va="bottom", **options)
    return figure, list(axes.flat)


def rotation_lines(axes: Axes, table: pd.DataFrame, x: str, side: str) -> None:
    """One side of `aggregate.beside_nulls`: the observed angles, and means of both nulls."""
    colour = SIDE_COLOURS[side]
    for series, line in NULL_LINES.items():
        part = table[table["series"] == series].drop(columns=["low", "high"])
        if series == "observed":
            curve(axes, part, x, colour=colour, label="_observed", **SIDE_OPTIONS[side])
        else:
            mean = part[part["seed"] == "mean"].sort_values(x)
            axes.plot(mean[x], mean["value"], line, color=colour, lw=1.0)


def nulls_legend(figure: Figure) -> None:
    """What the colours (sides) and lines (observed, nulls) of a figure of rotation are."""
    first = figure.axes[0]
    for side in SIDE_LABELS:
        first.plot([], [], color=SIDE_COLOURS[side], lw=2, label=SIDE_LABELS[side])
    for series, name in NULL_LABELS.items():
        marker = "o" if series == "observed" else None
        line = NULL_LINES[series]
        first.plot([], [], color=GREY, marker=marker, linestyle=line, lw=1.2, label=name)
    legend(figure, [first], columns=5)


def looks_random(matrices: pd.DataFrame, checkpoints: Iterable[str]) -> str:
    """A warning that names the checkpoints with matrices that look freshly initialised, or none.

    `matrices`: `checkpoint`, `seed`, `looks_random`, one row a matrix.
    """
    own = matrices[matrices["checkpoint"].isin(set(checkpoints))]
    random = own[own["looks_random"]]
    if random.empty:
        return ""
    names = random["checkpoint"].unique()
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"WARNING: {len(random):,} of {len(own):,} matrices look never trained ({listed}): "
        "their directions are noise"
    )


def legend(figure: Figure, panels: Sequence[Axes] | None = None, columns: int = 4) -> None:
    """One legend above all panels, of every distinct label in `panels` (all if none are given)."""
    found: dict[str, Any] = {}
    for axes in figure.axes if panels is None else panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(list(found.values()), list(found), loc="outside upper left", ncols=columns)


def curve(
    axes: Axes, table: pd.DataFrame, x: str, *, colour: Any, label: str, **options: Any
) -> None:
    """One line of an `aggregate.summary`: mean bold, seeds thin, interval as a band.

    A band is drawn where the table has `low` and `high`; thin lines where there are two seeds.
    """
    mean = table[table["seed"] == "mean"].sort_values(x)
    options = {"marker": "o"} | options
    axes.plot(mean[x], mean["value"], color=colour, label=label, zorder=3, **options)
    if "low" in mean:
        axes.fill_between(mean[x], mean["low"], mean["high"], color=colour, alpha=0.18, lw=0)
    seeds = [part.sort_values(x) for name, part in table.groupby("seed") if name != "mean"]
    if len(seeds) > 1:
        thin = {"color": colour, "lw": 0.5, "alpha": 0.6, "linestyle": options.get("linestyle")}
        for part in seeds:
            axes.plot(part[x], part["value"], zorder=2, **thin)


def end_lines(axes: Axes, table: pd.DataFrame) -> None:
    """Target and anchor of a repair as horizontal lines, from a summary by `intervention`."""
    for end, label in END_LABELS.items():
        mean = table[(table["intervention"] == end) & (table["seed"] == "mean")].iloc[0]
        axes.axhline(mean["value"], color=GREEN, linestyle=END_LINES[end], lw=1.2, label=label)
        axes.axhspan(mean["low"], mean["high"], color=GREEN, alpha=0.1, lw=0)


def step_axis(axes: Axes, steps: Sequence[float], label: str, gap: float = 0.11) -> None:
    """A logarithmic axis of training steps on which 0 has its place; ticks at steps, thinned."""
    values = np.unique(np.asarray(steps, dtype=float))
    positive = values[values > 0]
    if len(positive) and positive[-1] > 4 * positive[0]:
        axes.set_xscale("symlog", base=2, linthresh=positive[0], linscale=0.5)
    places = axes.xaxis.get_transform().transform(values)
    span = max(float(np.ptp(places)), 1e-9)
    ticks = [0]
    for i, place in enumerate(places):
        if place - places[ticks[-1]] >= gap * span:
            ticks.append(i)
    axes.xaxis.set_major_locator(FixedLocator(list(values[ticks])))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(label)


def percent_axis(axes: Axes, label: str) -> None:
    """A vertical axis of shares from 0, printed in percent."""
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    axes.set_ylabel(label)


def plain_log_ticks(axes: Axes) -> None:
    """A logarithmic vertical axis with ticks at 1, 2, 5 and their decades, printed plainly.

    Values within a factor of five have too few such ticks, and stay on a linear axis.
    """
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    if values.max() < 5 * values.min():
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def start_colours(starts: Iterable[int]) -> dict[int, Any]:
    """A colour for each SFT step that RL starts from, dark to light (viridis)."""
    ordered = sorted(set(starts))
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, max(len(ordered), 2)))
    return dict(zip(ordered, shades, strict=False))


def sample(table: pd.DataFrame) -> str:
    """`n = 1,000 hands a seed (ID test; OOD test); 3 seeds`, from an accuracy table."""
    splits: dict[str, list[str]] = {}
    for split, part in table.groupby("split", sort=False):
        splits.setdefault(size(part), []).append(SPLIT_LABELS[str(split)])
    parts = [f"{n} hands a seed ({'; '.join(labels)})" for n, labels in splits.items()]
    return f"n = {', '.join(parts)}; {seeds(table)}"


def between(pair: str) -> str:
    """`anchor to last`, of the pair `anchor-to-last`."""
    return pair.replace("-to-", " to ")


def matrices(table: pd.DataFrame) -> str:
    """`n = 28 matrices, anchor to last; 3 seeds`, from a table of drift."""
    count = len(table[["layer", "module"]].drop_duplicates())
    pairs = " and ".join(between(pair) for pair in table["pair"].unique())
    return f"n = {count} matrices, {pairs}; {seeds(table)}"


def repair(name: str) -> str:
    """`Repair: last with anchor`."""
    return f"Repair: {name.replace('-with-', ' with ')}"


def size(table: pd.DataFrame) -> str:
    """The number of hands in column `n`: `1,000`, or `980 to 1,000` where rows differ."""
    low, high = table["n"].min(), table["n"].max()
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def seeds(table: pd.DataFrame) -> str:
    """`1 seed`, `3 seeds`."""
    count = table["seed"].nunique()
    return f"{count} seed" if count == 1 else f"{count} seeds"


BANDS = "Bands: 95 % intervals over hands, clustered by multiset, averaged over seeds"
THIN = "thin lines: single seeds"
PUBLISHED_TITLE = "Published: Llama 11B, OOD"
PUBLISHED = "Published: 234 hands, no intervals given"
