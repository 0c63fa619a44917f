"""Which layers bring OOD back?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from svdrift.figures import style
from svdrift.figures.aggregate import main_repair, recoveries, summary

SHIFTS = {"directions": -0.008, "reset": 0.008}  # so that whiskers of one block stand apart


@style.styled
def draw(recovery: pd.DataFrame) -> style.Drawing:
    """Accuracy by the block of layers that gets all directions, or the whole weights, of anchor.

    Args:
        recovery: accuracies of the variants with `seed`, `repair`, `intervention` (its id, or
            `target`, `anchor`) and the choices of `Intervention`.
    """
    splits = ["demonstrated", "id_test", "ood_test"]
    rows = recoveries(recovery, splits)
    repair = main_repair(rows)
    rows = rows[rows["repair"] == repair]
    ends = rows[rows["intervention"].isin(list(style.END_LABELS))]
    blocks = rows[
        ((rows["kind"] == "directions") & (rows["top"] == 1) | (rows["kind"] == "reset"))
        & (rows["modules"] == "all")
        & rows["embedding_and_head"].eq(True)
        & rows["full_rank_reset"].eq(False)
    ]
    table = summary(blocks, ["split", "kind", "layers_start", "layers_stop"])
    end_table = summary(ends, ["split", "intervention"])
    note = (
        f"{style.repair(repair)}. {style.sample(rows)}. Each bar spans the layers that were given "
        "back, with embedding and head. Whiskers and bands: 95 % intervals over hands, clustered "
        "by multiset, averaged over seeds; dots: single seeds. Vertical axes do not begin at 0."
    )
    figure, axes = style.panels(1, 3, 2.9, note=note, sharex=True)
    for panel, split in zip(axes, splits, strict=True):
        style.end_lines(panel, end_table[end_table["split"] == split])
        for kind, shift in SHIFTS.items():
            _blocks(panel, table[(table["split"] == split) & (table["kind"] == kind)], kind, shift)
        panel.set_title(style.SPLIT_LABELS[split])
        panel.set_xlim(-0.01, 1.01)
        panel.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
        panel.set_xlabel("layers, from the first (% of depth)")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
        panel.set_ylabel("accuracy")
    style.legend(figure)
    return style.Drawing(figure, pd.concat([table, end_table], ignore_index=True))


def _blocks(axes: Axes, part: pd.DataFrame, kind: str, shift: float) -> None:
    if part.empty:
        return
    part = part.assign(middle=(part["layers_start"] + part["layers_stop"]) / 2 + shift)
    mean = part[part["seed"] == "mean"]
    colour = style.KIND_COLOURS[kind]
    axes.hlines(mean["value"], mean["layers_start"], mean["layers_stop"], color=colour, lw=2.2)
    axes.errorbar(
        mean["middle"],
        mean["value"],
        [mean["value"] - mean["low"], mean["high"] - mean["value"]],
        fmt=style.KIND_MARKERS[kind],
        color=colour,
        lw=1.0,
        ms=4,
        label=style.KIND_LABELS[kind] + (", all ranks" if kind == "directions" else ""),
        zorder=3,
    )
    dots = part[part["seed"] != "mean"]
    if dots["seed"].nunique() > 1:
        axes.plot(dots["middle"], dots["value"], ".", color=colour, ms=2.5, mfc="white", mew=0.5)
