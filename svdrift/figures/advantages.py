"""What RL learns from: the distribution of advantages, by the checkpoint that RL starts from."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from svdrift.figures import labels, style
from svdrift.figures.aggregate import order
from svdrift.story import Story


@style.styled
def draw(advantages: pd.DataFrame, story: Story) -> style.Drawing:
    """One row of density for each start, on a common scale; seeds pooled.

    Args:
        advantages: `stage`, `start` (id of the run's start), `seed`, `bin_low`, `bin_high` (in
            units of reward, the same bins for all), `count`. Rows of the story's RL are used.
        story: its RL, and the order of RL's starts.
    """
    rl = labels.rl_of(story)
    own = advantages[advantages["stage"] == rl.stage]
    if own.empty:
        raise ValueError(f"no advantages of stage {rl.stage}")
    pooled = _pooled(own)
    total = pooled.groupby("start")["count"].transform("sum")
    pooled = pooled.assign(
        density=pooled["count"] / total / (pooled["bin_high"] - pooled["bin_low"])
    )
    starts = order(pooled["start"], story.starts)
    colours = style.shade(starts)
    together = ", pooled" if labels.several(own) else ""
    note = (
        f"{labels.seeds(own)}{together}. Advantages before normalisation over the batch. "
        "All rows have one scale, and areas of 1."
    )
    height = 0.75 + 0.42 * len(starts)
    figure, axes = style.panels(
        len(starts), 1, height, width=style.COLUMN, note=note, sharex=True, sharey=True
    )
    for panel, start in zip(axes, starts, strict=True):
        part = pooled[pooled["start"] == start].sort_values("bin_low")
        edges = np.append(part["bin_low"].to_numpy(), part["bin_high"].iloc[-1])
        panel.stairs(part["density"], edges, fill=True, color=colours[start], alpha=0.8)
        panel.axvline(0, color=style.BLACK, lw=0.6)
        panel.yaxis.set_major_locator(MaxNLocator(2))
        panel.grid(visible=False)
        title = (
            f"{rl.label} from {labels.checkpoint(story, start)} (n = {part['count'].sum():,.0f})"
        )
        panel.set_title(title, fontsize=7, pad=1)
        panel.tick_params(bottom=panel is axes[-1])
    density = figure.supylabel("density", fontsize=7)
    axes[-1].set_xlabel("advantage (units of reward)")
    figure.draw_without_rendering()  # the layout decides where panels lie
    density.set_y((axes[0].get_position().y1 + axes[-1].get_position().y0) / 2)
    return style.Drawing(figure, pooled)


def _pooled(histograms: pd.DataFrame) -> pd.DataFrame:
    """Counts over all seeds and updates, in the same bins for every start, empty ones included."""
    width = (histograms["bin_high"] - histograms["bin_low"]).min()
    number = (histograms["bin_low"] / width).round().astype(int)
    every = range(number.min(), number.max() + 1)
    starts = sorted(histograms["start"].unique())
    index = pd.MultiIndex.from_product([starts, every], names=["start", "bin"])
    counts = histograms.assign(bin=number).groupby(["start", "bin"])["count"].sum()
    table = counts.reindex(index, fill_value=0).reset_index()
    return table.assign(bin_low=table["bin"] * width, bin_high=(table["bin"] + 1) * width)
