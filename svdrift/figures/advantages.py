"""What RL learns from: the distribution of advantages, by the SFT step that RL starts from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from svdrift.figures import style


@style.styled
def draw(histograms: pd.DataFrame) -> style.Drawing:
    """One row of density for each start, on a common scale; seeds pooled.

    Args:
        histograms: `sft_step` (of the start), `seed`, `bin_low`, `bin_high` (in units of
            reward, the same bins for all), `count`.
    """
    pooled = _pooled(histograms)
    total = pooled.groupby("sft_step")["count"].transform("sum")
    pooled = pooled.assign(
        density=pooled["count"] / total / (pooled["bin_high"] - pooled["bin_low"])
    )
    starts = sorted(pooled["sft_step"].unique())
    colours = style.start_colours(starts)
    note = f"{style.seeds(histograms)}, pooled. Advantages before normalisation over the batch."
    height = 0.65 + 0.42 * len(starts)
    figure, axes = style.panels(
        len(starts), 1, height, width=style.COLUMN, note=note, sharex=True, sharey=True
    )
    for panel, start in zip(axes, starts, strict=True):
        part = pooled[pooled["sft_step"] == start].sort_values("bin_low")
        edges = np.append(part["bin_low"].to_numpy(), part["bin_high"].iloc[-1])
        panel.stairs(part["density"], edges, fill=True, color=colours[start], alpha=0.8)
        panel.axvline(0, color=style.BLACK, lw=0.6)
        panel.set_yticks([])
        panel.grid(visible=False)
        panel.spines["left"].set_visible(False)
        title = f"from SFT step {start} (n = {part['count'].sum():,.0f})"
        panel.set_title(title, fontsize=7, pad=1)
        panel.tick_params(bottom=panel is axes[-1])
    figure.supylabel("density", fontsize=7.5)
    axes[-1].set_xlabel("advantage (units of reward)")
    return style.Drawing(figure, pooled)


def _pooled(histograms: pd.DataFrame) -> pd.DataFrame:
    """Counts over all seeds and updates, in the same bins for every start, empty ones included."""
    width = (histograms["bin_high"] - histograms["bin_low"]).min()
    number = (histograms["bin_low"] / width).round().astype(int)
    every = range(number.min(), number.max() + 1)
    starts = sorted(histograms["sft_step"].unique())
    index = pd.MultiIndex.from_product([starts, every], names=["sft_step", "bin"])
    counts = histograms.assign(bin=number).groupby(["sft_step", "bin"])["count"].sum()
    table = counts.reindex(index, fill_value=0).reset_index()
    return table.assign(bin_low=table["bin"] * width, bin_high=(table["bin"] + 1) * width)
