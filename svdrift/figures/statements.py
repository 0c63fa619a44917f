"""All statements about a paper with their estimates, intervals and verdicts."""

from __future__ import annotations

import textwrap

import pandas as pd

from svdrift.figures import style

VERDICTS = {  # colour and marker
    "holds": (style.GREEN, "o"),
    "fails": (style.RED, "s"),
    "undecided": (style.GREY, "D"),
    "described": (style.BLACK, "."),
}
WIDTH = 53  # characters of a statement's line
ROW, LINE, REST = 0.09, 0.1, 0.9  # inches: of a row, of each of its lines, and of what is left


@style.styled
def draw(findings: pd.DataFrame) -> style.Drawing:
    """Forest plot: a row a statement, a panel for the statements of each unit.

    Args:
        findings: of `svdrift.findings.finding.findings_table`; statements without an estimate or
            an interval are named, and have no mark.
    """
    rows = findings.to_dict("records")
    units = dict.fromkeys(row["unit"] for row in rows)
    panels = [(unit, [row for row in rows if row["unit"] == unit]) for unit in units]
    texts = {row["statement"]: textwrap.wrap(str(row["statement"]), WIDTH) for row in rows}
    heights = [sum(ROW + LINE * len(texts[row["statement"]]) for row in part) for _, part in panels]
    note = (
        "Dots: estimates over seeds; whiskers: 95 % intervals; ticks: single seeds. Grey lines: "
        "the bound of each statement; an arrow leads to the side on which one that is judged holds."
    )
    figure, axes = style.panels(
        len(panels), 1, sum(heights) + REST * len(panels), note=note, height_ratios=heights
    )
    figure.get_layout_engine().set(w_pad=0.12)  # type: ignore[union-attr,call-arg]  # inches
    for axis, (unit, part) in zip(axes, panels, strict=True):
        for y, row in enumerate(part):
            colour, marker = VERDICTS[str(row["verdict"])]
            if y % 2:
                axis.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", lw=0, zorder=0)
            axis.plot([row["bound"]] * 2, [y - 0.5, y + 0.5], color="#999999", lw=0.8, zorder=1)
            if row["verdict"] != "described":
                axis.annotate(
                    "\N{RIGHTWARDS ARROW}" if row["side"] == "above" else "\N{LEFTWARDS ARROW}",
                    (row["bound"], y),
                    (3 if row["side"] == "above" else -3, 0),
                    textcoords="offset points",
                    ha="left" if row["side"] == "above" else "right",
                    va="center",
                    color="#999999",
                    fontsize=6,
                )
            if pd.isna(row["estimate"]):
                continue
            ends = (
                [[0], [0]]
                if pd.isna(row["low"])
                else [[row["estimate"] - row["low"]], [row["high"] - row["estimate"]]]
            )
            axis.errorbar(
                [row["estimate"]], [y], xerr=ends, fmt=marker, color=colour, ms=3.6, lw=1.1
            )
            each = [float(one) for one in str(row["each"]).split() if one != "none"]
            if len(each) > 1:
                axis.plot(each, [y] * len(each), "|", color=colour, ms=4.0, mew=0.6, zorder=1)
        axis.set_ylim(len(part) - 0.5, -0.5)
        axis.set_yticks(
            range(len(part)),
            [
                "\n".join([*texts[row["statement"]][:-1], f"{texts[row['statement']][-1]}"])
                for row in part
            ],
            fontsize=6,
        )
        for label, row in zip(axis.get_yticklabels(), part, strict=True):
            label.set_color(VERDICTS[str(row["verdict"])][0])
        axis.grid(visible=False, axis="y")
        axis.margins(x=0.08)
        axis.set_xlabel(unit or "see each statement")
    for verdict, (colour, marker) in VERDICTS.items():
        if (findings["verdict"] == verdict).any():
            axes[0].plot([], [], marker, color=colour, label=verdict, ms=4)
    style.legend(figure)
    return style.Drawing(figure, findings)
