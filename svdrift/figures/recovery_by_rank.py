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
        f"{labels.repair(repair)}. {labels.sample(rows)}. "
        f"{labels.intervals(rows, 'Bands and whiskers')}"
        f"{labels.singles(rows, 'thin lines, of directions alone')}. "
        f"Without any rank every kind is the target. {labels.PUBLISHED}."
    )
    figure, axes = style.panels(1, 3, 3.1, note=note)
    shown = order(table["series"], labels.KINDS)
    for panel, place, part in style.panels_of(table, axes, places):
        labels.end_lines(panel, of(end_table, *place))
        for series in shown:
            _series(panel, part[part["series"] == series], series, bold=series == shown[0])
        panel.set_title(f"This study: {labels.split(*place)}")
        _rank_axis(panel)
        style.percent_axis(panel, "accuracy")
    top = max(panel.get_ylim()[1] for panel in axes[:2])
    for panel in axes[:2]:
        panel.set_ylim(0, top)
    other = _published(axes[2], published)
    style.legend(figure, axes[:2], columns=4)
    data = pd.concat([table, end_table, other], ignore_index=True)
    return style.Drawing(figure, data)


def _series(axes: Axes, part: pd.DataFrame, series: str, *, bold: bool) -> None:
    """A line with its band and seeds if it is `bold`, else with whiskers: bands would pile up."""
    kind = series.removesuffix(FROM_BOTTOM)
    bottom = series != kind
    record = kinds.kind(kind)
    mean = part[part["seed"] == "mean"]
    if not bold:
        style.whiskers(axes, mean[mean["share"] > 0], "share", record.colour)
    style.curve(
        axes,
        part if bold else mean.drop(columns=["low", "high"]),
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
        value=long["value"] / 100,
        share=long["rank_k"] / long.groupby("model")["rank_k"].transform("max"),  # all are the last
        seed="published",
        series="values",
        role="published",
    )
    ends = long[long["share"] == 1]["value"]
    for (model, shift), part in long.groupby(["model", "shift"], sort=False):
        name, marker = PUBLISHED_MODELS[str(model)]
        colour = labels.SPLIT_COLOURS["test", str(shift)]
        axes.plot(part["share"], part["value"], color=colour, marker=marker, lw=1.2)
        lowest = part["value"].iloc[-1] == ends.min()
        axes.annotate(
            f"{name}, {str(shift).upper()}",
            (1.0, part["value"].iloc[-1]),
            xytext=(0, -8 if lowest else 7),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=6.5,
            color=colour,
        )
    axes.set_title("Published: singular values only")
    _rank_axis(axes)
    style.percent_axis(axes, "accuracy")
    axes.set_ylim(top=0.1 + long["value"].max())
    return long


def _rank_axis(axes: Axes) -> None:
    axes.set_xlim(0, 1.03)
    axes.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
    axes.set_xlabel("share of the ranks given back (%)")
