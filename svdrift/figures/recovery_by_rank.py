"""How many of the anchor's ranks bring OOD back, and what in them: directions, values, or both?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from svdrift.figures import style
from svdrift.figures.aggregate import main_repair, order, recoveries, summary, whole_depth

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
    splits = ["id_test", "ood_test"]
    rows = recoveries(recovery, splits)
    repair = main_repair(rows)
    rows = rows[rows["repair"] == repair]
    ends = rows[rows["intervention"].isin(list(style.END_LABELS))]
    ranked = whole_depth(rows)
    ranked = ranked[ranked["kind"].isin(["directions", "triplets", "values", "random_directions"])]
    # A variant takes ranks from one end; with some from both it has no place on this axis, and
    # one without any is the target, which every line starts from.
    ranked = ranked[(ranked["top"] == 0) != (ranked["bottom"] == 0)]
    ranked = ranked.assign(
        share=ranked["top"] + ranked["bottom"],
        series=ranked["kind"].where(ranked["bottom"] == 0, ranked["kind"] + FROM_BOTTOM),
    )
    targets = ends[ends["intervention"] == "target"]
    starts = [targets.assign(share=0.0, series=series) for series in ranked["series"].unique()]
    table = summary(pd.concat([ranked, *starts]), ["split", "series", "share"])
    end_table = summary(ends, ["split", "intervention"])
    note = (
        f"{style.repair(repair)}. {style.sample(rows)}. {style.BANDS}; {style.THIN}. Without any "
        f"rank every kind is the target. {style.PUBLISHED}."
    )
    figure, axes = style.panels(1, 3, 3.1, note=note)
    kinds = order(table["series"], list(style.KIND_LABELS))
    for panel, split in zip(axes, splits, strict=False):
        style.end_lines(panel, end_table[end_table["split"] == split])
        for series in kinds:
            part = table[(table["split"] == split) & (table["series"] == series)]
            _series(panel, part, series)
        panel.set_title(f"This study: {style.SPLIT_LABELS[split]}")
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
    style.curve(
        axes,
        part,
        "share",
        colour=style.KIND_COLOURS[kind],
        label=f"{kind}, smallest values" if bottom else style.KIND_LABELS[kind],
        marker=style.KIND_MARKERS[kind],
        linestyle="--" if bottom else "-",
        mfc="white" if bottom else style.KIND_COLOURS[kind],
        ms=4,
    )


def _published(axes: Axes, published: pd.DataFrame) -> pd.DataFrame:
    """Singular values only, by the published figures; returns what is drawn."""
    long = published.rename(columns={"id_accuracy": "id_test", "ood_accuracy": "ood_test"}).melt(
        ["model", "rank_k"], ["id_test", "ood_test"], "split", "value"
    )
    long = long.assign(value=long["value"] / 100, seed="published", series="values")
    for (model, (name, marker)), split in (
        (item, split) for item in PUBLISHED_MODELS.items() for split in ("id_test", "ood_test")
    ):
        part = long[(long["model"] == model) & (long["split"] == split)]
        colour = style.SPLIT_COLOURS[split]
        axes.plot(part["rank_k"], part["value"], color=colour, marker=marker, lw=1.2)
        axes.annotate(
            f"{name}, {'ID' if split == 'id_test' else 'OOD'}",
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
