"""Do the stages undo each other? The SFT loss during RL, and the reward during SFT."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import style
from svdrift.figures.aggregate import rl_run, summary


@style.styled
def draw(objectives: pd.DataFrame, last_update: int) -> style.Drawing:
    """Left: loss of the SFT objective against RL update; right: reward against SFT step.

    Args:
        objectives: `seed`, `run`, `sft_step`, `update`, `split`, `measure` (`sft_loss`, nats a
            token; `reward`, mean of the first try), `value`. Rows of split `demonstrated` are
            used: run `sft`, whose checkpoints are update 0, and that of RL from the starts of
            which intermediate checkpoints were evaluated.
        last_update: number of the update at which a run ends.
    """
    rows = objectives[objectives["split"] == "demonstrated"]
    sft = rows[rows["run"] == "sft"]
    method = rl_run(rows)
    rl = rows[rows["run"] == method]
    rl = rl[rl["sft_step"].isin(rl.loc[rl["update"].notna(), "sft_step"])]
    rl = rl.fillna({"update": last_update})
    before = sft[sft["sft_step"].isin(rl["sft_step"])].assign(update=0)
    during_rl = pd.concat([before, rl]).query("measure == 'sft_loss'")
    during_rl = during_rl.rename(columns={"sft_step": "start", "update": "step"})
    during_sft = sft[sft["measure"] == "reward"].rename(columns={"sft_step": "step"})
    loss = summary(during_rl, ["start", "step"])
    reward = summary(during_sft, ["step"])
    note = f"Both on demonstrated hands, n = {style.size(rows)}; {style.seeds(rows)}; {style.THIN}."
    figure, (left, right) = style.panels(1, 2, 2.6, note=note)
    starts = sorted(int(start) for start in loss["start"].unique())
    colours = style.start_colours(starts)
    for i, start in enumerate(starts):
        style.curve(
            left,
            loss[loss["start"] == start],
            "step",
            colour=colours[start],
            label=f"from SFT step {start}",
            marker=style.MARKERS[i % len(style.MARKERS)],
        )
    left.set_title("Loss of SFT's objective during RL")
    left.set_xlabel(f"{method.upper()} update")
    style.plain_log_ticks(left)
    left.set_ylabel("SFT loss (nats a token)")
    style.curve(right, reward, "step", colour=style.BLACK, label="SFT")
    right.set_title("RL's reward during SFT")
    style.step_axis(right, list(reward["step"]), "SFT step", gap=0.08)
    right.set_ylabel("mean reward")
    style.legend(figure, [left], columns=5)
    data = pd.concat([loss.assign(phase="rl"), reward.assign(phase="sft")], ignore_index=True)
    return style.Drawing(figure, data)
