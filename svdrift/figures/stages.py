"""Peak, moderate, after RL: accuracy at the checkpoints that the papers compare."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from svdrift.figures import labels, style
from svdrift.figures.aggregate import along, at, first_tries, of, summary
from svdrift.story import Story

PEAK, MODERATE = "peak", "moderate"
PUBLISHED_BARS = {"sft_max_ood": PEAK, "sft_moderate": MODERATE, "rl": "rl"}
MODELS = {"llama-3.2-11b": "Llama-3.2-11B", "qwen-2.5-7b": "Qwen-2.5-7B"}
GAME = "general_points"  # the published task of these bars
SHIFTS = ("id", "ood")
NARROW = 4  # bars side by side; the values above more of them would overlap


@style.styled
def draw(
    accuracy: pd.DataFrame, anchors: pd.DataFrame, published: pd.DataFrame, story: Story
) -> style.Drawing:
    """Bars with intervals for ID and OOD test, and the published bars of the same game.

    Args:
        accuracy: the accuracy table with `seed`.
        anchors: `seed`, `checkpoint`: each seed's OOD peak.
        published: `accuracy_by_stage`.
        story: its moderate start, RL's result from there and the controls' ones.
    """
    if story.moderate is None:
        raise ValueError("this figure needs a story with a moderate start")
    rl = labels.rl_of(story)
    rows = first_tries(of(accuracy, "test", *SHIFTS))
    peaks = along(rows, story).merge(anchors[["seed", "checkpoint"]], on=["seed", "checkpoint"])
    bars = {
        PEAK: (f"{story.path_label}, OOD peak", style.GREEN, ""),
        MODERATE: (f"{story.path_label}, moderate", style.ORANGE, ""),
    }
    picked = [peaks.assign(bar=PEAK), at(rows, [story.moderate]).assign(bar=MODERATE)]
    for look in [*labels.ends(story)[1:], *labels.ends(story)[:1]]:
        end = look.role.results.get(story.moderate)
        if end is not None:
            bar = "rl" if look.role is rl else look.role.stage
            hatch = "" if bar == "rl" else "////"  # a control may have the colour of the peak
            bars[bar] = (f"moderate, then {look.role.label}", look.colour, hatch)
            picked.append(at(rows, [end]).assign(bar=bar))
    shown = pd.concat(picked, ignore_index=True)
    table = summary(shown, ["shift", "bar"])
    peaked = dict.fromkeys(anchors["checkpoint"])
    chosen = ", ".join(labels.checkpoint(story, name) for name in peaked)
    how = "chosen on the selection split" if story.peak is None else "named in advance"
    note = (
        f"{labels.sample(shown)}. Peak, {how}: {chosen}; moderate: "
        f"{labels.checkpoint(story, story.moderate)}. {labels.intervals(shown, 'Whiskers')}"
        f"{labels.singles(shown, 'dots')}. {labels.PUBLISHED}."
    )
    figure, axes = style.panels(1, 3, 2.7, note=note, sharey=True)
    tops = [_bars(axes[0], table, bars)]
    axes[0].set_title("This study")
    game = published[published["task"] == GAME].rename(
        columns={"id_accuracy": "id", "ood_accuracy": "ood"}
    )
    theirs = game.melt(["model", "stage"], list(SHIFTS), "shift", "value")
    theirs = theirs.assign(
        value=theirs["value"] / 100, seed="mean", bar=theirs["stage"].map(PUBLISHED_BARS)
    )
    for panel, (model, title) in zip(axes[1:], MODELS.items(), strict=True):
        tops.append(_bars(panel, theirs[theirs["model"] == model], bars))
        panel.set_title(f"Published: {title}")
    style.percent_axis(axes[0], "accuracy")
    axes[0].set_ylim(top=min(1.0, 0.1 + max(tops)))
    style.legend(figure)
    columns = ["model", "shift", "bar", "value"]
    data = [table.assign(model="this study"), theirs[columns].assign(seed="published")]
    return style.Drawing(figure, pd.concat(data, ignore_index=True))


def _bars(axes: Axes, table: pd.DataFrame, bars: Mapping[str, tuple[str, str, str]]) -> float:
    """The bars of each shift side by side; returns the greatest height drawn."""
    present = [bar for bar in bars if bar in set(table["bar"])]
    width = 0.8 / len(present)
    top = 0.0
    for i, bar in enumerate(present):
        label, colour, hatch = bars[bar]
        for j, shift in enumerate(SHIFTS):
            part = table[(table["bar"] == bar) & (table["shift"] == shift)]
            place = j + (i - (len(present) - 1) / 2) * width
            mean = part[part["seed"] == "mean"].iloc[0]
            value = float(mean["value"])
            axes.bar(
                place,
                value,
                0.92 * width,
                color=colour,
                label=label if j == 0 else None,
                edgecolor="white",
                hatch=hatch,
                linewidth=0,
            )
            top = max(top, _top(axes, place, part, mean, upright=len(present) <= NARROW))
    axes.set_xticks(range(len(SHIFTS)), [labels.split("test", shift) for shift in SHIFTS])
    axes.grid(visible=False, axis="x")
    return top


def _top(axes: Axes, place: float, part: pd.DataFrame, mean: pd.Series, *, upright: bool) -> float:
    """Whiskers, dots and the value above a bar; returns how high they reach."""
    value = high = float(mean["value"])
    if "low" in part:
        low, high = float(mean["low"]), float(mean["high"])
        lengths = [[value - low], [high - value]]
        axes.errorbar(place, value, lengths, color=style.BLACK, capsize=2, lw=0.8)
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
        va="bottom",
        fontsize=6,
        rotation=0 if upright else 90,
    )
    return high
