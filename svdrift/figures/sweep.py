"""What does a setting change? Accuracy at the ends of path and RL, against the swept setting."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from pandas.api.types import is_numeric_dtype

from svdrift.checkpoints import Checkpoint
from svdrift.figures import labels, style
from svdrift.figures.aggregate import first_tries, of, summary
from svdrift.story import Story


@style.styled
def draw(sweep: pd.DataFrame, story: Story) -> style.Drawing:
    """A panel for ID and OOD, a line for the path and each start of RL; rows for a second setting.

    Args:
        sweep: the accuracy tables of all points, and before them a column for each swept setting.
            Its name has a dot, as keys of settings have (`stages.sft.learning_rate`).
        story: which stages are the path and RL. Points may keep other steps than the story's:
            the last one of each run is used.
    """
    keys = [str(column) for column in sweep if "." in str(column)]
    places = [labels.ID, labels.OOD]
    rows = _ends(first_tries(of(sweep, "test", "id", "ood")), keys, story)
    table = summary(rows, [*keys, "role", "shift", "line"])
    across, down = keys[0], keys[1:]
    values = [rows[key].drop_duplicates().tolist() for key in down]
    grid = [{down[0]: value} for value in values[0]] if down else [{}]
    figure, axes = style.panels(
        len(grid),
        len(places),
        1.1 + 1.9 * len(grid),
        note=f"{labels.sample(rows)}. {labels.intervals(rows)}{labels.singles(rows)}.",
        sharey=True,
        sharex=True,
    )
    colours = _colours(rows, story)
    spots = [(chosen, place) for chosen in grid for place in places]
    for panel, (chosen, place) in zip(axes, spots, strict=True):
        part = of(table, *place)
        for key, value in chosen.items():
            part = part[part[key] == value]
        titles = [labels.split(*place), *(f"{k} = {v}" for k, v in chosen.items())]
        panel.set_title(", ".join(titles))
        part, ticks = _positions(part, across, rows[across])
        for line, colour in colours.items():
            own = part[part["line"] == line]
            if len(own):
                style.curve(panel, own, "position", colour=colour, label=line)
        _value_axis(panel, across, ticks)
    for panel in axes:
        style.percent_axis(panel, "accuracy" if panel in axes[:: len(places)] else "")
        panel.label_outer()
    style.legend(figure)
    return style.Drawing(figure, table)


def _path_line(story: Story) -> str:
    return f"end of {story.path_label}"


def _ends(rows: pd.DataFrame, keys: list[str], story: Story) -> pd.DataFrame:
    """The last checkpoint of the path at each point, and RL's results; `line` names them."""
    stage = Checkpoint.parse(story.last).stage
    path = rows[(rows["stage"] == stage) & (rows["start"] == story.base)]
    if path.empty:
        raise ValueError(f"no checkpoint of stage {stage} from {story.base}")
    last = path[path["step"] == path.groupby(keys)["step"].transform("max")]
    parts = [last.assign(line=_path_line(story))]
    if story.rl is not None:
        rl = rows[rows["stage"] == story.rl.stage]
        ends = rl[rl["step"] == rl.groupby([*keys, "start"])["step"].transform("max")]
        starts = ends["start"].map(lambda start: labels.checkpoint(story, start))
        parts.append(ends.assign(line=f"{story.rl.label} from " + starts))
    return pd.concat(parts, ignore_index=True)


def _colours(rows: pd.DataFrame, story: Story) -> dict[str, object]:
    lines = rows[rows["line"] != _path_line(story)].drop_duplicates("line")
    steps = lines["start"].map(lambda start: Checkpoint.parse(start).step)
    ordered = [str(line) for line in lines["line"].iloc[steps.argsort(kind="stable")]]
    return {_path_line(story): style.GREY} | style.shade(ordered)


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
