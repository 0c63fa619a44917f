"""Peak, moderate, after RL: accuracy at the stages that the papers compare."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from svdrift.figures import style
from svdrift.figures.aggregate import accuracies, rl_run, summary

STAGES = {
    "sft_max_ood": ("SFT, OOD peak", style.GREEN),
    "sft_moderate": ("SFT, moderate", style.ORANGE),
    "continued": ("moderate, then more SFT (control)", style.SKY),
    "rl": ("moderate, then RL", style.RED),
}
MODELS = {"llama-3.2-11b": "Llama-3.2-11B", "qwen-2.5-7b": "Qwen-2.5-7B"}


@style.styled
def draw(
    accuracy: pd.DataFrame,
    anchors: pd.DataFrame,
    published: pd.DataFrame,
    moderate_step: int,
) -> style.Drawing:
    """Bars with intervals for ID and OOD test, and the published bars of the same game.

    Args:
        accuracy: the accuracy table with `seed`, `run`, `sft_step`, `update`; runs `sft` at both
            steps, and the ends of RL and of `continued` from `moderate_step`.
        published: `accuracy_by_stage`; rows of task `general_points`.
        anchors: `seed`, `sft_step` of its OOD peak, chosen on the selection set.
        moderate_step: SFT step that RL starts from.
    """
    splits = ["id_test", "ood_test"]
    method = rl_run(accuracy)
    rows = accuracies(accuracy, splits, ["sft", method, "continued"])
    runs = {"sft_moderate": "sft", "continued": "continued", "rl": method}
    moderate = rows[rows["sft_step"] == moderate_step]
    peaks = rows[rows["run"] == "sft"].merge(anchors[["seed", "sft_step"]], on=["seed", "sft_step"])
    picked = pd.concat(
        [peaks.assign(stage="sft_max_ood")]
        + [moderate[moderate["run"] == run].assign(stage=stage) for stage, run in runs.items()]
    )
    peak_steps = ", ".join(str(step) for step in sorted(anchors["sft_step"].unique()))
    table = summary(picked, ["split", "stage"])
    note = (
        f"{style.sample(picked)}. Peak on selection hands: SFT step {peak_steps}; "
        f"moderate: step {moderate_step}. RL: {method.upper()}.\n"
        "Whiskers: 95 % intervals over hands, clustered by multiset, averaged over seeds; "
        f"dots: single seeds. {style.PUBLISHED}."
    )
    figure, axes = style.panels(1, 3, 2.7, note=note, sharey=True)
    means = [_bars(axes[0], table, splits)]
    axes[0].set_title("This study")
    game = published[published["task"] == "general_points"].rename(
        columns={"id_accuracy": "id_test", "ood_accuracy": "ood_test"}
    )
    for panel, (model, title) in zip(axes[1:], MODELS.items(), strict=True):
        long = game[game["model"] == model].melt(["model", "stage"], splits, "split", "value")
        long = long.assign(value=long["value"] / 100, seed="mean")
        means.append(_bars(panel, long, splits))
        panel.set_title(f"Published: {title}")
    style.percent_axis(axes[0], "accuracy")
    axes[0].set_ylim(top=min(1.0, 0.06 + max(means)))
    style.legend(figure)
    shown = game.melt(["model", "stage"], splits, "split", "value")
    shown = shown.assign(value=shown["value"] / 100, seed="published")
    data = pd.concat([table.assign(model="this study"), shown], ignore_index=True)
    return style.Drawing(figure, data)


def _bars(axes: Axes, table: pd.DataFrame, splits: Sequence[str]) -> float:
    """Bars of each split's stages, side by side; returns the greatest height drawn."""
    stages = [stage for stage in STAGES if stage in set(table["stage"])]
    width = 0.8 / len(stages)
    top = 0.0
    for i, stage in enumerate(stages):
        for j, split in enumerate(splits):
            part = table[(table["stage"] == stage) & (table["split"] == split)]
            place = j + (i - (len(stages) - 1) / 2) * width
            mean = part[part["seed"] == "mean"].iloc[0]
            value = float(mean["value"])
            label, colour = STAGES[stage]
            axes.bar(place, value, 0.92 * width, color=colour, label=label if j == 0 else None)
            high = value
            if "low" in part:
                low, high = float(mean["low"]), float(mean["high"])
                axes.errorbar(
                    place,
                    value,
                    [[value - low], [high - value]],
                    color=style.BLACK,
                    capsize=2,
                    lw=0.8,
                )
            dots = part.loc[part["seed"] != "mean", "value"]
            if len(dots) > 1:
                axes.plot([place] * len(dots), dots, ".", color=style.BLACK, ms=3, mfc="white")
                high = max(high, float(dots.max()))
            axes.annotate(
                f"{100 * value:.1f}",
                (place, high),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=6,
            )
            top = max(top, high)
    axes.set_xticks(range(len(splits)), [style.SPLIT_LABELS[split] for split in splits])
    axes.grid(visible=False, axis="x")
    return top
