"""Do head and tail of the spectrum rotate more than the bulk, and more than noise would?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from svdrift.figures import labels, style
from svdrift.figures.aggregate import beside_nulls, main_pair, order
from svdrift.spectra.moved import moved
from svdrift.story import Story


@style.styled
def draw(
    drift: pd.DataFrame, nulls: pd.DataFrame, matrices: pd.DataFrame, story: Story
) -> style.Drawing:
    """Angle of each window of the spectrum, by module, beside nulls; below, minus isotropic noise.

    Args:
        drift: of `drift_tables`, with `pair`, `seed`, `before`, `after`.
        nulls: of the same, with `pair`, `seed`.
        matrices: `matrix_rows` with `checkpoint`, `seed`.
        story: names the pair that is shown where the anchor is the last checkpoint.
    """
    rows = moved(drift)
    rows = rows[(rows["pair"] == main_pair(rows, story)) & (rows["measure"] == "window_angle")]
    rows = rows.assign(position=(rows["start"] + rows["stop"]) / 2)
    table = beside_nulls(rows, nulls, ["side", "module", "position"])
    modules = order(rows["module"], labels.MODULES)
    ends = rows.loc[rows["start"] == 0, "stop"].min(), rows.loc[rows["stop"] == 1, "start"].max()
    note = (
        f"{labels.matrices(rows)}. Means over layers{labels.singles(rows)}. Bands: 95 % intervals "
        "over draws of the isotropic noise. Shaded: head and tail (first and last window). Where "
        "neighbouring singular values are nearly equal, any change turns a window far."
    )
    figure, axes = style.panels(
        2,
        len(modules),
        3.7,
        note=note,
        warning=labels.looks_random(matrices, [*rows["before"], *rows["after"]]),
        xlabel="position in the spectrum (0: largest singular values)",
        sharex=True,
        sharey="row",
    )
    above, below = axes[: len(modules)], axes[len(modules) :]
    for module, top, bottom in zip(modules, above, below, strict=True):
        top.set_title(module)
        bottom.axhline(0, color=style.BLACK, lw=0.8, zorder=1)
        for side in labels.SIDE_LABELS:
            part = table[(table["module"] == module) & (table["side"] == side)]
            labels.rotation_lines(top, part, "position", side)
            _difference(bottom, part[part["series"] == "minus_isotropic"], side)
        for panel in (top, bottom):
            panel.axvspan(0, ends[0], color="#EFEFEF", lw=0, zorder=0)
            panel.axvspan(ends[1], 1, color="#EFEFEF", lw=0, zorder=0)
    axes[0].set_xlim(0, 1)
    axes[0].xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes[0].xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
    above[0].set_ylim(0, 90)
    above[0].yaxis.set_major_locator(FixedLocator([0, 30, 60, 90]))
    above[0].set_ylabel("angle of the window")
    below[0].set_ylabel("observed minus\nisotropic noise")
    for panel in (above[0], below[0]):
        panel.yaxis.set_major_formatter(FuncFormatter(lambda degrees, _: f"{degrees:g}°"))
    labels.nulls_legend(figure, table)
    return style.Drawing(figure, table)


def _difference(axes: Axes, part: pd.DataFrame, side: str) -> None:
    colour, options = labels.SIDE_COLOURS[side], labels.SIDE_OPTIONS[side]
    style.curve(axes, part, "position", colour=colour, label="_difference", **options)
