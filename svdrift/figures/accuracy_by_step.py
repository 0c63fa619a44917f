"""Does SFT forget OOD? Accuracy of every checkpoint of the path, beside the published curve."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from svdrift.figures import labels, style
from svdrift.figures.aggregate import FIRST_TRY, along, first_tries, of, summary
from svdrift.story import Story

SUBSET_LOOKS = (
    ("--", style.ORANGE),
    (":", style.PURPLE),
    ("-.", style.GREEN),
    ((0, (5, 1, 1, 1, 1, 1)), style.SKY),
    ((0, (1, 3)), style.GREY),
)


@style.styled
def draw(accuracy: pd.DataFrame, published: pd.DataFrame, story: Story) -> style.Drawing:
    """Accuracy on every test split along the path, OOD by subset, and Llama-3.2-11B as published.

    Args:
        accuracy: the accuracy table of checkpoints, with `seed`; of roles `test` and `fit`.
        published: `llama_ood_by_checkpoint`.
        story: its path.
    """
    rows = along(accuracy[accuracy["measure"] == FIRST_TRY], story)
    whole = first_tries(pd.concat([of(rows, "test"), of(rows, "fit")]))
    by_subset = of(rows, *labels.OOD)
    parts = by_subset[by_subset["subset"] != "all"]
    table = summary(pd.concat([whole, parts]), ["role", "shift", "subset", "step"])
    note = (
        f"{labels.sample(whole)}. Star: highest mean.\n"
        f"{labels.intervals(whole)}{labels.singles(whole)}. {labels.PUBLISHED}."
    )
    figure, (left, middle, right) = style.panels(1, 3, 2.9, note=note)

    places = [*labels.tests(whole), *([labels.FIT] if len(of(whole, *labels.FIT)) else [])]
    colours = labels.split_colours(places)
    for role, shift in places:
        style.curve(
            left,
            of(table[table["subset"] == "all"], role, shift),
            "step",
            colour=colours[role, shift],
            label=labels.split(role, shift),
            linestyle=":" if role == "fit" else "-",
        )
    ood = of(table, *labels.OOD)
    mean = ood[(ood["subset"] == "all") & (ood["seed"] == "mean")]
    _mark_peak(left, mean["step"], mean["value"])
    left.set_title("This study")

    style.curve(
        middle,
        ood[ood["subset"] == "all"],
        "step",
        colour=style.RED,
        label=labels.split(*labels.OOD),
    )
    names = list(dict.fromkeys(parts["subset"]))
    if len(names) > len(SUBSET_LOOKS):
        raise ValueError(f"at most {len(SUBSET_LOOKS)} subsets can be told apart, not {names}")
    for subset, (line, colour) in zip(names, SUBSET_LOOKS, strict=False):
        n = labels.size(parts[parts["subset"] == subset])
        style.curve(
            middle,
            ood[ood["subset"] == subset],
            "step",
            colour=colour,
            label=f"OOD, {subset} (n = {n})",
            linestyle=line,
            lw=1.0,
        )
    middle.set_title("This study: OOD by subset")

    for axes in (left, middle):
        style.step_axis(axes, list(table["step"]), f"{story.path_label} step", gap=0.17)
        style.percent_axis(axes, "accuracy")
    left.set_ylim(top=max(1.02, left.get_ylim()[1]))

    other = published.sort_values(labels.PUBLISHED_STEP)
    step, share = other[labels.PUBLISHED_STEP], other["ood_accuracy_sft"] / 100
    right.plot(step, share, "o-", color=style.RED)
    _mark_peak(right, step, share)
    right.set_title(labels.PUBLISHED_TITLE)
    right.set_xlabel("SFT step")
    style.percent_axis(right, "accuracy")
    right.set_ylim(top=0.21)
    style.legend(figure, columns=3)

    theirs = pd.DataFrame({"step": step, "value": share}).assign(
        role="published", shift="ood", subset="all", seed="mean"
    )
    return style.Drawing(figure, pd.concat([table, theirs], ignore_index=True))


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
        zorder=5,
    )
