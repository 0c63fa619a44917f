"""Which faults go first: share of first replies with each kind of fault against SFT step."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import style
from svdrift.figures.aggregate import accuracies, order, summary

# Kinds of the tasks at hand, most formal first; others follow in alphabetical order.
KNOWN = (
    "unreadable",
    "illegal_formula",
    "partial",
    "wrong_number",
    "overused",
    "unused",
    "wrong_value",
)
COLOURS = (
    style.BLACK,
    style.PURPLE,
    style.GREY,
    style.ORANGE,
    style.GREEN,
    style.SKY,
    style.RED,
    style.BLUE,
)
MARKERS = "oXPs^vD*"


@style.styled
def draw(accuracy: pd.DataFrame) -> style.Drawing:
    """One panel for ID and one for OOD; the shares and the solved share add up to one.

    Args:
        accuracy: the accuracy table with `seed`, `run`, `sft_step`, `update`; the measures
            `fault:<kind>` of run `sft` on `id_test` and `ood_test` are used.
    """
    splits = ["id_test", "ood_test"]
    kinds = accuracy["measure"].str.removeprefix("fault:")[
        accuracy["measure"].str.startswith("fault:")
    ]
    found = order(kinds, KNOWN)
    if len(found) > len(COLOURS):
        raise ValueError(f"no more than {len(COLOURS)} kinds of fault can be told apart")
    rows = pd.concat(
        [
            accuracies(accuracy, splits, ["sft"], measure=f"fault:{kind}").assign(kind=kind)
            for kind in found
        ]
    )
    table = summary(rows, ["split", "kind", "sft_step"])
    note = f"{style.sample(rows)}. {style.BANDS};\n{style.THIN}."
    figure, both = style.panels(1, 2, 2.8, note=note, sharey=True)
    for axes, split in zip(both, splits, strict=True):
        for kind, colour, marker in zip(found, COLOURS, MARKERS, strict=False):
            part = table[(table["split"] == split) & (table["kind"] == kind)]
            label = kind.replace("_", " ")
            style.curve(axes, part, "sft_step", colour=colour, label=label, marker=marker, lw=1.2)
        axes.set_title(style.SPLIT_LABELS[split])
        style.step_axis(axes, list(table["sft_step"]), "SFT step", gap=0.08)
    style.percent_axis(both[0], "share of first replies")
    style.legend(figure, columns=7)
    return style.Drawing(figure, table)
