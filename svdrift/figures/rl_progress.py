"""How accuracy moves while RL runs, from several starts."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import style
from svdrift.figures.aggregate import FIRST_TRY, rl_run, summary


@style.styled
def draw(accuracy: pd.DataFrame, last_update: int) -> style.Drawing:
    """ID and OOD test accuracy against RL update, one colour for each SFT step started from.

    Shown are the starts of which intermediate checkpoints were evaluated.

    Args:
        accuracy: the accuracy table with `seed`, `run`, `sft_step`, `update`; rows of RL
            and the SFT checkpoints as update 0.
        last_update: number of the update at which a run ends.
    """
    splits = ["id_test", "ood_test"]
    rows = accuracy[
        (accuracy["measure"] == FIRST_TRY)
        & (accuracy["subset"] == "all")
        & accuracy["split"].isin(splits)
    ]
    method = rl_run(rows)
    rl = rows[rows["run"] == method]
    chosen = sorted(rl.loc[rl["update"].notna(), "sft_step"].unique())
    during = rl.fillna({"update": last_update})
    before = rows[rows["run"] == "sft"].assign(update=0)
    rows = pd.concat([before, during])
    rows = rows[rows["sft_step"].isin(chosen)]
    table = summary(rows, ["split", "sft_step", "update"])
    note = f"{style.sample(rows)}. {style.BANDS};\n{style.THIN}."
    figure, axes = style.panels(1, 2, 2.7, note=note)
    colours = style.start_colours(chosen)
    for panel, split in zip(axes, splits, strict=True):
        for i, start in enumerate(chosen):
            part = table[(table["split"] == split) & (table["sft_step"] == start)]
            style.curve(
                panel,
                part,
                "update",
                colour=colours[start],
                label=f"from SFT step {start}",
                marker=style.MARKERS[i % len(style.MARKERS)],
            )
        panel.set_title(style.SPLIT_LABELS[split])
        panel.set_xlabel(f"{method.upper()} update")
        style.percent_axis(panel, "accuracy")
    style.legend(figure, columns=5)
    return style.Drawing(figure, table)
