"""Does RL undo what the stage before it did, or does it go elsewhere?"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from svdrift.figures import labels, style
from svdrift.figures.aggregate import ANY, average, order, summary
from svdrift.story import Story

UNDONE = {"value": "observed", "low": "minus_random_low", "high": "minus_random_high"}


@style.styled
def draw(updates: pd.DataFrame, story: Story) -> style.Drawing:
    """Angles between the updates of the path and of RL, and the share of the first that RL undoes.

    Args:
        updates: `update_rows` with `result` (id of RL's result) and `seed`.
        story: RL, the order of its starts, and the path's label.
    """
    rl, path = labels.rl_of(story).label, story.path_label
    rows = updates[updates["observed"].notna()]  # empty where an update left a matrix alone
    rows = rows.assign(origin=_origins(rows["result"], story))
    starts = order(rows["origin"], story.starts)
    colours = style.shade(starts)
    angles = rows[rows["measure"] == "mean_angle"]
    angles = pd.concat(
        [angles.assign(series=name, value=angles[name]) for name in ("observed", "random")]
    )
    angles = angles.assign(stop=angles["stop"].round(2))  # whole ranks of different matrices
    undone = rows[rows["measure"] == "undone"]
    undone = undone.assign(**{name: undone[column] for name, column in UNDONE.items()})
    undone = undone[undone["layer"].notna()]
    ratios = rows[rows["measure"] == "norm_ratio"].groupby("origin")["observed"].mean()

    tables = {
        "angle": _over_matrices(angles, ["series", "side", "origin", "stop"]),
        "undone by module": _over_matrices(undone, ["origin", "module"]),
        "undone by layer": _over_matrices(undone, ["origin", "layer"]),
    }
    count = rows[["layer", "module"]].drop_duplicates()
    note = (
        f"n = {len(count)} matrices that both updates changed; {labels.seeds(rows)}"
        f"{labels.singles(rows)}. "
        "Points: means over matrices. Whiskers and bands: 95 % intervals, from what a random "
        f"direction of the size of {rl} would undo. In brackets: norm of the update of {rl} over "
        f"that of {path} (mean), which the mean share cannot exceed."
    )
    figure, axes = style.panels(2, 2, 4.4, note=note)
    names = {
        start: f"from {labels.checkpoint(story, start)} (norm {ratios[start]:.2g})"
        for start in starts
    }
    markers = labels.mark_by_place(starts)
    for panel, (side, name) in zip(axes, labels.SIDE_LABELS.items(), strict=False):
        part = tables["angle"]
        part = part[part["side"] == side]
        _angles(panel, part, colours, names, markers)
        panel.set_title(f"Angle between the updates, {name}")
    _undone_by_module(axes[2], tables["undone by module"], colours, markers)
    axes[2].set_title(f"Share of the update of {path} undone, by module", fontsize=7.5)
    axes[2].set_xlabel("module")
    for start, colour in colours.items():
        part = tables["undone by layer"]
        part = part[part["origin"] == start]
        style.curve(
            axes[3], part, "layer", colour=colour, label=names[start], marker=markers[start]
        )
    axes[3].set_title(f"Share of the update of {path} undone, by layer", fontsize=7.5)
    axes[3].set_xlabel("layer")
    axes[3].xaxis.set_major_locator(MaxNLocator(8, integer=True))
    for panel in axes[2:]:
        panel.axhline(0, color=style.BLACK, lw=0.8, zorder=1)
        panel.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    style.legend(figure, axes[:1], columns=3)
    data = pd.concat([part.assign(panel=name) for name, part in tables.items()])
    return style.Drawing(figure, data)


def _origins(ends: pd.Series, story: Story) -> pd.Series:
    """Ids of the starts that RL's results come from.

    Raises:
        KeyError: one is no result of the story's RL.
    """
    origins = {end: start for start, end in labels.rl_of(story).results.items()}
    if unknown := set(ends) - set(origins):
        raise KeyError(f"not a result of the story's RL: {', '.join(sorted(unknown))}")
    return ends.map(origins)


def _over_matrices(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Means over matrices in each seed, and over seeds; columns `by`, `seed`, `value`, ..."""
    return summary(average(rows, [*by, "seed"], ANY), by, ANY)


def _angles(
    axes: Axes,
    table: pd.DataFrame,
    colours: dict[str, Any],
    names: dict[str, str],
    markers: dict[str, str],
) -> None:
    """Lines that coincide are thinner from one to the next, so that all are seen."""
    null = table[(table["series"] == "random") & (table["seed"] == "mean")]
    mean = null.groupby("stop")["value"].mean()
    axes.plot(mean.index, mean, ":", color=style.BLACK, lw=1.2, label="unrelated updates")
    for i, (start, colour) in enumerate(colours.items()):
        part = table[(table["series"] == "observed") & (table["origin"] == start)]
        looks = {"lw": 3.2 * 0.6**i, "ms": 6.5 * 0.75**i, "marker": markers[start]}
        style.curve(axes, part, "stop", colour=colour, label=names[start], **looks)
    axes.set_ylim(0, 92)
    axes.yaxis.set_major_locator(FixedLocator([0, 30, 60, 90]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda degrees, _: f"{degrees:g}°"))
    axes.set_xlim(0, 1.05 * table["stop"].max())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}"))
    axes.set_xlabel("k: share of the ranks of each update (%)")


def _undone_by_module(
    axes: Axes, table: pd.DataFrame, colours: dict[str, Any], markers: dict[str, str]
) -> None:
    modules = order(table["module"], labels.MODULES)
    step = 0.7 / max(len(colours), 2)
    for i, (start, colour) in enumerate(colours.items()):
        place = {m: j + (i - (len(colours) - 1) / 2) * step for j, m in enumerate(modules)}
        part = table[table["origin"] == start]
        mean = part[part["seed"] == "mean"]
        axes.errorbar(
            mean["module"].map(place),
            mean["value"],
            [mean["value"] - mean["low"], mean["high"] - mean["value"]],
            fmt=markers[start],
            color=colour,
            lw=1.1,
            zorder=3,
        )
        dots = part[part["seed"] != "mean"]
        if dots["seed"].nunique() > 1:
            axes.plot(dots["module"].map(place), dots["value"], "_", color=colour, ms=4, mew=0.7)
    axes.set_xticks(range(len(modules)), modules)
    axes.grid(visible=False, axis="x")
