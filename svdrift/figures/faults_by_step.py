"""Which faults go first: share of first replies with each kind of fault, along the path."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import labels, style
from svdrift.figures.aggregate import along, first_tries, of, summary
from svdrift.story import Story

PREFIX = "fault:"
COLOURS = (
    style.BLACK,
    style.PURPLE,
    style.GREY,
    style.ORANGE,
    style.GREEN,
    style.SKY,
    style.BROWN,
    style.YELLOW,
)
MARKERS = "oXPs^vD*"
RARE = 0.01  # kinds that stay below it everywhere are named and not drawn


@style.styled
def draw(accuracy: pd.DataFrame, story: Story) -> style.Drawing:
    """One panel for ID and one for OOD; the shares and the solved share add up to one.

    Args:
        accuracy: the accuracy table with `seed`; the measures `fault:<kind>` on ID and OOD test.
            Kinds are drawn in the order in which the table first names them.
        story: its path.
    """
    places = [labels.ID, labels.OOD]
    faults = accuracy[accuracy["measure"].str.startswith(PREFIX)]
    faults = along(of(faults, "test", "id", "ood"), story)
    faults = faults.assign(kind=faults["measure"].str.removeprefix(PREFIX))
    found = list(dict.fromkeys(faults["kind"]))
    if len(found) > len(COLOURS):
        raise ValueError(f"at most {len(COLOURS)} kinds of fault can be told apart, not {found}")
    rows = pd.concat([first_tries(faults, PREFIX + kind) for kind in found])
    table = summary(rows, ["role", "shift", "kind", "step"])
    most = table[table["seed"] == "mean"].groupby("kind")["value"].max()
    rare = [kind for kind in found if most[kind] < RARE]
    left_out = f" Below {RARE:.0%} throughout: {', '.join(map(_name, rare))}." if rare else ""
    note = f"{labels.sample(rows)}.{left_out}\n{labels.intervals(rows)}{labels.singles(rows)}."
    figure, both = style.panels(1, 2, 2.8, note=note, sharey=True)
    for axes, place, rows_there in style.panels_of(table, both, places):
        for kind, colour, marker in zip(found, COLOURS, MARKERS, strict=False):
            if kind not in rare:
                part = rows_there[rows_there["kind"] == kind]
                looks = {"colour": colour, "label": _name(kind), "marker": marker}
                style.curve(axes, part, "step", lw=1.2, **looks)
        axes.set_title(labels.split(*place))
        style.step_axis(axes, list(table["step"]), f"{story.path_label} step", gap=0.08)
    style.percent_axis(both[0], "share of first replies")
    style.legend(figure, columns=7)
    return style.Drawing(figure, table)


def _name(kind: str) -> str:
    return kind.replace("_", " ")
