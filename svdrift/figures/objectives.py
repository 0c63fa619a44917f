"""Do the stages undo each other? The loss of the path's stage during RL, and RL's reward before."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import labels, style
from svdrift.figures.aggregate import along, of, summary, trajectories
from svdrift.story import Story


@style.styled
def draw(objectives: pd.DataFrame, story: Story) -> style.Drawing:
    """Left: the loss of the path's stage while RL runs; right: the reward along the path.

    Args:
        objectives: `seed`, `checkpoint`, `role`, `shift`, `measure` (`sft_loss`, nats a token;
            `reward`, mean of the first try), `n`, `value`; rows of role `fit` are used.
        story: its path, and the starts from which RL keeps more than its end.
    """
    rl = labels.rl_of(story)
    rows = of(objectives, *labels.FIT)
    during_rl = trajectories(rows[rows["measure"] == "sft_loss"], rl)
    along_path = along(rows[rows["measure"] == "reward"], story)
    loss = summary(during_rl, ["start", "step"])
    reward = summary(along_path, ["step"])
    note = (
        f"Both on fitted problems, n = {labels.size(rows)}; {labels.seeds(rows)}"
        f"{labels.singles(rows)}. The tables have no intervals of these means."
    )
    figure, (left, right) = style.panels(1, 2, 2.6, note=note)
    starts = list(dict.fromkeys(during_rl["start"]))
    colours, markers = style.shade(starts), labels.mark_by_place(starts)
    for start in starts:
        style.curve(
            left,
            loss[loss["start"] == start],
            "step",
            colour=colours[start],
            label=f"{rl.label} from {labels.checkpoint(story, start)}",
            marker=markers[start],
        )
    left.set_title(f"Loss of {story.path_label} during {rl.label}")
    left.set_xlabel(f"{rl.label} {rl.unit}")
    style.plain_log_ticks(left)
    left.set_ylabel("loss of the reply (nats a token)")
    style.curve(right, reward, "step", colour=labels.PATH_COLOUR, label=story.path_label)
    right.set_title(f"Reward during {story.path_label}")
    style.step_axis(right, list(reward["step"]), f"{story.path_label} step", gap=0.08)
    right.set_ylabel("mean reward")
    style.legend(figure)
    data = pd.concat([loss.assign(phase="rl"), reward.assign(phase="path")], ignore_index=True)
    return style.Drawing(figure, data)
