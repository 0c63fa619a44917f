"""How good the best ranks found so far are, while each method searches."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import labels, style
from svdrift.figures.aggregate import ANY, summary
from svdrift.ranks.tables import best_so_far

COLOURS = (style.BLUE, style.RED, style.GREEN, style.ORANGE, style.PURPLE, style.BLACK, style.SKY)


@style.styled
def draw(rank_searches: pd.DataFrame) -> style.Drawing:
    """A panel for each choice of ranks of the study: the best score by evaluations.

    Args:
        rank_searches: one row an evaluation, with `seed`, `choice`, `task`, `measured`, `method`
            and `label`.

    Raises:
        ValueError: more methods than colours.
    """
    found = best_so_far(rank_searches)
    found = found.assign(value=found["best"])
    methods = dict(zip(found["method"], found["label"], strict=True))
    if len(methods) > len(COLOURS):
        raise ValueError(f"at most {len(COLOURS)} methods can be told apart, not {list(methods)}")
    table = summary(found, ["choice", "measured", "label", "evaluation"], ANY)
    choices = list(dict.fromkeys(zip(found["choice"], found["measured"], strict=True)))
    most = found["evaluation"].max()
    note = (
        f"n = {most:,} evaluations of each method; {labels.seeds(found)}. The best "
        "score of those evaluated so far whose ranks fit the cost."
    )
    figure, axes = style.panels(1, len(choices), 2.6, note=note)
    for panel, (choice, measured) in zip(axes, choices, strict=True):
        part = table[table["choice"] == choice]
        for (label, colour), marker in zip(
            zip(methods.values(), COLOURS, strict=False), style.MARKERS, strict=False
        ):
            rows = part[part["label"] == label]
            if len(rows):
                looks = {"colour": colour, "marker": marker, "markevery": 0.2}
                style.curve(panel, rows, "evaluation", label=label, **looks)
        panel.set_title(f"{choice}, selection problems")
        panel.set_xlabel("models evaluated")
        panel.set_ylabel(measured)
    style.legend(figure, columns=5)
    return style.Drawing(figure, table)
