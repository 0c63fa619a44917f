"""What does it cost to bring OOD back? Every repair on one plane, plain interpolation included."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.axes import Axes

from svdrift.checkpoints import ANCHOR, LAST
from svdrift.figures import labels, style
from svdrift.figures.aggregate import first_tries, main_repair, of, order, summary, whole_depth
from svdrift.recovery import kind as kinds
from svdrift.story import Story

COSTS = (labels.FIT, labels.ID)  # what may be lost, one row of panels each
LEAST_SPAN = 0.1
TITLE = 110  # letters that fit over all panels of a row
ENDS = list(labels.END_LABELS)


@style.styled
def draw(recovery: pd.DataFrame, story: Story) -> style.Drawing:
    """OOD accuracy against ID accuracy of every intervention; a column of panels for each repair.

    Args:
        recovery: accuracies of the variants with `seed`, `repair`, `intervention` (its id, or
            `target`, `anchor`) and the choices of `Intervention`.
        story: labels of stages.
    """
    rows = pd.concat([of(first_tries(recovery), *place) for place in (*COSTS, labels.OOD)])
    repairs = order(rows["repair"], [main_repair(rows)])
    table = summary(rows, ["repair", "role", "shift", "intervention"])
    choices = rows.drop_duplicates(["repair", "intervention"]).assign(
        path=whole_depth(rows)["kind"]  # aligned by row: those that lie on a path over all layers
    )
    choices = choices[["repair", "intervention", "kind", "path", "top", "bottom", "weight"]]
    note = (
        f"{labels.sample(rows)}. Up and to the right is better. "
        f"{labels.intervals(rows, 'Thin crosses')}. Lines: interpolation from target to "
        "anchor; directions of the top ranks, the more the further from the target. Hollow: some "
        "layers or modules only, or the smallest singular values; named where there is room."
    )
    figure, axes = style.panels(2, len(repairs), 4.9, note=note, sharey="col")
    places = [(cost, repair) for cost in COSTS for repair in repairs]
    for i, (panel, (cost, repair)) in enumerate(zip(axes, places, strict=True)):
        part = table[table["repair"] == repair].merge(choices, on=["repair", "intervention"])
        _plane(panel, _points(part, cost))
        panel.set_xlabel(f"accuracy, {labels.split(*cost)}")
        if i < len(repairs):
            panel.set_title(_title(repair, story, TITLE // len(repairs)), fontsize=7)
        if i % len(repairs) == 0:
            panel.set_ylabel(f"accuracy, {labels.split(*labels.OOD)}")
    style.legend(figure, columns=4)
    figure.draw_without_rendering()  # the layout decides where marks lie
    for i, (panel, (cost, repair)) in enumerate(zip(axes, places, strict=True)):
        if i % len(repairs) == 0:
            part = table[table["repair"] == repair].merge(choices, on=["repair", "intervention"])
            _name_hollow(panel, _points(part, cost))
    return style.Drawing(figure, table.merge(choices, on=["repair", "intervention"]))


def _title(repair: str, story: Story, width: int) -> str:
    target, anchor = (_name(end, story) for end in repair.split("-with-"))
    lines = (f"Target: {target}", f"Anchor: {anchor}")
    return "\n".join(textwrap.fill(line, width) for line in lines)


def _name(end: str, story: Story) -> str:
    if end == ANCHOR:
        return f"OOD peak of {story.path_label}"
    return f"last of {story.path_label}" if end == LAST else labels.checkpoint(story, end)


def _points(part: pd.DataFrame, cost: tuple[str, str]) -> pd.DataFrame:
    """One row an intervention: means over seeds on both axes (suffixes `_x` and `_y`)."""
    mean = part[part["seed"] == "mean"]
    other = of(mean, *labels.OOD)[["intervention", "value", "low", "high"]]
    return of(mean, *cost).merge(other, on="intervention")


def _plane(axes: Axes, points: pd.DataFrame) -> None:
    style.crosses(axes, points)
    ends = points[points["intervention"].isin(ENDS)].set_index("intervention")
    for kind in order(points["kind"].dropna(), labels.KINDS):
        part, record = points[points["kind"] == kind], kinds.kind(kind)
        colour, marker, label = record.colour, record.marker, record.label
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
    for end, marker in labels.END_MARKERS.items():
        point = ends.loc[end]
        axes.plot(
            point["value_x"],
            point["value_y"],
            marker,
            color=style.GREEN,
            mec="white",
            mew=0.5,
            ms=10 if marker == "*" else 7.5,
            label=labels.END_LABELS[end],
            zorder=4,
        )
    for axis in (axes.xaxis, axes.yaxis):
        style.share_axis(axis)
    axes.margins(0.06)
    low, high = axes.get_xlim()
    if high - low < LEAST_SPAN:  # or chance differences would fill the panel
        high = min((low + high + LEAST_SPAN) / 2, 1.01)
        axes.set_xlim(high - LEAST_SPAN, high)


def _name_hollow(axes: Axes, points: pd.DataFrame) -> None:
    """What the hollow marks were given, such as `layers 0–25 %`."""
    acted = points[~points["intervention"].isin(ENDS)]
    hollow = acted[~(acted["path"].eq(acted["kind"]) & acted["bottom"].eq(0))]
    named = [
        (x, y, ", ".join(word for word in labels.chosen(name) if word != "all ranks"))
        for x, y, name in zip(
            hollow["value_x"], hollow["value_y"], hollow["intervention"], strict=True
        )
    ]
    style.name_marks(axes, named, points[["value_x", "value_y"]].to_numpy(dtype=float))
