"""Do studies forget and recover alike? Accuracy along the path and after RL, study by study."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.figures import labels, style
from svdrift.figures.aggregate import along, first_tries, of, results, summary
from svdrift.story import Story


@style.styled
def draw(accuracy: pd.DataFrame, stories: Mapping[str, Story]) -> style.Drawing:
    """A row for ID and one for OOD, a column for each study, on the same axes in every column.

    Args:
        accuracy: the accuracy tables of the studies, with a column `study`.
        stories: of each study, in the order of the columns.
    """
    studies = list(stories)
    whole = first_tries(of(accuracy, "test", "id", "ood"))
    parts = []
    for study, story in stories.items():
        own = whole[whole["study"] == study]
        parts.append(along(own, story).assign(line="path"))
        for look in labels.ends(story):
            parts.append(results(own, look.role, story).assign(line=look.role.stage))
    rows = pd.concat(parts, ignore_index=True)
    places = [labels.ID, labels.OOD]
    table = summary(rows, ["study", "role", "shift", "line", "step"])
    samples = "\n".join(
        f"{name}: {labels.sample(rows[rows['study'] == name])}." for name in studies
    )
    figure, axes = style.panels(
        len(places),
        len(studies),
        4.4 + 0.125 * len(studies),
        note=f"{samples}\n{labels.intervals(rows)}{labels.singles(rows)}.",
        sharex=True,
        sharey="row",
    )
    spots = [(place, study) for place in places for study in studies]
    for panel, (place, study) in zip(axes, spots, strict=True):
        part = of(table[table["study"] == study], *place)
        story = stories[study]
        style.curve(
            panel,
            part[part["line"] == "path"],
            "step",
            colour=labels.PATH_COLOUR,
            label=story.path_label,
            marker=labels.PATH_MARKER,
        )
        for look in labels.ends(story):
            style.curve(
                panel,
                part[part["line"] == look.role.stage],
                "step",
                colour=look.colour,
                label=f"then {look.role.label}",
                marker=look.marker,
            )
        panel.set_title(f"{study}: {labels.split(*place)}")
        style.step_axis(panel, list(table["step"]), "step on the path (of the start)", gap=0.17)
    for panel in axes:  # after all are drawn, since each row shares its axis
        style.percent_axis(panel, "accuracy")
        panel.label_outer()
    style.legend(figure)
    return style.Drawing(figure, table)
