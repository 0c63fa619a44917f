"""What share of the lost OOD accuracy does each repair regain, and what does it do to ID?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from svdrift.figures import labels, style
from svdrift.figures.aggregate import main_repair, of, order
from svdrift.recovery import kind as kinds

PUBLISHED_SHARE = (0.7, 0.8)  # arXiv 2508.16546, abstract
RECOVERED = ("recovered", "recovered_low", "recovered_high")
DIFFERENCE = ("difference", "low", "high")
SEEDS = "; where the loss over seeds is not clearly above 0, single seeds in which it is"  # drawn


@style.styled
def draw(effect: pd.DataFrame) -> style.Drawing:
    """Forest plot: a row for each intervention; OOD regained, and change of ID in points.

    Where nothing was clearly lost, the first panel shows the change of OOD in points instead.

    Args:
        effect: one row an intervention: `repair`, `intervention`, `role`, `shift`, `seed` (missing
            for all seeds together), `n`, `difference` to the target with `low`, `high`, and
            `recovered` with `recovered_low`, `recovered_high`, empty where nothing was clearly
            lost. A number over seeds is drawn where there is one, with single seeds as ticks; else
            every seed that has one, with its own interval.
    """
    repair = main_repair(effect)
    places = [labels.OOD, labels.ID, labels.FIT]
    rows = effect[effect["repair"] == repair]
    rows = pd.concat([of(rows, *place) for place in places])
    interventions = sorted(
        style.pooled(rows)["intervention"].unique(), key=lambda name: _place(rows, name)
    )
    lost = rows[(rows["role"] == "test") & (rows["shift"] == "ood")]["recovered"].notna().any()
    share = (
        f"Recovered: 0 is the target, 100 % the anchor{SEEDS if labels.several(rows) else ''}. "
        "Grey: 70 to 80 %, as published for the directions "
        "of the top 20 % of ranks and of the first 25 % of layers (arXiv 2508.16546)."
    )
    ours = rows[rows["seed"].notna()]
    note = (
        f"{labels.repair(repair)}. {labels.sample(ours)}{labels.singles(ours, 'ticks')}. "
        "Whiskers: 95 % intervals, paired on the same problems, clustered by group. "
        + (share if lost else "No share of the loss: nothing was clearly lost.")
    )
    height = 1.25 + 0.135 * len(interventions)
    figure, axes = style.panels(1, 3, height, note=note, sharey=True, width_ratios=[1.5, 1, 1])
    shown = []
    for panel, place, part in style.panels_of(rows, axes, places):
        shown.append(part)
        panel.axvline(0, color=style.GREEN, linestyle=labels.END_LINES["target"], lw=1.2, zorder=1)
        columns = RECOVERED if lost and place == labels.OOD else DIFFERENCE
        style.forest(panel, [[_mark(part, name)] for name in interventions], columns)
        panel.xaxis.set_major_locator(MaxNLocator(6 if place == labels.OOD else 4))
        panel.set_title(labels.split(*place))
        style.points_axis(panel, "repaired − target (points)")
        panel.xaxis.label.set_fontsize(6.5)
    if lost:
        _share(axes[0])
    axes[0].set_yticks(
        range(len(interventions)), map(labels.intervention, interventions), fontsize=6.5
    )
    return style.Drawing(figure, pd.concat(shown, ignore_index=True))


def _share(axes: Axes) -> None:
    axes.set_title(f"{labels.split(*labels.OOD)}: share of the loss recovered")
    axes.axvspan(*PUBLISHED_SHARE, color="#DDDDDD", lw=0, zorder=0)
    axes.axvline(1, color=style.GREEN, linestyle=labels.END_LINES["anchor"], lw=1.0)
    axes.set_xlabel("(repaired − target) / (anchor − target)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}%"))


def _place(rows: pd.DataFrame, intervention: str) -> tuple[int, bool, str]:
    found = order(rows["kind"], labels.KINDS)
    return found.index(_kind(rows, intervention)), "layers" in intervention, intervention


def _kind(rows: pd.DataFrame, intervention: str) -> str:
    return str(rows.loc[rows["intervention"] == intervention, "kind"].iloc[0])


def _mark(rows: pd.DataFrame, intervention: str) -> style.Mark:
    record = kinds.kind(_kind(rows, intervention))
    own = rows[rows["intervention"] == intervention]
    return style.Mark(own, record.colour, record.marker)
