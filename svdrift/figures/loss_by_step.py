"""What the losses say while accuracy falls: training, ID and OOD reply loss along the path."""

from __future__ import annotations

import pandas as pd

from svdrift.checkpoints import Checkpoint
from svdrift.figures import labels, style
from svdrift.figures.aggregate import along, of, summary
from svdrift.story import Story

TRAINING = ("training", "id")
PLACES = {  # label and colour
    TRAINING: ("training", style.GREY),
    ("selection", "id"): (labels.split("selection", "id"), style.BLUE),
    ("selection", "ood"): (labels.split("selection", "ood"), style.RED),
}


@style.styled
def draw(losses: pd.DataFrame, objectives: pd.DataFrame, story: Story) -> style.Drawing:
    """Cross-entropy of the reply (nats a token) along the path, on a logarithmic scale.

    Args:
        losses: of training: `seed`, `run`, `step`, `train_loss` (nats a token); rows of the run
            that made the path are used.
        objectives: of checkpoints: `seed`, `checkpoint`, `role`, `shift`, `measure`, `value`;
            measure `sft_loss` (nats a token) on the selection splits is used.
        story: its path.
    """
    run = Checkpoint.parse(story.last).run
    own = losses[losses["run"] == run]
    if own.empty:
        raise ValueError(f"no losses of run {run}")
    held_out = of(objectives[objectives["measure"] == "sft_loss"], "selection", "id", "ood")
    held_out = along(held_out, story)
    training = own.rename(columns={"train_loss": "value"}).assign(role="training", shift="id")
    columns = ["seed", "step", "role", "shift", "value"]
    rows = pd.concat([training[columns], held_out[columns]], ignore_index=True)
    table = summary(rows, ["role", "shift", "step"])
    note = f"n = {labels.seeds(own)}{labels.singles(own)}."
    figure, (axes,) = style.panels(1, 1, 2.5, width=style.COLUMN, note=note)
    for (role, shift), (label, colour) in PLACES.items():
        marker = "" if role == "training" else "o"
        part = of(table, role, shift)
        style.curve(axes, part, "step", colour=colour, label=label, marker=marker)
    style.step_axis(axes, list(held_out["step"].unique()), f"{story.path_label} step")
    style.plain_log_ticks(axes)
    axes.set_ylabel("loss of the reply (nats a token)")
    style.legend(figure, columns=3)
    return style.Drawing(figure, table)
