"""Where in the model did training turn directions more, or less, than isotropic noise?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from svdrift.figures import labels, style
from svdrift.figures.aggregate import ANY, average, main_pair, order, summary
from svdrift.spectra.moved import moved
from svdrift.spectra.patterns import kind_of
from svdrift.story import Story

DIVERGING = "RdBu_r"
LETTERS = 24  # of the modules' names together that fit below a panel
MOST_WITH_NUMBERS = 8  # layers; cells of deeper models are too flat for digits

# One scale for all figures, so that noise is pale everywhere: linear up to the first number,
# logarithmic up to the second; and its ticks.
DEGREES = (1.0, 45.0, (1.0, 10.0))
SHARES = (0.01, 1.0, (0.01, 0.1))


@style.styled
def draw(drift: pd.DataFrame, matrices: pd.DataFrame, story: Story) -> style.Drawing:
    """Layer by module: rotation of the leading share, and energy off the diagonal, minus noise.

    Args:
        drift: of `drift_tables`, with `pair`, `seed`, `before`, `after`.
        matrices: `matrix_rows` with `checkpoint`, `seed`.
        story: names the pair that is shown where the anchor is the last checkpoint.
    """
    rows = moved(drift[drift["layer"].notna()])
    rows = rows[rows["pair"] == main_pair(rows, story)]
    angles = rows[(rows["measure"] == "mean_angle") & (rows["region"] == "top")]
    least = angles.groupby("module")["stop"].transform("min")  # rounded to whole ranks
    angles = angles[angles["stop"] == least]
    energy = rows[rows["measure"] == "energy_off_diagonal"]
    null = {
        column: f"minus_isotropic{end}"
        for column, end in (("value", ""), ("low", "_low"), ("high", "_high"))
    }
    rotation = f"Rotation of top {least.min():.0%}"
    parts = {
        f"{rotation} (U)\nminus isotropic noise": _take(angles[angles["side"] == "left"], **null),
        f"{rotation} (V)\nminus isotropic noise": _take(angles[angles["side"] == "right"], **null),
        "Energy off the diagonal\nminus isotropic noise": _take(energy, **null),
    }
    table = pd.concat([part.assign(panel=name) for name, part in parts.items()])
    kinds = rows["module"].map(kind_of)
    experts = bool((kinds != rows["module"]).any())
    if experts:
        table["module"] = table["module"].map(kind_of)
        table = average(table, ["panel", "layer", "module", "seed"], ANY)
    table = summary(table, ["panel", "layer", "module"], ANY)
    means = table[table["seed"] == "mean"]
    modules = order(kinds, labels.MODULES)
    layers = sorted(rows["layer"].astype(int).unique())
    unclear = "in brackets" if len(layers) <= MOST_WITH_NUMBERS else "crossed"
    note = (
        f"{labels.matrices(rows)}{', means' if labels.several(rows) or experts else ''}. "
        "Red: more than isotropic noise of the update's size, blue: less; "
        f"{unclear}: the 95 % interval over draws of the noise holds 0. "
        "Rotation: mean principal angle. Energy: share of the update that lies within the anchor's "
        "singular bases, but off their diagonal."
    )
    figure, axes = style.panels(
        1,
        len(parts),
        min(1.75 + 0.25 * len(layers), 6.0),
        note=note,
        warning=labels.looks_random(matrices, [*rows["before"], *rows["after"]]),
        sharey=True,
    )
    for panel, name in zip(axes, parts, strict=True):
        cells = means[means["panel"] == name]
        angle = name.startswith(rotation)
        same = means[means["panel"].str.startswith(rotation) == angle]
        digits = _digits((1 if angle else 100) * same["value"].abs().max())
        _map(panel, cells, layers, modules, digits, percent=not angle)
        panel.set_title(name, fontsize=7.5)
    axes[0].set_ylabel("layer")
    axes[0].yaxis.set_major_locator(MaxNLocator(12, integer=True))
    return style.Drawing(figure, table)


def _take(rows: pd.DataFrame, **columns: str) -> pd.DataFrame:
    """Rows with `layer`, `module`, `seed` and the columns named anew."""
    kept = {name: rows[column] for name, column in columns.items()}
    return rows[["layer", "module", "seed"]].assign(**kept)


def _map(
    axes: Axes,
    cells: pd.DataFrame,
    layers: list[int],
    modules: list[str],
    digits: int,
    *,
    percent: bool,
) -> None:
    linear, most, ticks = SHARES if percent else DEGREES
    scale = AsinhNorm(linear, -most, most)
    at = {(int(cell["layer"]), cell["module"]): cell for _, cell in cells.iterrows()}
    grid = np.full((len(layers), len(modules)), np.nan)
    for (layer, module), cell in at.items():
        grid[layers.index(layer), modules.index(module)] = cell["value"]
    extent = (-0.5, len(modules) - 0.5, layers[-1] + 0.5, layers[0] - 0.5)
    image = axes.imshow(grid, DIVERGING, norm=scale, aspect="auto", extent=extent)
    factor = 100 if percent else 1
    for (layer, module), cell in at.items():
        unclear = cell["low"] <= 0 <= cell["high"]
        text = f"{round(factor * cell['value'], digits) + 0.0:.{digits}f}"  # + 0.0: no minus zero
        if len(layers) > MOST_WITH_NUMBERS:
            text = "×" if unclear else ""
        elif unclear:
            text = f"({text})"
        place = float(scale(cell["value"]))
        light = 0.2 < place < 0.8
        axes.text(
            modules.index(module),
            layer,
            text,
            color=style.BLACK if light else "white",
            fontsize=5,
            ha="center",
            va="center",
        )
    axes.grid(visible=False)
    axes.set_xticks(
        range(len(modules)), modules, rotation=90 if len("".join(modules)) > LETTERS else 0
    )
    bar = axes.figure.colorbar(image, ax=axes, location="bottom", shrink=0.9, aspect=18)
    bar.outline.set_linewidth(0.4)
    bar.ax.xaxis.set_major_locator(FixedLocator([*(-tick for tick in ticks), 0, *ticks]))
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.xaxis.set_major_formatter(
        FuncFormatter(lambda v, _: f"{factor * v:{'+' if v else ''}.3g}{'%' if percent else '°'}")
    )


def _digits(largest: float) -> int:
    """Decimals that leave two or three digits of the largest value."""
    return 0 if largest >= 20 else 1 if largest >= 1 else 2
