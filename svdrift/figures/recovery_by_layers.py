"""Which layers bring OOD back?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from svdrift.figures import labels, style
from svdrift.figures.aggregate import first_tries, main_repair, of, summary
from svdrift.recovery import kind as kinds

SHIFTS = {"directions": -0.03, "reset": 0.03}  # so that whiskers of one block stand apart


@style.styled
def draw(recovery: pd.DataFrame) -> style.Drawing:
    """Accuracy by the block of layers that gets all directions, or the whole weights, of anchor.

    Args:
        recovery: accuracies of the variants with `seed`, `repair`, `intervention` (its id, or
            `target`, `anchor`) and the choices of `Intervention`.
    """
    rows = first_tries(recovery)
    repair = main_repair(rows)
    rows = rows[rows["repair"] == repair]
    places = [labels.FIT, labels.ID, labels.OOD]
    rows = pd.concat([of(rows, *place) for place in places])
    ends = rows[rows["intervention"].isin(list(labels.END_LABELS))]
    blocks = rows[
        ((rows["kind"] == "directions") & (rows["top"] == 1) | (rows["kind"] == "reset"))
        & (rows["modules"] == "all")
        & rows["embedding_and_head"].eq(True)
        & rows["full_rank_reset"].eq(False)
    ]
    table = summary(blocks, ["role", "shift", "kind", "layers_start", "layers_stop"])
    end_table = summary(ends, ["role", "shift", "intervention"])
    note = (
        f"{labels.repair(repair)}. {labels.sample(rows)}. Each bar spans the layers that were "
        f"given back, with embedding and head. {labels.intervals(rows, 'Whiskers and bands')}"
        f"{labels.singles(rows, 'dots')}. Vertical axes do not begin at 0."
    )
    figure, axes = style.panels(1, 3, 2.9, note=note, sharex=True)
    for panel, place, part in style.panels_of(table, axes, places):
        for kind, shift in SHIFTS.items():
            _blocks(panel, part[part["kind"] == kind], kind, shift)
        labels.end_lines(panel, of(end_table, *place), zorder=2.5)  # above bars, below marks
        panel.set_title(labels.split(*place))
        panel.set_xlim(-0.01, 1.01)
        panel.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
        panel.set_xlabel("layers, from the first (% of depth)")
        style.share_axis(panel.yaxis)
        panel.set_ylabel("accuracy")
    style.legend(figure)
    return style.Drawing(figure, pd.concat([table, end_table], ignore_index=True))


def _blocks(axes: Axes, part: pd.DataFrame, kind: str, shift: float) -> None:
    if part.empty:
        return
    part = part.assign(middle=(part["layers_start"] + part["layers_stop"]) / 2 + shift)
    mean = part[part["seed"] == "mean"]
    record = kinds.kind(kind)
    colour = record.colour
    axes.hlines(mean["value"], mean["layers_start"], mean["layers_stop"], color=colour, lw=2.2)
    axes.errorbar(
        mean["middle"],
        mean["value"],
        [mean["value"] - mean["low"], mean["high"] - mean["value"]],
        fmt=record.marker,
        color=colour,
        lw=1.0,
        ms=4,
        label=record.label + (", all ranks" if kind == "directions" else ""),
        zorder=3,
    )
    dots = part[part["seed"] != "mean"]
    if dots["seed"].nunique() > 1:
        axes.plot(dots["middle"], dots["value"], ".", color=colour, ms=2.5, mfc="white", mew=0.5)
