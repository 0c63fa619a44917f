"""What RL itself does: RL minus each matched control from the same start, on the same problems."""

from __future__ import annotations

import math

import pandas as pd

from svdrift.figures import labels, style
from svdrift.story import Story

MOST_COLUMNS = 4


@style.styled
def draw(
    comparisons: pd.DataFrame, story: Story, signals: pd.DataFrame | None = None
) -> style.Drawing:
    """Forest plot: a row for each start, a colour for each control, a panel for each set.

    Panels: ID test, then OOD test and its subsets, then further shifts.

    Args:
        comparisons: one row a paired difference a minus b: `a`, `b` (ids), `role`, `shift`,
            `subset`, `seed` (missing for the comparison over all seeds), `n` (problems, pooled
            over seeds), `difference`, `low`, `high`. Rows of RL's results against their own start
            and against the controls from it are used. Where a comparison over seeds exists it is
            drawn with its interval and the single seeds as ticks; else the seeds with theirs.
        story: RL and its controls.
        signals: which runs of RL had a reward signal; starts of the others have a star.
    """
    rl, silent = labels.rl_of(story), labels.silent(signals, story)
    rows, opponents = _opponents(comparisons[comparisons["role"] == "test"], story)
    places = [
        (role, shift, str(subset))
        for role, shift in labels.tests(rows)
        for subset in rows.loc[rows["shift"] == shift, "subset"].unique()
        if shift == "ood" or subset == "all"
    ]
    starts = list(rl.results)
    pooled = ", seeds pooled" if labels.several(rows) else ""
    note = (
        "Whiskers: 95 % intervals of the paired difference, clustered by group; "
        f"{labels.seeds(rows)}{labels.singles(rows, 'ticks')}. "
        f"Right of the line {rl.label} is better. n: problems of a comparison{pooled}."
        f"{labels.silence(silent).replace('Hollow', '*')}"
    )
    columns = min(len(places), MOST_COLUMNS)
    lines = math.ceil(len(places) / columns)
    height = max(0.75 + len(starts) * (0.09 * len(opponents) + 0.12), 1.5)
    figure, axes = style.panels(lines, columns, 0.7 + lines * height, note=note, sharey=True)
    for unused in axes[len(places) :]:
        unused.remove()
    shown = []
    for i, (panel, (role, shift, subset)) in enumerate(zip(axes, places, strict=False)):
        own = rows[(rows["shift"] == shift) & (rows["subset"] == subset)]
        shown.append(own)
        panel.axvline(0, color=style.BLACK, lw=0.8, zorder=1)
        marks = [
            [
                style.Mark(own[(own["start"] == start) & (own["opponent"] == stage)], *look)
                for stage, look in opponents.items()
            ]
            for start in starts
        ]
        style.forest(panel, marks)
        name = labels.split(role, shift) if subset == "all" else f"{shift.upper()}, {subset}"
        panel.set_title(f"{name} (n = {labels.size(style.pooled(own))})", fontsize=7)
        style.points_axis(panel, "difference (points)")
        if i % columns == 0:
            names = [labels.checkpoint(story, start) + " *" * (start in silent) for start in starts]
            panel.set_yticks(range(len(starts)), names)
            panel.set_ylabel("start")
    style.legend(figure, columns=2)
    return style.Drawing(figure, pd.concat(shown, ignore_index=True))


def _opponents(
    table: pd.DataFrame, story: Story
) -> tuple[pd.DataFrame, dict[str, tuple[str, str, str]]]:
    """Rows of RL's results with `start` and `opponent`; how each opponent is drawn, by name.

    Raises:
        ValueError: no row has RL's result from one of its starts.
    """
    rl = labels.rl_of(story)
    looks = {"start": (labels.PATH_COLOUR, labels.PATH_MARKER, f"{rl.label} minus its own start")}
    opponent = {(end, start): "start" for start, end in rl.results.items()}
    for look in labels.ends(story)[1:]:
        looks[look.role.stage] = (
            look.colour,
            look.marker,
            f"{rl.label} minus {look.role.label}",
        )
        for start, end in look.role.results.items():
            opponent[rl.results[start], end] = look.role.stage
    pairs = pd.Series(list(zip(table["a"], table["b"], strict=True)), index=table.index)
    if missing := [f"{a} minus {b}" for a, b in opponent if (a, b) not in set(pairs)]:
        raise ValueError(f"no comparison of {', '.join(missing)}")
    origin = {end: start for start, end in rl.results.items()}
    rows = table[pairs.isin(list(opponent))]
    return rows.assign(opponent=pairs[rows.index].map(opponent), start=rows["a"].map(origin)), looks
