"""Does SFT forget OOD? Accuracy of every SFT checkpoint, beside the published curve."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from svdrift.figures import style
from svdrift.figures.aggregate import accuracies, summary

SUBSETS = {
    "all": (style.SPLIT_LABELS["ood_test"], "-", style.RED),
    "seen": ("OOD, multiset in pretraining", "--", style.ORANGE),
    "heldout": ("OOD, multiset never seen", ":", style.PURPLE),
}


@style.styled
def draw(accuracy: pd.DataFrame, published: pd.DataFrame) -> style.Drawing:
    """ID and OOD accuracy against SFT step, OOD by pretraining, and Llama-3.2-11B as published.

    Args:
        accuracy: the accuracy table with `seed`, `run`, `sft_step`, `update`; rows of run `sft`
            on `id_test`, `ood_test` and, where it exists, `demonstrated` are used.
        published: `llama_ood_by_checkpoint`.
    """
    rows = accuracies(accuracy, list(style.SPLIT_LABELS), ["sft"], list(SUBSETS))
    table = summary(rows, ["split", "subset", "sft_step"])
    whole = rows[rows["subset"] == "all"]
    parts = {
        label: style.size(rows[(rows["split"] == "ood_test") & (rows["subset"] == subset)])
        for subset, (label, _, _) in SUBSETS.items()
    }
    note = (
        f"{style.sample(whole)}. Star: highest mean.\n"
        f"{style.BANDS}; {style.THIN}. {style.PUBLISHED}."
    )
    figure, (left, middle, right) = style.panels(1, 3, 2.9, note=note)

    for split in ("id_test", "ood_test", "demonstrated"):
        part = table[(table["split"] == split) & (table["subset"] == "all")]
        if len(part):
            style.curve(
                left,
                part,
                "sft_step",
                colour=style.SPLIT_COLOURS[split],
                label=style.SPLIT_LABELS[split],
                linestyle=":" if split == "demonstrated" else "-",
            )
    ood = table[table["split"] == "ood_test"]
    mean = ood[(ood["subset"] == "all") & (ood["seed"] == "mean")]
    _mark_peak(left, mean["sft_step"], mean["value"])
    left.set_title("This study")

    for subset, (label, line, colour) in SUBSETS.items():
        part = ood[ood["subset"] == subset]
        if len(part):
            style.curve(
                middle,
                part,
                "sft_step",
                colour=colour,
                label=label if subset == "all" else f"{label} (n = {parts[label]})",
                linestyle=line,
                lw=1.5 if subset == "all" else 1.0,
            )
    middle.set_title("This study: OOD by multiset")

    for axes in (left, middle):
        style.step_axis(axes, list(table["sft_step"]), "SFT step", gap=0.17)
        style.percent_axis(axes, "accuracy")
    left.set_ylim(top=max(1.02, left.get_ylim()[1]))

    other = published.sort_values("sft_step")
    share = other["ood_accuracy_sft"] / 100
    right.plot(other["sft_step"], share, "o-", color=style.RED)
    _mark_peak(right, other["sft_step"], share)
    right.set_title(style.PUBLISHED_TITLE)
    right.set_xlabel("SFT step")
    style.percent_axis(right, "accuracy")
    right.set_ylim(top=0.21)
    style.legend(figure, columns=3)

    shown = other.assign(split="published", subset="all", seed="mean", value=share)
    columns = [c for c in table.columns if c in shown]
    return style.Drawing(figure, pd.concat([table, shown[columns]], ignore_index=True))


def _mark_peak(axes: Axes, steps: pd.Series, values: pd.Series) -> None:
    """A star on the highest point, with its value and step."""
    peak = int(values.to_numpy().argmax())
    step, value = float(steps.iloc[peak]), float(values.iloc[peak])
    axes.plot(step, value, "*", color=style.BLACK, ms=8, zorder=4)
    axes.annotate(
        f"{value:.1%} at step {step:g}",
        (step, value),
        xytext=(0, 7),
        textcoords="offset points",
        fontsize=7,
        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
        zorder=5,
    )
