"""How far do leading subspaces turn, and how far would noise have turned them?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from svdrift.figures import labels, style
from svdrift.figures.aggregate import ANY, beside_nulls, order, spectral_pairs, summary
from svdrift.spectra.moved import moved
from svdrift.story import Story


@style.styled
def draw(
    drift: pd.DataFrame, nulls: pd.DataFrame, matrices: pd.DataFrame, story: Story
) -> style.Drawing:
    """Mean principal angle of the top-k subspaces against k, by module, beside nulls.

    Rows: anchor to last, and the whole path.

    Args:
        drift: of `drift_tables`, with `pair`, `seed`, `before`, `after`.
        nulls: of the same, with `pair`, `seed`.
        matrices: `matrix_rows` with `checkpoint`, `seed`.
        story: names the pair that is shown where the anchor is the last checkpoint.
    """
    rows = moved(drift)
    pairs = spectral_pairs(rows, story)
    rows = rows[
        rows["pair"].isin(pairs) & (rows["measure"] == "mean_angle") & (rows["region"] == "top")
    ]
    by = ["pair", "side", "module", "stop"]
    table = beside_nulls(rows, nulls, by)
    layers = summary(rows.assign(value=rows["observed"]), [*by, "layer"], ANY)
    layers = layers[layers["seed"] == "mean"]
    modules = order(rows["module"], labels.MODULES)
    seeds = " and seeds" if labels.several(rows) else ""
    note = (
        f"{labels.matrices(rows)}. Bold: means over layers{seeds}; bands: from the lowest "
        f"to the highest layer{labels.singles(rows)}. Logarithmic axis; 90° is "
        "orthogonal. Below its dashed line an update has turned these directions less than "
        "isotropic noise."
    )
    figure, axes = style.panels(
        len(pairs),
        len(modules),
        0.85 + 1.6 * len(pairs),
        note=note,
        warning=labels.looks_random(matrices, [*rows["before"], *rows["after"]]),
        xlabel="k: share of the ranks, from the largest singular value (%)",
        sharex=True,
        sharey=True,
    )
    places = [(pair, module) for pair in pairs for module in modules]
    for i, (panel, (pair, module)) in enumerate(zip(axes, places, strict=True)):
        for side in labels.SIDE_LABELS:
            _side(panel, side, *(_at(part, pair, side, module) for part in (table, layers)))
        if i < len(modules):
            panel.set_title(module)
        if i % len(modules) == 0:
            panel.set_ylabel("mean angle\n" + labels.between(pair))
    angles = [*table.loc[table["series"] != "minus_isotropic", "value"], *layers["value"]]
    _angle_axis(axes[0], min(angles))
    axes[0].set_xlim(0, 1.05 * rows["stop"].max())
    axes[0].xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes[0].xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
    labels.nulls_legend(figure, table)
    return style.Drawing(figure, table)


def _at(table: pd.DataFrame, pair: str, side: str, module: str) -> pd.DataFrame:
    return table[
        (table["pair"] == pair) & (table["side"] == side) & (table["module"] == module)
    ].sort_values("stop")


def _side(axes: Axes, side: str, table: pd.DataFrame, layers: pd.DataFrame) -> None:
    colour = labels.SIDE_COLOURS[side]
    labels.rotation_lines(axes, table, "stop", side)
    spread = layers.groupby("stop")["value"].agg(["min", "max"])
    axes.fill_between(spread.index, spread["min"], spread["max"], color=colour, alpha=0.18, lw=0)


def _angle_axis(axes: Axes, least: float) -> None:
    """Degrees on a logarithmic axis, on which equal distances are equal ratios to a null."""
    axes.set_yscale("log")
    axes.set_ylim(0.8 * least, 100)
    axes.yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 45, 90]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda degrees, _: f"{degrees:g}°"))
