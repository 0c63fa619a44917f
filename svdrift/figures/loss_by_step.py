"""What the losses say while accuracy falls: training, ID and OOD reply loss against SFT step."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import style
from svdrift.figures.aggregate import summary

TRAINING = "training"
SERIES = {  # label and colour
    TRAINING: ("training", style.GREY),
    "id_selection": ("ID, held out", style.BLUE),
    "ood_selection": ("OOD, held out", style.RED),
}


@style.styled
def draw(losses: pd.DataFrame, objectives: pd.DataFrame) -> style.Drawing:
    """Cross-entropy of the reply (nats a token) against SFT step, on a logarithmic scale.

    Args:
        losses: of training: columns `seed`, `step`, `train_loss` (nats a token).
        objectives: of checkpoints: `seed`, `run`, `sft_step`, `split`, `measure`, `value`. Rows of
            run `sft` and measure `sft_loss` (nats a token) on the selection splits are used.
    """
    wanted = (objectives["run"] == "sft") & (objectives["measure"] == "sft_loss")
    held_out = objectives[wanted & objectives["split"].isin(list(SERIES))]
    rows = pd.concat(
        [
            losses.rename(columns={"train_loss": "value"}).assign(split=TRAINING),
            held_out.rename(columns={"sft_step": "step"}),
        ],
        ignore_index=True,
    )
    table = summary(rows[["seed", "step", "split", "value"]], ["split", "step"])
    note = f"n = {style.seeds(losses)}; {style.THIN}."
    figure, (axes,) = style.panels(1, 1, 2.5, width=style.COLUMN, note=note)
    for split, (label, colour) in SERIES.items():
        part = table[table["split"] == split]
        marker = "" if split == TRAINING else "o"
        style.curve(axes, part, "step", colour=colour, label=label, marker=marker)
    style.step_axis(axes, list(held_out["sft_step"].unique()), "SFT step")
    style.plain_log_ticks(axes)
    axes.set_ylabel("loss of the reply (nats a token)")
    style.legend(figure, columns=3)
    return style.Drawing(figure, table)
