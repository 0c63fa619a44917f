"""Do studies forget and recover alike? Accuracy along SFT and after RL, a column for each study."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import style
from svdrift.figures.aggregate import accuracies, summary

SPLITS = ["id_test", "ood_test"]
RUNS = ["sft", "ppo", "grpo"]


@style.styled
def draw(accuracy: pd.DataFrame) -> style.Drawing:
    """A row for ID and one for OOD, on the same axes in every column.

    Args:
        accuracy: the accuracy tables of the studies, with a column `study`.
    """
    rows = accuracies(accuracy, SPLITS, RUNS)
    table = summary(rows, ["study", "split", "run", "sft_step"])
    studies = list(rows["study"].unique())
    samples = "\n".join(f"{name}: {style.sample(rows[rows['study'] == name])}." for name in studies)
    figure, axes = style.panels(
        len(SPLITS),
        len(studies),
        4.4 + 0.125 * len(studies),
        note=f"{samples}\n{style.BANDS}; {style.THIN}.",
        sharex=True,
        sharey="row",
    )
    places = [(split, study) for split in SPLITS for study in studies]
    for panel, (split, study) in zip(axes, places, strict=True):
        for run in RUNS:
            part = table[
                (table["study"] == study) & (table["split"] == split) & (table["run"] == run)
            ]
            if len(part):
                style.curve(
                    panel,
                    part,
                    "sft_step",
                    colour=style.RUN_COLOURS[run],
                    label=style.RUN_LABELS[run],
                    marker="^" if run == "grpo" else style.RUN_MARKERS[run],
                )
        panel.set_title(f"{study}: {style.SPLIT_LABELS[split]}")
        style.step_axis(panel, list(table["sft_step"]), "SFT step (of the start)", gap=0.17)
        style.percent_axis(panel, "accuracy")
        panel.label_outer()
    style.legend(figure)
    return style.Drawing(figure, table)
