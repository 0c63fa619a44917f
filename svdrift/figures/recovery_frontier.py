"""What does it cost to bring OOD back? Every repair on one plane, plain interpolation included."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from svdrift.figures import style
from svdrift.figures.aggregate import main_repair, order, recoveries, summary, whole_depth

COSTS = ("demonstrated", "id_test")  # what may be lost, one row of panels each
NAMES = {"last": "last SFT checkpoint", "anchor": "OOD peak of SFT"}
LEAST_SPAN = 0.1
ENDS = list(style.END_LABELS)


@style.styled
def draw(recovery: pd.DataFrame) -> style.Drawing:
    """OOD accuracy against ID accuracy of every intervention; a column of panels for each repair.

    Args:
        recovery: accuracies of the variants with `seed`, `repair`, `intervention` (its id, or
            `target`, `anchor`) and the choices of `Intervention`.
    """
    rows = recoveries(recovery, [*COSTS, "ood_test"])
    repairs = order(rows["repair"], [main_repair(rows)])
    table = summary(rows, ["repair", "split", "intervention"])
    choices = rows.drop_duplicates(["repair", "intervention"]).assign(
        path=whole_depth(rows)["kind"]  # aligned by row: those that lie on a path over all layers
    )
    choices = choices[["repair", "intervention", "kind", "path", "top", "bottom", "weight"]]
    note = (
        f"{style.sample(rows)}. Up and to the right is better. Thin crosses: 95 % intervals over "
        "hands, clustered by multiset, averaged over seeds. Lines: interpolation from target to "
        "anchor; directions of the top ranks, the more the further from the target. Hollow: some "
        "layers or modules only, or the smallest singular values."
    )
    figure, axes = style.panels(2, len(repairs), 4.9, note=note, sharey="col")
    places = [(cost, repair) for cost in COSTS for repair in repairs]
    for i, (panel, (cost, repair)) in enumerate(zip(axes, places, strict=True)):
        part = table[table["repair"] == repair].merge(choices, on=["repair", "intervention"])
        _plane(panel, _points(part, cost))
        panel.set_xlabel(f"accuracy, {style.SPLIT_LABELS[cost]}")
        if i < len(repairs):
            panel.set_title(_title(repair), fontsize=7.5)
        if i % len(repairs) == 0:
            panel.set_ylabel("accuracy, OOD test")
    style.legend(figure, columns=4)
    return style.Drawing(figure, table.merge(choices, on=["repair", "intervention"]))


def _title(repair: str) -> str:
    target, anchor = (NAMES.get(name, name) for name in repair.split("-with-"))
    return f"Target: {target}\nAnchor: {anchor}"


def _points(part: pd.DataFrame, cost: str) -> pd.DataFrame:
    """One row an intervention: means over seeds on both axes (suffixes `_x` and `_y`)."""
    mean = part[part["seed"] == "mean"]
    other = mean.loc[mean["split"] == "ood_test", ["intervention", "value", "low", "high"]]
    return mean[mean["split"] == cost].merge(other, on="intervention")


def _plane(axes: Axes, points: pd.DataFrame) -> None:
    axes.errorbar(
        points["value_x"],
        points["value_y"],
        [points["value_y"] - points["low_y"], points["high_y"] - points["value_y"]],
        [points["value_x"] - points["low_x"], points["high_x"] - points["value_x"]],
        fmt="none",
        ecolor=style.GREY,
        elinewidth=0.4,
        alpha=0.6,
        zorder=1,
    )
    ends = points[points["intervention"].isin(ENDS)].set_index("intervention")
    for kind, label in style.KIND_LABELS.items():
        part = points[points["kind"] == kind]
        colour, marker = style.KIND_COLOURS[kind], style.KIND_MARKERS[kind]
        whole = part["path"].eq(kind) & part["bottom"].eq(0)
        if kind in ("interpolate", "directions"):
            path = pd.concat([ends.loc[["target"]], part[whole].sort_values(["weight", "top"])])
            if kind == "interpolate":
                path = pd.concat([path, ends.loc[["anchor"]]])
            axes.plot(path["value_x"], path["value_y"], color=colour, lw=0.9, zorder=2)
        for chosen, fill in ((part[whole], colour), (part[~whole], "white")):
            axes.plot(
                chosen["value_x"],
                chosen["value_y"],
                marker,
                color=colour,
                mfc=fill,
                ms=7 if marker == "." else 4.5,
                mew=0.9,
                label=label,
                zorder=3,
            )
    for end, marker in style.END_MARKERS.items():
        point = ends.loc[end]
        axes.plot(
            point["value_x"],
            point["value_y"],
            marker,
            color=style.GREEN,
            mec="white",
            mew=0.5,
            ms=10 if marker == "*" else 7.5,
            label=style.END_LABELS[end],
            zorder=4,
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    axes.margins(0.06)
    low, high = axes.get_xlim()
    if high - low < LEAST_SPAN:  # or chance differences would fill the panel
        high = min((low + high + LEAST_SPAN) / 2, 1.01)
        axes.set_xlim(high - LEAST_SPAN, high)
