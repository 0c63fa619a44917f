"""What share of the lost OOD accuracy does each repair regain, and what does it do to ID?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from svdrift.figures import style
from svdrift.figures.aggregate import main_repair

PUBLISHED_SHARE = (0.7, 0.8)  # arXiv 2508.16546, abstract
COLUMNS = {
    "ood_test": ("recovered", "recovered_low", "recovered_high"),
    "id_test": ("difference", "low", "high"),
    "demonstrated": ("difference", "low", "high"),
}


@style.styled
def draw(effect: pd.DataFrame) -> style.Drawing:
    """Forest plot: a row for each intervention; OOD regained, and change of ID in points.

    Args:
        effect: one row an intervention: `repair`, `intervention`, `split`, `seed` (missing for all
            seeds together), `n`, `difference` to the target with `low`, `high`, and `recovered`
            with `recovered_low`, `recovered_high`, empty where nothing was clearly lost. A number
            over seeds is drawn where there is one, with single seeds as ticks; else every seed
            that has one, with its own interval.
    """
    repair = main_repair(effect)
    rows = effect[effect["repair"] == repair]
    pooled = rows[rows["seed"].isna()] if rows["seed"].isna().any() else rows
    interventions = sorted(pooled["intervention"].unique(), key=_place)
    note = (
        f"{style.repair(repair)}. {style.sample(rows[rows['seed'].notna()])}; ticks: single "
        "seeds. Whiskers: 95 % intervals, paired on the same hands, clustered by multiset. "
        "Recovered: 0 is the target, 100 % the anchor; where the loss over seeds is not clearly "
        "above 0, single seeds in which it is. Grey: 70 to 80 %, as published for the "
        "directions of the top 20 % of ranks and of the first 25 % of layers (arXiv 2508.16546)."
    )
    height = 1.25 + 0.135 * len(interventions)
    figure, axes = style.panels(1, 3, height, note=note, sharey=True, width_ratios=[1.5, 1, 1])
    shown = []
    for panel, (split, columns) in zip(axes, COLUMNS.items(), strict=True):
        part = rows[rows["split"] == split]
        shown.append(part)
        _forest(panel, part, interventions, columns)
        panel.set_title(style.SPLIT_LABELS[split])
    axes[0].set_title("OOD test: share of the loss recovered")
    axes[0].axvspan(*PUBLISHED_SHARE, color="#DDDDDD", lw=0, zorder=0)
    axes[0].axvline(1, color=style.GREEN, linestyle=style.END_LINES["anchor"], lw=1.0)
    axes[0].set_xlabel("(repaired − target) / (anchor − target)")
    axes[0].xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}%"))
    for panel in axes[1:]:
        panel.set_xlabel("repaired − target (points)")
        panel.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{100 * value:+.3g}" if value else "0")
        )
    axes[0].set_yticks(range(len(interventions)), interventions, fontsize=6.5)
    axes[0].set_ylim(len(interventions) - 0.5, -0.5)
    return style.Drawing(figure, pd.concat(shown, ignore_index=True))


def _kind(intervention: str) -> str:
    return intervention.split("-")[0]  # an id begins with its kind


def _place(intervention: str) -> tuple[int, bool, str]:
    kinds = list(style.KIND_LABELS)
    return kinds.index(_kind(intervention)), "layers" in intervention, intervention


def _forest(
    axes: Axes, rows: pd.DataFrame, interventions: Sequence[str], columns: Sequence[str]
) -> None:
    value, low, high = columns
    axes.axvline(0, color=style.GREEN, linestyle=style.END_LINES["target"], lw=1.2, zorder=1)
    for y, intervention in enumerate(interventions):
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color="#F6F6F6", lw=0, zorder=-1)
        part = rows[(rows["intervention"] == intervention) & rows[value].notna()]
        over_seeds = part[part["seed"].isna()]
        bold, dots = (
            (over_seeds, part[part["seed"].notna()]) if len(over_seeds) else (part, over_seeds)
        )
        kind = _kind(intervention)
        axes.errorbar(
            bold[value],
            y + 0.36 * (np.arange(1, len(bold) + 1) / (len(bold) + 1) - 0.5),
            xerr=[bold[value] - bold[low], bold[high] - bold[value]],
            fmt=style.KIND_MARKERS[kind],
            color=style.KIND_COLOURS[kind],
            lw=1.1 if len(bold) == 1 else 0.7,
            ms=6 if style.KIND_MARKERS[kind] == "." else 3.6,
        )
        axes.plot(dots[value], [y] * len(dots), "|", color=style.KIND_COLOURS[kind], ms=4, mew=0.6)
    if rows[value].isna().all():
        axes.text(0.5, 0.5, "nothing was\nclearly lost", transform=axes.transAxes, ha="center")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.06)
