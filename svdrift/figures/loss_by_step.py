"""What the losses say while accuracy falls: training, ID and OOD reply loss against SFT step."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import style
from svdrift.figures.aggregate import summary

MEASURES = {
    "train_loss": ("training", style.GREY, "-"),
    "id_loss": ("ID, held out", style.BLUE, "-"),
    "ood_loss": ("OOD, held out", style.RED, "-"),
}


@style.styled
def draw(losses: pd.DataFrame) -> style.Drawing:
    """Cross-entropy of the reply (nats a token) against SFT step, on a logarithmic scale.

    Args:
        losses: columns `seed`, `step`, `measure` (`train_loss`, `id_loss`, `ood_loss`), `value`
            (nats a token).
    """
    table = summary(losses[losses["measure"].isin(list(MEASURES))], ["measure", "step"])
    note = f"n = {style.seeds(losses)}; {style.THIN}."
    figure, (axes,) = style.panels(1, 1, 2.5, width=style.COLUMN, note=note)
    for measure, (label, colour, line) in MEASURES.items():
        part = table[table["measure"] == measure]
        if len(part):
            marker = "" if measure == "train_loss" else "o"
            style.curve(
                axes, part, "step", colour=colour, label=label, linestyle=line, marker=marker
            )
    evaluated = table.loc[table["measure"] != "train_loss", "step"]
    style.step_axis(axes, list(evaluated), "SFT step")
    style.plain_log_ticks(axes)
    axes.set_ylabel("loss of the reply (nats a token)")
    style.legend(figure, columns=3)
    return style.Drawing(figure, table)
