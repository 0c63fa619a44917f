"""How accuracy moves while RL runs, from several starts."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import labels, style
from svdrift.figures.aggregate import first_tries, of, summary, trajectories
from svdrift.story import Story


@style.styled
def draw(accuracy: pd.DataFrame, story: Story) -> style.Drawing:
    """ID and OOD test accuracy against RL's steps, one colour for each start.

    Args:
        accuracy: the accuracy table with `seed`.
        story: the starts from which RL keeps more than its end are drawn.
    """
    rl = labels.rl_of(story)
    rows = trajectories(first_tries(of(accuracy, "test", "id", "ood")), rl)
    chosen = list(dict.fromkeys(rows["start"]))
    table = summary(rows, ["role", "shift", "start", "step"])
    note = f"{labels.sample(rows)}. {labels.intervals(rows)}{labels.singles(rows)}."
    figure, axes = style.panels(1, 2, 2.7, note=note)
    colours, markers = style.shade(chosen), labels.mark_by_place(chosen)
    for panel, place, part in style.panels_of(table, axes, [labels.ID, labels.OOD]):
        for start in chosen:
            style.curve(
                panel,
                part[part["start"] == start],
                "step",
                colour=colours[start],
                label=f"{rl.label} from {labels.checkpoint(story, start)}",
                marker=markers[start],
            )
        panel.set_title(labels.split(*place))
        panel.set_xlabel(f"{rl.label} {rl.unit}")
        style.percent_axis(panel, "accuracy")
    style.legend(figure, columns=5)
    return style.Drawing(figure, table)
