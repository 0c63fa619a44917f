"""How many of the anchor's ranks bring OOD back, and what in them: directions, values, or both?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from svdrift.figures import labels, style
from svdrift.figures.aggregate import first_tries, main_repair, of, order, summary, whole_depth
from svdrift.recovery import kind as kinds

PUBLISHED_MODELS = {"llama-3.2-11b": ("Llama 11B", "o"), "qwen-2.5-7b": ("Qwen 7B", "^")}
FROM_BOTTOM = " from the bottom"


@style.styled
def draw(recovery: pd.DataFrame, published: pd.DataFrame) -> style.Drawing:
    """Accuracy against the share of ranks given back, by kind, beside the published control.

    Args:
        recovery: accuracies of the variants with `seed`, `repair`, `intervention` (its id, or
            `target`, `anchor`) and the choices of `Intervention`.
        published: `singular_value_control`.
    """
    places = [labels.ID, labels.OOD]
    rows = first_tries(of(recovery, "test", "id", "ood"))
    repair = main_repair(rows)
    rows = rows[rows["repair"] == repair]
    ends = rows[rows["intervention"].isin(list(labels.END_LABELS))]
    ranked = whole_depth(rows)
    ranked = ranked[ranked["kind"].map(lambda name: kinds.kind(name).ranked)]
    # A variant takes ranks from one end; with some from both it has no place on this axis, and
    # one without any is the target, which every line starts from.
    ranked = ranked[(ranked["top"] == 0) != (ranked["bottom"] == 0)]
    ranked = ranked.assign(
        share=ranked["top"] + ranked["bottom"],
        series=ranked["kind"].where(ranked["bottom"] == 0, ranked["kind"] + FROM_BOTTOM),
    )
    targets = ends[ends["intervention"] == "target"]
    starts = [targets.assign(share=0.0, series=series) for series in ranked["series"].unique()]
    table = summary(pd.concat([ranked, *starts]), ["role", "shift", "series", "share"])
    end_table = summary(ends, ["role", "shift", "intervention"])
    note = (
        f"{labels.repair(repair)}. {labels.sample(rows)}. {labels.intervals(rows)}"
        f"{labels.singles(rows)}. Without any rank every kind is the target. {labels.PUBLISHED}."
    )
    figure, axes = style.panels(1, 3, 3.1, note=note)
    shown = order(table["series"], labels.KINDS)
    for panel, place, part in style.panels_of(table, axes, places):
        labels.end_lines(panel, of(end_table, *place))
        for series in shown:
            _series(panel, part[part["series"] == series], series)
        panel.set_title(f"This study: {labels.split(*place)}")
        panel.set_xlim(0, 1.03)
        panel.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
        panel.set_xlabel("share of the ranks given back (%)")
        style.percent_axis(panel, "accuracy")
    other = _published(axes[2], published)
    style.legend(figure, axes[:2], columns=4)
    data = pd.concat([table, end_table, other], ignore_index=True)
    return style.Drawing(figure, data)


def _series(axes: Axes, part: pd.DataFrame, series: str) -> None:
    kind = series.removesuffix(FROM_BOTTOM)
    bottom = series != kind
    record = kinds.kind(kind)
    style.curve(
        axes,
        part,
        "share",
        colour=record.colour,
        label=f"{kind}, smallest values" if bottom else record.label,
        marker=record.marker,
        linestyle="--" if bottom else "-",
        mfc="white" if bottom else record.colour,
        ms=4,
    )


def _published(axes: Axes, published: pd.DataFrame) -> pd.DataFrame:
    """Singular values only, by the published figures; returns what is drawn."""
    long = published.rename(columns={"id_accuracy": "id", "ood_accuracy": "ood"}).melt(
        ["model", "rank_k"], ["id", "ood"], "shift", "value"
    )
    long = long.assign(
        value=long["value"] / 100, seed="published", series="values", role="published"
    )
    for (model, shift), part in long.groupby(["model", "shift"], sort=False):
        name, marker = PUBLISHED_MODELS[str(model)]
        colour = labels.SPLIT_COLOURS["test", str(shift)]
        axes.plot(part["rank_k"], part["value"], color=colour, marker=marker, lw=1.2)
        axes.annotate(
            f"{name}, {str(shift).upper()}",
            (part["rank_k"].max(), part["value"].iloc[-1]),
            xytext=(0, 7),
            textcoords="offset points",
            ha="right",
            fontsize=6.5,
            color=colour,
        )
    axes.set_title("Published: singular values only")
    axes.set_xlabel("ranks k given back")
    axes.set_xlim(0, 1.03 * long["rank_k"].max())
    style.percent_axis(axes, "accuracy")
    axes.set_ylim(top=0.1 + long["value"].max())
    return long
