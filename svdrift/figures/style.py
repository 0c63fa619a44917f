"""How every figure is drawn: size, fonts, palette, axes, curves with bands, forests, files."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
)
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

P = ParamSpec("P")

PLACES = 4  # decimals of a share of the page, to which panels are placed
COLUMN, PAGE = 3.4, 7.0  # inches: one column of a two-column paper, and both
BESIDE = ((6, 0, "left"), (-6, 0, "right"), (5, 7, "left"), (-5, 7, "right"), (5, -7, "left"))
CLEAR = 4.0  # points around a mark that names keep out of
LEGEND_WIDTH = 19.0  # characters of a legend to an inch

# Okabe and Ito's palette, distinguishable with any common colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
NOTE = "#444444"  # of what stands under a figure, which has to be read on a phone too
ALARM = "#C00000"  # for warnings alone
YELLOW, BLUE, RED, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#767676"
BROWN = "#7F4B00"  # beside that palette

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
        fix_layout(drawing.figure)
        undated = {"CreationDate": None, "Producer": None, "Creator": None}
        drawing.figure.savefig(path.with_suffix(".pdf"), metadata=undated)
        drawing.figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
    # Titles of panels are broken into lines; a value of a table is not.
    data = drawing.data.replace("\n", " ", regex=True)
    data.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")


def fix_layout(figure: Figure) -> None:
    """Place axes once and for all, to the thousandth of an inch or so.

    The solver of the constrained layout sums in the order of addresses in memory, so that its last
    digits differ from run to run.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        place = np.round(axes.get_position(original=True).bounds, PLACES)
        axes.set_position(place, which="original")


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
    note = "\n".join(textwrap.fill(line, round(19.5 * width)) for line in note.split("\n"))
    bottom = 0.03 + 0.135 * (note.count("\n") + 1)
    texts: list[tuple[float, float, str, dict[str, Any]]] = [
        (0.06, 0.04, note, {"fontsize": 6.5, "color": NOTE})
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


def legend(figure: Figure, panels: Sequence[Axes] | None = None, columns: int = 4) -> None:
    """One legend above all panels, of every distinct label in `panels` (all if none are given).

    It has fewer than `columns` where labels are too long for the figure's width.
    """
    found: dict[str, Any] = {}
    for axes in figure.axes if panels is None else panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    longest = max(map(len, found), default=0)
    room = int(LEGEND_WIDTH * figure.get_figwidth() / (longest + 8))  # 8: the handle and its gap
    fit = max(1, min(columns, room))
    figure.legend(list(found.values()), list(found), loc="outside upper left", ncols=fit)


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

    Values within a factor of five have too few such ticks; their axis is linear, from 0.
    """
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    if values.max() < 5 * values.min():
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(
        FuncFormatter(
            lambda value, _: np.format_float_positional(
                value, precision=3, fractional=False, trim="-"
            )
        )
    )
    axes.yaxis.set_minor_locator(NullLocator())


def shade(starts: Sequence[str]) -> dict[str, Any]:
    """A colour for each start in the order given, dark to light (viridis)."""
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, max(len(starts), 2)))
    return dict(zip(starts, shades, strict=False))


def whiskers(axes: Axes, mean: pd.DataFrame, x: str, colour: Any) -> None:
    """Intervals of single points, which a band cannot show."""
    lengths = [mean["value"] - mean["low"], mean["high"] - mean["value"]]
    axes.errorbar(mean[x], mean["value"], lengths, fmt="none", ecolor=colour, elinewidth=1.0)


def bold_and_ticks(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to draw with whiskers, and rows to draw as ticks.

    Whiskers go to the row over all seeds (without a `seed`) where there is one; otherwise to the
    rows of single seeds, and there are no ticks.
    """
    pooled = rows[rows["seed"].isna()]
    return (pooled, rows[rows["seed"].notna()]) if len(pooled) else (rows, pooled)


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows over all seeds where there are any, else those of single seeds."""
    return bold_and_ticks(rows)[0]


@dataclass(frozen=True)
class Mark:
    """One entry in a row of a forest plot: which rows it shows, and how they look."""

    rows: pd.DataFrame
    colour: str
    marker: str
    label: str | None = None


def forest(
    axes: Axes,
    lines: Sequence[Sequence[Mark]],
    columns: tuple[str, str, str] = ("difference", "low", "high"),
) -> None:
    """A forest plot: a band for each of `lines` from above, its marks side by side within.

    Args:
        axes: the vertical axis runs from the first line (0) down; its labels are the caller's.
        lines: for each line its marks; a mark may have no rows, which leaves its place empty.
        columns: of value and ends of the interval; rows without a value are not drawn.
    """
    value, low, high = columns
    for y, marks in enumerate(lines):
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", lw=0, zorder=0)
        for j, mark in enumerate(marks):
            place = y + 0.8 * ((j + 0.5) / len(marks) - 0.5)
            bold, ticks = bold_and_ticks(mark.rows[mark.rows[value].notna()])
            spread = 0.36 * (np.arange(1, len(bold) + 1) / (len(bold) + 1) - 0.5) / len(marks)
            axes.errorbar(
                bold[value],
                place + spread,
                xerr=[bold[value] - bold[low], bold[high] - bold[value]],
                fmt=mark.marker,
                color=mark.colour,
                lw=1.1 if len(bold) == 1 else 0.7,
                ms=6 if mark.marker == "." else 3.4,
                label=mark.label,
            )
            if len(ticks):
                at = [place] * len(ticks)
                axes.plot(ticks[value], at, "|", color=mark.colour, ms=4.5, mew=0.7)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.08)


def points_axis(axes: Axes, label: str) -> None:
    """A horizontal axis of differences between shares, in percentage points."""
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:+.3g}" if value else "0")
    )
    axes.set_xlabel(label)


def share_axis(axis: Axis) -> None:
    """An axis of shares printed in percent, not necessarily from 0."""
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))


def crosses(axes: Axes, points: pd.DataFrame) -> None:
    """Thin 95 % intervals on both axes, from columns with suffixes `_x` and `_y`."""
    axes.errorbar(
        points["value_x"],
        points["value_y"],
        [points["value_y"] - points["low_y"], points["high_y"] - points["value_y"]],
        [points["value_x"] - points["low_x"], points["high_x"] - points["value_x"]],
        fmt="none",
        ecolor=GREY,
        elinewidth=0.4,
        alpha=0.6,
        zorder=1,
    )


def name_marks(axes: Axes, named: Sequence[tuple[float, float, str]], marks: ArrayLike) -> None:
    """Names beside their marks, the first ones first, unless a name or mark is near.

    A name stands to the right of its mark, or where there is no room to the left.

    Args:
        axes: of a figure whose layout is known (`draw_without_rendering`).
        named: x, y and the name.
        marks: x and y of all marks, which names keep clear of.
    """
    panel, clear = axes.get_window_extent(), CLEAR * axes.figure.dpi / 72
    pixels = axes.transData.transform(np.asarray(marks, dtype=float))
    taken = [Bbox([mark - clear, mark + clear]) for mark in pixels]
    for x, y, name in named:
        for dx, dy, align in BESIDE:
            text = axes.annotate(
                name,
                (x, y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=align,
                va="center",
                fontsize=6,
                zorder=5,
            )
            box = text.get_window_extent()
            inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and box.y1 <= panel.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def panels_of(
    table: pd.DataFrame, axes: Sequence[Axes], places: Sequence[tuple[str, str]]
) -> Iterator[tuple[Axes, tuple[str, str], pd.DataFrame]]:
    """Each panel with its place, a (role, shift), and the rows of `table` there."""
    for panel, (role, shift) in zip(axes, places, strict=False):
        yield panel, (role, shift), table[(table["role"] == role) & (table["shift"] == shift)]
