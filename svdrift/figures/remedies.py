"""Prevent, repair or retrain: every remedy on one plane, at the setting that selection chose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.figures import labels, style
from svdrift.findings.arms import solved as solved_by_arm
from svdrift.findings.paired import weighted
from svdrift.findings.papers.repairs import PAPER, best_settings, by_simplicity, solved
from svdrift.recovery import kind as kinds
from svdrift.story import Story

ARMS = {  # colour and marker of each
    "slow": (style.GREY, "s"),
    "stopped": (style.BROWN, "s"),
    "averaged": (style.GREY, "D"),
    "replay": (style.BROWN, "D"),
    "held": (style.GREY, "v"),
    "rl": (labels.RL_COLOUR, labels.RL_MARKER),
    "control": (labels.CONTROL_COLOURS[0], labels.CONTROL_MARKERS[0]),
}
END = "target"  # the checkpoint that forgot, which is the arm `last`


class Remedy(NamedTuple):
    """What is drawn of a remedy.

    Attributes:
        name: of the legend.
        id: of the intervention or the arm's checkpoint.
        by_place: whether each problem is solved, ID and OOD.
        looks: for `Axes.plot`.
    """

    name: str
    id: str
    by_place: tuple[pd.Series[float], pd.Series[float]]
    looks: dict[str, Any]


@style.styled
def draw(scores: pd.DataFrame, recovery_solved: pd.DataFrame, story: Story) -> style.Drawing:
    """Accuracy on the OOD test against that on the ID test.

    Args:
        scores: the probe `scores`, with `seed`.
        recovery_solved: problems that each repaired model solves, with `seed`; its first repair
            is drawn.
        story: names the arms.
    """
    rows = recovery_solved[recovery_solved["repair"] == recovery_solved["repair"].iloc[0]]
    remedies = [*_repaired(rows), *_trained(scores, story)]
    table = pd.DataFrame([_point(remedy) for remedy in remedies])
    tests = rows[(rows["role"] == ID[0]) & rows["shift"].isin([ID[1], OOD[1]])]
    each = tests.groupby(["seed", "intervention", "shift"]).size().max()
    note = (
        f"n = {each:,} problems of each test and seed; {labels.seeds(rows)}. Up and to the right "
        f"is better. {labels.intervals(rows, 'Thin crosses')}. Each kind of repair at the setting "
        "that solves most problems for selection."
    )
    figure, (axes,) = style.panels(1, 1, 4.2, note=note)
    style.crosses(axes, table)
    for remedy, x, y in zip(remedies, table["value_x"], table["value_y"], strict=True):
        axes.plot(x, y, label=remedy.name, linestyle="none", zorder=3, **remedy.looks)
    axes.set_xlabel(f"accuracy, {labels.split(*ID)}")
    axes.set_ylabel(f"accuracy, {labels.split(*OOD)}")
    for axis in (axes.xaxis, axes.yaxis):
        style.share_axis(axis)
    axes.margins(0.08)
    style.legend(figure, columns=2)
    return style.Drawing(figure, table)


def _repaired(rows: pd.DataFrame) -> Iterator[Remedy]:
    """The checkpoint that forgot, the anchor, and each kind of repair."""
    for end, marker in labels.END_MARKERS.items():
        name = PAPER.arms["last"] if end == END else labels.END_LABELS[end]
        size = 10 if marker == "*" else 7.5
        yield Remedy(
            name,
            end,
            (solved(rows, end, ID), solved(rows, end, OOD)),
            {"marker": marker, "color": style.GREEN, "mec": "white", "mew": 0.5, "ms": size},
        )
    for kind, intervention in by_simplicity(best_settings(rows)).items():
        record = kinds.kind(kind)
        yield Remedy(
            labels.intervention(intervention),
            intervention,
            (solved(rows, intervention, ID), solved(rows, intervention, OOD)),
            {
                "marker": record.marker,
                "color": record.colour,
                "ms": 8 if record.marker == "." else 5,
            },
        )


def _trained(scores: pd.DataFrame, story: Story) -> Iterator[Remedy]:
    """What is trained instead: less forgetfully, or further."""
    for arm, (colour, marker) in ARMS.items():
        by_place = tuple(solved_by_arm(scores, story, arm, place) for place in (ID, OOD))
        yield Remedy(
            PAPER.arms[arm],
            story.arms[arm],
            (by_place[0], by_place[1]),
            {"marker": marker, "color": colour, "mfc": "white", "ms": 5.5, "mew": 1.2},
        )


def _point(remedy: Remedy) -> dict[str, object]:
    row: dict[str, object] = {"remedy": remedy.name, "id": remedy.id}
    for axis, values in zip("xy", remedy.by_place, strict=True):
        found = weighted([(1, values)])
        assert found is not None  # a test has many groups
        row |= {f"value_{axis}": found.estimate, f"low_{axis}": found.low}
        row[f"high_{axis}"] = found.high
    return row
