"""From which SFT checkpoints does RL bring OOD back, and does it more than its controls?"""

from __future__ import annotations

import pandas as pd

from svdrift.figures import style
from svdrift.figures.aggregate import accuracies, summary

PUBLISHED_RUNS = {"ood_accuracy_sft": "sft", "ood_accuracy_after_rl": "ppo"}


@style.styled
def draw(accuracy: pd.DataFrame, published: pd.DataFrame) -> style.Drawing:
    """Accuracy of each SFT checkpoint and of every run started from it, against SFT step.

    Args:
        accuracy: the accuracy table with `seed`, `run`, `sft_step` (of the start), `update`; of
            each run its end on `ood_test` and `id_test` is used.
        published: `llama_ood_by_checkpoint`.
    """
    splits = ["ood_test", "id_test"]
    rows = accuracies(accuracy, splits, list(style.RUN_LABELS))
    table = summary(rows, ["split", "run", "sft_step"])
    note = f"{style.sample(rows)}. {style.BANDS};\n{style.THIN}. {style.PUBLISHED}."
    figure, axes = style.panels(1, 3, 3.1, note=note)
    for panel, split in zip(axes, splits, strict=False):
        for run, label in style.RUN_LABELS.items():
            part = table[(table["split"] == split) & (table["run"] == run)]
            if len(part):
                style.curve(
                    panel,
                    part,
                    "sft_step",
                    colour=style.RUN_COLOURS[run],
                    label=label,
                    marker=style.RUN_MARKERS[run],
                    lw=1.7 if run in ("sft", "ppo", "grpo") else 1.0,
                )
        panel.set_title(f"This study: {style.SPLIT_LABELS[split]}")
        style.step_axis(panel, list(table["sft_step"]), "SFT step of the start", gap=0.17)
        style.percent_axis(panel, "accuracy")
    other = published.melt("sft_step", list(PUBLISHED_RUNS), "run", "value")
    other = other.assign(
        run=other["run"].map(PUBLISHED_RUNS), value=other["value"] / 100, split="published"
    )
    for name in PUBLISHED_RUNS.values():
        part = other[other["run"] == name]
        axes[2].plot(
            part["sft_step"],
            part["value"],
            color=style.RUN_COLOURS[name],
            marker=style.RUN_MARKERS[name],
        )
    axes[2].set_title(style.PUBLISHED_TITLE)
    axes[2].set_xlabel("SFT step of the start")
    style.percent_axis(axes[2], "accuracy")
    style.legend(figure, columns=3)
    data = pd.concat([table, other.assign(seed="mean")], ignore_index=True)
    return style.Drawing(figure, data)
