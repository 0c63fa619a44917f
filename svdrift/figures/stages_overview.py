"""Where do all stages lead? Every checkpoint of the study by ID and OOD accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svdrift.checkpoints import Checkpoint
from svdrift.figures import labels, style
from svdrift.figures.aggregate import first_tries, of, summary
from svdrift.story import Story

COLOURS = (  # for stages without a part in the story
    style.GREY,
    style.BROWN,
    style.PURPLE,
    style.ORANGE,
    style.GREEN,
    style.SKY,
    style.YELLOW,
    style.BLACK,
    style.BLUE,
    style.RED,
)


@style.styled
def draw(accuracy: pd.DataFrame, story: Story) -> style.Drawing:
    """ID test accuracy against OOD test accuracy; arrows lead along each run.

    Works for any graph of stages: several roots, cycles of SFT and RL to any depth.

    Args:
        accuracy: the accuracy table with `seed`, `checkpoint`, `stage`, `step`, `start`.
        story: labels of stages, and the colours of those with a part.
    """
    rows = first_tries(of(accuracy, "test", "id", "ood"))
    names = ["checkpoint", "stage", "step", "start"]
    rows = rows.assign(start=rows["start"].fillna(""))
    table = summary(rows, [*names, "shift"])
    points = _points(table, names)
    looks = _looks(story, points["stage"])
    note = (
        f"{labels.sample(rows)}. Up and to the right is better. Arrows: from each start along the "
        f"kept steps of a run; large: the end of a run. {labels.intervals(rows, 'Crosses')}. "
        "Named: roots and ends of runs, where there is room."
    )
    figure, (axes,) = style.panels(1, 1, 5.2, note=note)
    style.crosses(axes, points)
    ends = _ends(points)
    for stage, (colour, marker) in looks.items():
        own = points[points["stage"] == stage]
        name = labels.stage(story, stage)
        last = own["checkpoint"].isin(ends)
        for part, options in ((own[~last], {"ms": 3.6}), (own[last], {"ms": 6.5, "label": name})):
            if len(part):
                axes.plot(
                    part["value_x"],
                    part["value_y"],
                    marker,
                    color=colour,
                    mec="white",
                    mew=0.4,
                    zorder=3,
                    **options,
                )
    for axis in (axes.xaxis, axes.yaxis):
        style.share_axis(axis)
    axes.set_xlabel(f"accuracy, {labels.split(*labels.ID)}")
    axes.set_ylabel(f"accuracy, {labels.split(*labels.OOD)}")
    axes.margins(0.07)
    _arrows(axes, points, looks)
    style.legend(figure, columns=5)
    _name(figure, axes, points, ends)
    return style.Drawing(figure, table)


def _points(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """One row a checkpoint: means over seeds on both axes (suffixes `_x` and `_y`).

    Raises:
        ValueError: a checkpoint has one of ID and OOD test only.
    """
    mean = table[table["seed"] == "mean"]
    columns = ["checkpoint", "value", "low", "high"]
    one, other = mean[mean["shift"] == "id"], mean[mean["shift"] == "ood"]
    if odd := set(one["checkpoint"]) ^ set(other["checkpoint"]):
        raise ValueError(f"not on both ID and OOD test: {', '.join(sorted(odd))}")
    both = one[[*names, *columns[1:]]].merge(other[columns], on="checkpoint")
    return both.assign(depth=[len(Checkpoint.parse(c).way) for c in both["checkpoint"]])


def _looks(story: Story, stages: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each stage: the story's as everywhere, others from what is left.

    Raises:
        ValueError: there are more stages than looks.
    """
    present = list(dict.fromkeys(stages))
    path = Checkpoint.parse(story.last).stage
    known = {path: (labels.PATH_COLOUR, labels.PATH_MARKER)}
    known |= {look.role.stage: (look.colour, look.marker) for look in labels.ends(story)}
    known = {stage: look for stage, look in known.items() if stage in present}
    others = [stage for stage in present if stage not in known]
    colours = [c for c in COLOURS if c not in {colour for colour, _ in known.values()}]
    markers = [m for m in style.MARKERS[::-1] if m not in {marker for _, marker in known.values()}]
    if len(others) > len(colours) * len(markers):
        raise ValueError(f"too many stages to tell apart: {', '.join(present)}")
    each = len(colours)  # after as many, every colour comes again with the next marker
    return known | {
        stage: (colours[i % each], markers[(i % each + i // each) % len(markers)])
        for i, stage in enumerate(others)
    }


def _ends(points: pd.DataFrame) -> set[str]:
    """Roots, and the last kept checkpoint of every run."""
    last = points.groupby(["start", "stage"])["step"].transform("max")
    return set(points.loc[points["step"] == last, "checkpoint"])


def _arrows(axes: Axes, points: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    """Along each run: its start, then its kept checkpoints by step."""
    at = points.set_index("checkpoint")
    for (start, stage), run in points.groupby(["start", "stage"], sort=False):
        way = list(run.sort_values("step")["checkpoint"])
        if start in at.index:
            way = [str(start), *way]
        for a, b in pairwise(way):
            axes.annotate(
                "",
                xy=(at.loc[b, "value_x"], at.loc[b, "value_y"]),
                xytext=(at.loc[a, "value_x"], at.loc[a, "value_y"]),
                arrowprops={
                    "arrowstyle": "-|>,head_width=0.13,head_length=0.3",
                    "color": looks[str(stage)][0],
                    "lw": 0.8,
                    "alpha": 0.7,
                    "shrinkA": 2.5,
                    "shrinkB": 3,
                },
                zorder=2,
            )


def _name(figure: Figure, axes: Axes, points: pd.DataFrame, ends: set[str]) -> None:
    """Ids beside the marks of `ends`, those early on the way first, where there is room."""
    figure.draw_without_rendering()  # the layout decides where marks lie
    ordered = points[points["checkpoint"].isin(ends)].sort_values(["depth", "step"], kind="stable")
    named = zip(ordered["value_x"], ordered["value_y"], ordered["checkpoint"], strict=True)
    style.name_marks(axes, list(named), points[["value_x", "value_y"]].to_numpy(dtype=float))
