"""How little do singular values change? A few spectra, and their change on an axis of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from svdrift.figures import labels, style
from svdrift.figures.aggregate import ANY, main_pair, order, summary
from svdrift.spectra.moved import moved
from svdrift.story import Story

PUBLISHED_MODULES = ("q", "k", "v", "down")
PLACE = ["layer", "module", "index"]
CHANGE = style.PURPLE


@style.styled
def draw(
    value_changes: pd.DataFrame,
    drift: pd.DataFrame,
    spectrum: pd.DataFrame,
    matrices: pd.DataFrame,
    story: Story,
) -> style.Drawing:
    """Singular values (dashed, left axis) and their change (right axis) between two checkpoints.

    The first and the last layer, and of the modules those of the published figure first.

    Args:
        value_changes: `value_change_rows` with `pair`, `seed`, `before`, `after`.
        drift: of `drift_tables`, with `pair`, `seed`; of it what moved, and `value_change`.
        spectrum: `spectrum_rows` with `checkpoint`, `seed`; of it `law`, at the checkpoint before.
        matrices: `matrix_rows` with `checkpoint`, `seed`.
        story: names the pair that is shown where the anchor is the last checkpoint.
    """
    pair = main_pair(moved(drift), story)
    changes = value_changes[(value_changes["pair"] == pair) & value_changes["layer"].notna()]
    modules = order(changes["module"], [*PUBLISHED_MODULES, *labels.MODULES])[:4]
    layers = sorted({int(changes["layer"].min()), int(changes["layer"].max())})
    changes = changes[changes["module"].isin(modules) & changes["layer"].isin(layers)]
    law = spectrum.rename(columns={"checkpoint": "before"})[["seed", "before", *PLACE, "law"]]
    series = changes.merge(law, on=["seed", "before", *PLACE]).melt(
        ["seed", *PLACE], ["value_before", "law", "change"], "series"
    )
    table = summary(series, ["series", *PLACE], ANY)
    sizes = drift[(drift["pair"] == pair) & (drift["measure"] == "value_change")]
    observed, noise = (
        sizes.groupby(["layer", "module"])[c].mean() for c in ("observed", "isotropic")
    )

    several = labels.several(changes)
    note = (
        f"{labels.matrices(changes)}{'; means bold' if several else ''}"
        f"{labels.singles(changes)}. Percent: norm of all changes "
        "over norm of all values; in brackets for isotropic noise of the update's size. Left and "
        "right axes differ in scale. Law: Marchenko-Pastur, at the matrix's shape and norm."
    )
    figure, axes = style.panels(
        len(layers),
        len(modules),
        0.95 + 1.45 * len(layers),
        note=note,
        warning=labels.looks_random(matrices, [*changes["before"], *changes["after"]]),
    )
    places = [(layer, module) for layer in layers for module in modules]
    rooms = []
    for i, (panel, (layer, module)) in enumerate(zip(axes, places, strict=True)):
        part = table[(table["layer"] == layer) & (table["module"] == module)]
        beside = _spectrum_and_change(panel, part)
        rooms.append((beside, part.loc[part["series"] == "change", "value"]))
        place = (layer, module)
        panel.set_title(
            f"{module}, layer {layer}: {observed[place]:.2%} ({noise[place]:.2%})",
            fontsize=7,
        )
        if i % len(modules) == 0:
            panel.set_ylabel("singular value")
        if i % len(modules) == len(modules) - 1:
            beside.set_ylabel("change", color=CHANGE)
        if i >= len(modules) * (len(layers) - 1):
            panel.set_xlabel("rank (0 is the largest)")
    _align_zeros(rooms)
    style.legend(figure)
    return style.Drawing(figure, table)


def _spectrum_and_change(axes: Axes, part: pd.DataFrame) -> Axes:
    """Draw one matrix; returns the right axis."""
    means = {name: rows for name, rows in part[part["seed"] == "mean"].groupby("series")}
    value, law = means["value_before"], means["law"]
    axes.plot(law["index"], law["value"], color=style.GREY, lw=0.8, label="law of a random matrix")
    axes.plot(
        value["index"],
        value["value"],
        "--",
        color=style.BLACK,
        lw=1.2,
        label="singular values before",
    )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    beside: Axes = axes.twinx()
    axes.set_zorder(beside.get_zorder() + 1)  # the spectrum stays visible where both lie
    axes.patch.set_visible(False)
    axes.grid(visible=False)
    beside.axhline(0, color=CHANGE, lw=0.5, alpha=0.5)
    change = part[part["series"] == "change"]
    style.curve(
        beside, change, "index", colour=CHANGE, label="change (right axis)", marker=None, lw=0.8
    )
    beside.grid(visible=False)
    beside.spines["right"].set(visible=True, color=CHANGE)
    beside.tick_params(axis="y", colors=CHANGE)
    beside.yaxis.set_major_locator(MaxNLocator(4))
    beside.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:+.2g}" if v else "0"))
    return beside


def _align_zeros(rooms: Sequence[tuple[Axes, pd.Series]]) -> None:
    """Right axes whose zero lies at one height in all panels, each as large as its changes."""
    highest = [max(values.max(), 0.0) for _, values in rooms]
    lowest = [max(-values.min(), 0.0) for _, values in rooms]
    below = max(low / max(low, high, 1e-12) for low, high in zip(lowest, highest, strict=True))
    above = max(high / max(low, high, 1e-12) for low, high in zip(lowest, highest, strict=True))
    for (axes, _), low, high in zip(rooms, lowest, highest, strict=True):
        size = 1.08 * max(low, high, 1e-12)
        axes.set_ylim(-below * size, above * size)
