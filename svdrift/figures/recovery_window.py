"""From which checkpoints of the path does RL bring OOD back, and more than its controls?"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from svdrift.checkpoints import Checkpoint
from svdrift.figures import labels, style
from svdrift.figures.aggregate import along, first_tries, of, results, summary
from svdrift.story import Story

PATH = "path"


@style.styled
def draw(
    accuracy: pd.DataFrame,
    published: pd.DataFrame,
    story: Story,
    signals: pd.DataFrame | None = None,
) -> style.Drawing:
    """Accuracy of each checkpoint of the path and of every run started from it, by its step.

    Args:
        accuracy: the accuracy table with `seed`; of OOD and ID test.
        published: `llama_ood_by_checkpoint`.
        story: its path, RL and the controls.
        signals: which runs of RL had a reward signal; the ends of the others are hollow.
    """
    silent = labels.silent(signals, story)
    places = [labels.OOD, labels.ID]
    whole = first_tries(of(accuracy, "test", "id", "ood"))
    looks = labels.ends(story)
    rows = pd.concat(
        [along(whole, story).assign(line=PATH)]
        + [results(whole, look.role, story).assign(line=look.role.stage) for look in looks]
    )
    table = summary(rows, ["role", "shift", "line", "step"])
    note = (
        f"{labels.sample(rows)}. {labels.intervals(rows)}; whiskers where a line is one point"
        f"{labels.singles(rows, f'thin lines, of {story.path_label} alone')}. {labels.PUBLISHED}."
        f"{labels.silence(silent)}"
    )
    figure, axes = style.panels(1, 3, 3.1, note=note)
    for panel, place, part in style.panels_of(table, axes, places):
        own = (labels.PATH_COLOUR, labels.PATH_MARKER)
        _line(panel, part, PATH, own, story.path_label, width=1.7, singles=True)
        for i, look in enumerate(looks):
            name, own = f"then {look.role.label}", (look.colour, look.marker)
            width = 1.0 if i else 1.7
            _line(panel, part, look.role.stage, own, name, width=width, singles=False)
        _hollow(panel, part, looks[0], silent)
        panel.set_title(f"This study: {labels.split(*place)}")
        style.step_axis(panel, list(table["step"]), f"{story.path_label} step of the start", 0.17)
        style.percent_axis(panel, "accuracy")
    other = _published(axes[2], published)
    style.legend(figure, columns=3)
    return style.Drawing(figure, pd.concat([table, other], ignore_index=True))


def _line(
    axes: Axes,
    table: pd.DataFrame,
    line: str,
    looks: tuple[str, str],
    label: str,
    *,
    width: float,
    singles: bool,
) -> None:
    """The path, or the ends from each of its checkpoints; thin lines of seeds would cross."""
    colour, marker = looks
    part = table[table["line"] == line]
    if not singles:
        part = part[part["seed"] == "mean"]
    style.curve(axes, part, "step", colour=colour, label=label, marker=marker, lw=width)
    mean = part[part["seed"] == "mean"]
    if len(mean) == 1:  # a band of one point has no width
        style.whiskers(axes, mean, "step", colour)


def _hollow(axes: Axes, table: pd.DataFrame, look: labels.Look, silent: Mapping[str, str]) -> None:
    """RL's ends from starts where runs had no reward signal."""
    steps = [Checkpoint.parse(start).step for start in silent]
    ends = table[(table["line"] == look.role.stage) & (table["seed"] == "mean")]
    ends = ends[ends["step"].isin(steps)]
    axes.plot(ends["step"], ends["value"], look.marker, mfc="white", mec=look.colour, zorder=5)


def _published(axes: Axes, published: pd.DataFrame) -> pd.DataFrame:
    """The published curves, which are OOD; returns what is drawn."""
    looks = {
        "ood_accuracy_sft": (PATH, labels.PATH_COLOUR, labels.PATH_MARKER),
        "ood_accuracy_after_rl": ("rl", labels.RL_COLOUR, labels.RL_MARKER),
    }
    parts = []
    for column, (line, colour, marker) in looks.items():
        step, value = published[labels.PUBLISHED_STEP], published[column] / 100
        axes.plot(step, value, color=colour, marker=marker)
        parts.append(pd.DataFrame({"step": step, "value": value}).assign(line=line))
    axes.set_title(labels.PUBLISHED_TITLE)
    axes.set_xlabel("SFT step of the start")
    style.percent_axis(axes, "accuracy")
    return pd.concat(parts).assign(role="published", shift="ood", seed="mean")
