"""What RL itself does: RL minus each matched control from the same start, on the same hands."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from svdrift.figures import style
from svdrift.figures.aggregate import order, rl_run

CONTROLS = {
    "sft": "the start itself",
    "continued": "more SFT, same demonstrations",
    "wide": "SFT on RL's hands",
    "demonstrated-ppo": "PPO on demonstrated hands",
    "demonstrated-grpo": "GRPO on demonstrated hands",
}
SUBSETS = {
    "all": "all hands",
    "practised": "practised by RL",
    "demonstrated": "demonstrated",
    "neither": "seen by neither",
}


@style.styled
def draw(differences: pd.DataFrame) -> style.Drawing:
    """Forest plot: a row for each start, a colour for each control, a panel for each set of hands.

    Args:
        differences: one row a paired difference RL minus control: `run` (of RL), `sft_step`,
            `control` (a run name; see `CONTROLS`), `split` (`id_test`, `ood_test`), `subset`
            (`all` or an exposure), `seed` (missing for the comparison over all seeds), `n` (hands,
            pooled over seeds), `difference`, `low`, `high`. Where a comparison over seeds exists it
            is drawn with its interval and the single seeds as ticks; else the seeds with theirs.
    """
    known = differences[
        differences["control"].isin(list(CONTROLS)) & differences["subset"].isin(list(SUBSETS))
    ]
    places = [
        (split, subset)
        for split in ("id_test", "ood_test")
        for subset in order(known.loc[known["split"] == split, "subset"], list(SUBSETS))
        if split == "ood_test" or subset == "all"
    ]
    method = rl_run(known).upper()
    starts = sorted(known["sft_step"].unique())
    controls = order(known["control"], list(CONTROLS))
    note = (
        "Whiskers: 95 % intervals of the paired difference, clustered by multiset; "
        f"{style.seeds(known[known['seed'].notna()])}, single seeds as ticks.\n"
        f"Right of the line {method} is better. n under each title: hands of a comparison, "
        "seeds pooled."
    )
    height = 1.25 + len(starts) * (0.09 * len(controls) + 0.12)
    figure, axes = style.panels(1, len(places), max(height, 2.2), note=note, sharey=True)
    shown = []
    for panel, (split, subset) in zip(axes, places, strict=True):
        rows = known[(known["split"] == split) & (known["subset"] == subset)]
        shown.append(rows)
        _forest(panel, rows, starts, controls, method)
        pooled = rows[rows["seed"].isna()] if rows["seed"].isna().any() else rows
        name = style.SPLIT_LABELS[split]
        panel.set_title(f"{name}\n{SUBSETS[subset]}\nn = {style.size(pooled)}", fontsize=7.5)
        panel.set_xlabel("difference (points)")
    axes[0].set_yticks(range(len(starts)), [f"{start:g}" for start in starts])
    axes[0].set_ylim(len(starts) - 0.5, -0.5)
    axes[0].set_ylabel("SFT step of the start")
    style.legend(figure, columns=2)
    return style.Drawing(figure, pd.concat(shown, ignore_index=True))


def _forest(
    axes: Axes, rows: pd.DataFrame, starts: list[int], controls: list[str], method: str
) -> None:
    axes.axvline(0, color=style.BLACK, lw=0.8, zorder=1)
    for i, start in enumerate(starts):
        if i % 2:
            axes.axhspan(i - 0.5, i + 0.5, color="#F4F4F4", lw=0, zorder=0)
        for j, control in enumerate(controls):
            y = i + 0.8 * ((j + 0.5) / len(controls) - 0.5)
            part = rows[(rows["sft_step"] == start) & (rows["control"] == control)]
            pooled = part[part["seed"].isna()]
            bold, dots = (pooled, part[part["seed"].notna()]) if len(pooled) else (part, pooled)
            colour = style.RUN_COLOURS[control]
            axes.errorbar(
                bold["difference"],
                [y] * len(bold),
                xerr=[bold["difference"] - bold["low"], bold["high"] - bold["difference"]],
                fmt=style.RUN_MARKERS[control],
                color=colour,
                lw=1.1,
                ms=3.2,
                label=f"{method} minus {CONTROLS[control]}",
            )
            axes.plot(dots["difference"], [y] * len(dots), "|", color=colour, ms=4.5, mew=0.7)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:+.3g}" if value else "0")
    )
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.08)
