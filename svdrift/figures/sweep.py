"""What does a setting change? Accuracy at the end of SFT and of RL, against the swept setting."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from pandas.api.types import is_numeric_dtype

from svdrift.figures import style
from svdrift.figures.aggregate import accuracies, summary

SPLITS = ["id_test", "ood_test"]


@style.styled
def draw(sweep: pd.DataFrame) -> style.Drawing:
    """A panel for ID and OOD, a line for SFT and each start of RL; rows for a second setting.

    Args:
        sweep: the accuracy tables of all points, and before them a column for each swept setting.
            Its name has a dot, as keys of settings have (`rl.ppo.learning_rate`).
    """
    keys = [str(column) for column in sweep if "." in str(column)]
    rows = _ends(accuracies(sweep, SPLITS, ["sft", "ppo", "grpo"]), keys)
    table = summary(rows, [*keys, "split", "line"])
    across, down = keys[0], keys[1:]
    values = [rows[key].drop_duplicates().tolist() for key in down]
    grid = [{down[0]: value} for value in values[0]] if down else [{}]
    figure, axes = style.panels(
        len(grid),
        len(SPLITS),
        1.1 + 1.9 * len(grid),
        note=f"{style.sample(rows)}. {style.BANDS}; {style.THIN}.",
        sharey=True,
        sharex=True,
    )
    colours = _colours(rows)
    places = [(chosen, split) for chosen in grid for split in SPLITS]
    for panel, (chosen, split) in zip(axes, places, strict=True):
        part = table[table["split"] == split]
        for key, value in chosen.items():
            part = part[part[key] == value]
        titles = [style.SPLIT_LABELS[split], *(f"{k} = {v}" for k, v in chosen.items())]
        panel.set_title(", ".join(titles))
        part, ticks = _positions(part, across, rows[across])
        for line, colour in colours.items():
            own = part[part["line"] == line]
            if len(own):
                style.curve(panel, own, "position", colour=colour, label=line)
        _value_axis(panel, across, ticks)
    for panel in axes:
        style.percent_axis(panel, "accuracy" if panel in axes[:: len(SPLITS)] else "")
        panel.label_outer()
    style.legend(figure)
    return style.Drawing(figure, table)


def _ends(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The last checkpoint of SFT at each point, and RL's results; column `line` names them."""
    sft, rl = rows[rows["run"] == "sft"], rows[rows["run"] != "sft"]
    last = sft[sft["sft_step"] == sft.groupby(keys)["sft_step"].transform("max")]
    named = "RL (" + rl["run"].str.upper() + ") from step " + rl["sft_step"].astype(str)
    return pd.concat([last.assign(line="end of SFT"), rl.assign(line=named)], ignore_index=True)


def _colours(rows: pd.DataFrame) -> dict[str, object]:
    rl = rows[rows["run"] != "sft"].sort_values(["run", "sft_step"])
    starts = style.start_colours(rl["sft_step"])
    lines = rl.drop_duplicates("line")
    return {"end of SFT": style.GREY} | {
        str(line): starts[step] for line, step in zip(lines["line"], lines["sft_step"], strict=True)
    }


def _positions(
    table: pd.DataFrame, key: str, values: pd.Series
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Where values stand on the axis, as a column `position`, and by their text for the ticks.

    Numbers stand at themselves, everything else side by side in its order.
    """
    distinct = values.drop_duplicates().tolist()
    numeric = is_numeric_dtype(values)
    at = {value: float(value) if numeric else float(i) for i, value in enumerate(distinct)}
    text = {value: f"{value:g}" if numeric else str(value) for value in distinct}
    return (
        table.assign(position=table[key].map(at)),
        {text[value]: at[value] for value in distinct},
    )


def _value_axis(axes: Axes, key: str, ticks: dict[str, float]) -> None:
    low, high = min(ticks.values()), max(ticks.values())
    if low > 0 and high >= 5 * low:
        axes.set_xscale("log")
    axes.set_xticks(list(ticks.values()), list(ticks))
    axes.minorticks_off()
    axes.set_xlabel(key)
