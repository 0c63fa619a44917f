"""Reliability diagram: how often greedy replies are right, by how sure the model is of them."""

from __future__ import annotations

from functools import partial

import pandas as pd

from svdrift.evaluation.calibration import reliability
from svdrift.figures import labels, style
from svdrift.story import Story

SURE = {"confidence": "token probability", "agreement": "agreement of samples"}
PATH_LOOKS = {"peak": (style.GREY, "^", ":"), "last": (style.BLACK, "v", "--")}
BINS = 8  # of 15, five curves could not be told apart
START_LOOK = (style.ORANGE, "D", "--")


@style.styled
def draw(samples: pd.DataFrame, story: Story) -> style.Drawing:
    """A row of panels for each measure of confidence, a column for the ID and the OOD test.

    Args:
        samples: the probe `samples` with `seed`, on test splits.
        story: its path, RL from the moderate start, and controls from there.
    """
    shown = _shown(story)
    rows = samples[samples["checkpoint"].isin(shown)]
    rows = rows[(rows["role"] == "test") & rows["shift"].isin(["id", "ood"])]
    tables = []
    for (name, shift), part in rows.groupby(["checkpoint", "shift"], sort=False):
        groups = list(zip(part["seed"], part["group"], strict=True))
        tables += [
            reliability(part[sure], part["greedy_solved"], groups, BINS).assign(
                checkpoint=str(name), shift=str(shift), sure=sure
            )
            for sure in SURE
        ]
    table = pd.concat(tables, ignore_index=True)
    each = rows.groupby(["seed", "checkpoint", "shift"]).size().max()
    note = (
        f"n = {each:,} problems of each test and seed; {labels.seeds(rows)}, together. At most "
        f"{BINS} bins of equal mass.\nWhiskers: 95 % intervals of the accuracy, clustered by "
        "group. Grey line: as often right as confident."
    )
    figure, panels = style.panels(len(SURE), 2, 5.2, note=note, sharex=True, sharey=True)
    places = [(sure, shift) for sure in SURE for shift in ("id", "ood")]
    for axes, (sure, shift) in zip(panels, places, strict=True):
        axes.plot([0, 1], [0, 1], color=style.GREY, lw=0.8, zorder=1)
        here = table[(table["sure"] == sure) & (table["shift"] == shift)]
        for name, (label, (colour, marker, line)) in shown.items():
            part = here[here["checkpoint"] == name]
            if part.empty:
                continue
            ends = [part["accuracy"] - part["low"], part["high"] - part["accuracy"]]
            axes.errorbar(
                part["confidence"],
                part["accuracy"],
                yerr=ends,
                fmt=marker,
                linestyle=line,
                color=colour,
                label=label,
                ms=3,
                lw=1.1,
                elinewidth=0.6,
            )
        axes.set_title(f"{labels.split('test', shift)}, by {SURE[sure]}")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
    for axes in panels[::2]:
        axes.set_ylabel("share that is right")
    for axes in panels[-2:]:
        axes.set_xlabel("mean confidence of the bin")
    style.legend(figure, columns=3)
    return style.Drawing(figure, table)


def _shown(story: Story) -> dict[str, tuple[str, tuple[str, str, str]]]:
    """The checkpoints that are drawn, each with its label and its colour, marker and line."""
    words = partial(labels.checkpoint, story)
    found = {}
    if story.peak is not None:
        found[story.peak] = (f"{words(story.peak)}, the peak", PATH_LOOKS["peak"])
    found[story.last] = (f"{words(story.last)}, the last", PATH_LOOKS["last"])
    start = story.moderate
    if start is not None:
        found.setdefault(start, (f"{words(start)}, the start of RL", START_LOOK))
        for look in labels.ends(story):
            if start in look.role.results:
                label = f"{look.role.label} from {words(start)}"
                found[look.role.results[start]] = (label, (look.colour, look.marker, "-"))
    return found
