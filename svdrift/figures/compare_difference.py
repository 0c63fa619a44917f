"""What is different between studies? Each study minus the first, checkpoint by checkpoint."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from svdrift.figures import style

SPLITS = ["id_test", "ood_test"]
COLOURS = (style.RED, style.BLUE, style.GREEN)


@style.styled
def draw(differences: pd.DataFrame) -> style.Drawing:
    """Forest plot: a row for each checkpoint, a colour for each study, a panel for ID and OOD.

    Args:
        differences: `study`, `reference` (the study that it is compared with), and the columns of
            `svdrift.evaluation.studies.study_differences`. The mean over seeds is drawn with its
            interval where there is one, and single seeds as ticks; else the seed with its own.
    """
    reference = str(differences["reference"].iloc[0])
    studies = list(differences["study"].unique())
    checkpoints = list(differences["checkpoint"].unique())
    seeds = differences[differences["seed"].notna()]
    note = (
        f"Whiskers: 95 % intervals, clustered by multiset; {style.seeds(seeds)}, single seeds as "
        f"ticks. {_pairing(differences)} rl-from-…: the result of RL, by whichever method.\n"
        "No whiskers: both solved the same hands. Right of the line the study is better. "
        "n in each title: hands of a comparison, seeds pooled."
    )
    rows = 0.1 * len(studies) + 0.06
    figure, axes = style.panels(
        1, len(SPLITS), max(2.2, 1.3 + rows * len(checkpoints)), note=note, sharey=True
    )
    for panel, split in zip(axes, SPLITS, strict=True):
        part = differences[differences["split"] == split]
        _forest(panel, part, checkpoints, studies, reference)
        n = style.size(_drawn(part))
        panel.set_title(f"{style.SPLIT_LABELS[split]} (n = {n})")
        panel.set_xlabel("difference (points)")
    axes[0].set_yticks(range(len(checkpoints)), checkpoints)
    axes[0].set_ylim(len(checkpoints) - 0.5, -0.5)
    style.legend(figure)
    return style.Drawing(figure, differences)


def _pairing(differences: pd.DataFrame) -> str:
    """Which comparisons are paired, in words."""
    unpaired = differences.loc[~differences["paired"], ["study", "split"]].drop_duplicates()
    if unpaired.empty:
        return "Paired on the same hands."
    listed = ", ".join(
        f"{study} on {style.SPLIT_LABELS[split]}"
        for study, split in unpaired.itertuples(index=False)
    )
    return f"NOT paired, since the hands differ: {listed}."


def _drawn(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with whiskers: of all seeds together where there are any."""
    pooled = rows[rows["seed"].isna()]
    return pooled if len(pooled) else rows


def _forest(
    axes: Axes, rows: pd.DataFrame, checkpoints: list[str], studies: list[str], reference: str
) -> None:
    axes.axvline(0, color=style.BLACK, lw=0.8, zorder=1)
    for y in range(1, len(checkpoints), 2):
        axes.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", lw=0, zorder=0)
    for j, study in enumerate(studies):
        own = rows[rows["study"] == study]
        bold = _drawn(own)
        shift = 0.8 * ((j + 0.5) / len(studies) - 0.5)
        axes.errorbar(
            bold["difference"],
            bold["checkpoint"].map(checkpoints.index) + shift,
            xerr=[bold["difference"] - bold["low"], bold["high"] - bold["difference"]],
            fmt=style.MARKERS[j],
            color=COLOURS[j],
            lw=1.1,
            ms=3.2,
            label=f"{study} minus {reference}",
        )
        if len(bold) < len(own):
            dots = own[own["seed"].notna()]
            at = dots["checkpoint"].map(checkpoints.index) + shift
            axes.plot(dots["difference"], at, "|", color=COLOURS[j], ms=4.5, mew=0.7)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:+.3g}" if value else "0")
    )
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.08)
