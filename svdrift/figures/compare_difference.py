"""What is different between studies? Each study minus the first, checkpoint by checkpoint."""

from __future__ import annotations

import pandas as pd

from svdrift.figures import labels, style

COLOURS = (style.PURPLE, style.SKY, style.GREEN)


@style.styled
def draw(differences: pd.DataFrame) -> style.Drawing:
    """Forest plot: a row for each checkpoint, a colour for each study, a panel for ID and OOD.

    Args:
        differences: `study`, `reference` (the study that it is compared with), `role`, `shift`,
            and the columns of `svdrift.evaluation.studies.study_differences`. The mean over seeds
            is drawn with its interval where there is one, and single seeds as ticks; else the seed
            with its own.
    """
    reference = str(differences["reference"].iloc[0])
    studies = list(differences["study"].unique())
    if len(studies) > len(COLOURS):
        raise ValueError(f"at most {len(COLOURS)} studies can be told apart, not {studies}")
    checkpoints = list(differences["checkpoint"].unique())
    note = (
        "Whiskers: 95 % intervals, clustered by group; "
        f"{labels.seeds(differences)}{labels.singles(differences, 'ticks')}. "
        f"{_pairing(differences)}\n"
        "Right of the line the study is better. "
        "n in each title: problems of a comparison"
        f"{', seeds pooled' if labels.several(differences) else ''}."
    )
    rows = 0.1 * len(studies) + 0.06
    figure, axes = style.panels(
        1, 2, max(2.2, 1.3 + rows * len(checkpoints)), note=note, sharey=True
    )
    for panel, place, part in style.panels_of(differences, axes, [labels.ID, labels.OOD]):
        panel.axvline(0, color=style.BLACK, lw=0.8, zorder=1)
        lines = [
            [
                style.Mark(
                    part[(part["study"] == study) & (part["checkpoint"] == checkpoint)],
                    COLOURS[j],
                    style.MARKERS[j],
                    f"{study} minus {reference}",
                )
                for j, study in enumerate(studies)
            ]
            for checkpoint in checkpoints
        ]
        style.forest(panel, lines)
        panel.set_title(f"{labels.split(*place)} (n = {labels.size(style.pooled(part))})")
        style.points_axis(panel, "difference (points)")
    axes[0].set_yticks(range(len(checkpoints)), checkpoints)
    style.legend(figure)
    return style.Drawing(figure, differences)


def _pairing(differences: pd.DataFrame) -> str:
    """Which comparisons are paired, in words."""
    unpaired = differences.loc[~differences["paired"], ["study", "role", "shift"]]
    if unpaired.empty:
        return "Paired on the same problems."
    listed = ", ".join(
        f"{study} on {labels.split(role, shift)}"
        for study, role, shift in unpaired.drop_duplicates().itertuples(index=False)
    )
    return f"NOT paired, since the problems differ: {listed}."
