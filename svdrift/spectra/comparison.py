"""Summaries of a table of drift: by matrix, by layer and kind of module, and in sentences.

Reads the tables of `svdrift.spectra.drift.drift_tables` and measures nothing itself. Columns:

- `matrices`, `moved`: how many there are, and how many the update changed at all. All other
  columns speak of those that moved, and are empty if none did;
- `turned`: of how many of these angles were measured: a matrix of zeros has no directions, and
  where it is the anchor's, no relative change either;
- `angle`, `unrelated` (degrees): mean principal angle of the leading directions, mean of both
  sides (U and V), as observed and between unrelated random matrices;
- for each null by its name, such as `isotropic`: the mean of that angle over its draws;
  `p_isotropic`: two-sided p of the angle being one more draw (`svdrift.spectra.single`);
  `more_isotropic`, `less_isotropic`: number of matrices with p below 0.05 whose angle is larger, or
  smaller: noise itself is found in each in at most 2.5 % of matrices;
- `excess`: angle - isotropic;
- `value_change`, `value_noise`: ||s' - s|| / ||s|| of the singular values, observed and under
  isotropic noise; `update`: the update's Frobenius norm over the anchor's;
- `energy`, `energy_even`: share of the update's energy in the span of the leading directions of
  both sides, and what it would be if the energy lay evenly (mean under isotropic noise).

Groups (rows of `grouped`) hold sums of the counts and means of the rest.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from svdrift.spectra.excess import NULL_NAMES
from svdrift.spectra.patterns import kind_of
from svdrift.spectra.single import PLACE, chances, mean_beside

UNLIKELY = 0.05
MEANS = ["angle", "unrelated", "excess", "value_change", "value_noise", "update"]
MEANS += ["energy", "energy_even"]
OUTSIDE = "outside layers"
ALL = "all"


def nulls_in(table: pd.DataFrame) -> list[str]:
    """The nulls of which a table has columns."""
    return [null for null in NULL_NAMES if null in table]


def counts_in(table: pd.DataFrame) -> list[str]:
    """The columns of a table that are numbers of matrices."""
    beyond = [f"{which}_{null}" for null in nulls_in(table) for which in ("more", "less")]
    return ["matrices", "moved", "turned", *beyond]


def matrix_changes(drift: pd.DataFrame, nulls: pd.DataFrame) -> pd.DataFrame:
    """One row a matrix: `layer` (empty outside layers), `module` and the columns of this module.

    Args:
        drift: measured at a single share of the ranks.
        nulls: draws of the nulls.
    """
    angles = leading(drift)
    sides = angles.groupby(PLACE, sort=False, dropna=False)
    rows = sides[["observed", "random"]].mean().reset_index()
    rows = rows.rename(columns={"observed": "angle", "random": "unrelated"})
    rows = rows.merge(chances(angles, nulls, nulls_in(nulls)), on=PLACE, validate="1:1")
    for null in nulls_in(nulls):
        unlikely = rows[f"p_{null}"] < UNLIKELY
        rows[f"more_{null}"] = (unlikely & (rows["angle"] > rows[null])).astype(int)
        rows[f"less_{null}"] = (unlikely & (rows["angle"] < rows[null])).astype(int)
    rows["excess"] = rows["angle"] - rows["isotropic"]
    for measure, names in {
        "value_change": {"observed": "value_change", "isotropic": "value_noise"},
        "update_norm": {"observed": "update"},
        "energy_top": {"observed": "energy", "isotropic": "energy_even"},
    }.items():
        part = drift[(drift["measure"] == measure) & (drift["side"] == "both")]
        part = part[[*PLACE, *names]].rename(columns=names)
        rows = rows.merge(part, on=PLACE, how="left", validate="1:1")
    rows["matrices"] = 1
    rows["moved"] = (rows["update"] > 0).astype(int)
    still = rows["moved"] == 0
    counts, means = counts_in(rows), [*MEANS, *nulls_in(rows)]
    rows[means] = rows[means].mask(still).replace(np.inf, np.nan)
    # Means of angles and of their nulls are over the same matrices.
    undirected = rows["angle"].isna()
    probable = [f"p_{null}" for null in nulls_in(rows)]
    drawn = ["unrelated", *nulls_in(rows), *probable]
    rows[drawn] = rows[drawn].mask(undirected | still)
    rows["turned"] = (~undirected).astype(int)
    rows[counts[3:]] = rows[counts[3:]].mask(undirected, 0)
    return rows[[*PLACE, *counts, *means, *probable]]


def leading(drift: pd.DataFrame) -> pd.DataFrame:
    """The rows of the angles of the leading directions."""
    return drift[(drift["measure"] == "mean_angle") & (drift["region"] == "top")]


def on_average(drift: pd.DataFrame, nulls: pd.DataFrame) -> pd.DataFrame:
    """Mean angle of the leading directions over the matrices that moved, minus that of each null.

    Columns as in `svdrift.spectra.single.mean_beside`; no rows if nothing moved. The interval of a
    mean over many matrices is narrow, and its error near the nominal 5 %.
    """
    norms = drift[drift["measure"] == "update_norm"]
    angles = leading(drift).merge(norms.loc[norms["observed"] > 0, PLACE], on=PLACE)
    angles = angles[angles["observed"].notna()]
    names = nulls_in(nulls)
    if angles.empty:
        return pd.DataFrame(columns=["null", "observed", "drawn", "difference", "low", "high", "p"])
    return mean_beside(angles, nulls, names)


def grouped(changes: pd.DataFrame) -> pd.DataFrame:
    """Rows by `group`: each kind of module (all experts together), then each layer, then all.

    Column `by` names the grouping: `module`, `layer` or `all`.

    Args:
        changes: `matrix_changes`.
    """
    layers = [OUTSIDE if pd.isna(layer) else f"layer {layer}" for layer in changes["layer"]]
    parts = [
        _group(changes, "module", changes["module"].map(kind_of)),
        _group(changes, "layer", pd.Series(layers, index=changes.index)),
        _group(changes, ALL, pd.Series(ALL, index=changes.index)),
    ]
    return pd.concat(parts, ignore_index=True)


def _group(changes: pd.DataFrame, by: str, labels: pd.Series[str]) -> pd.DataFrame:
    groups = changes.groupby(labels.rename("group"), sort=False)
    table = groups[counts_in(changes)].sum().join(groups[[*MEANS, *nulls_in(changes)]].mean())
    table.insert(0, "by", by)
    return table.reset_index()


def in_words(groups: pd.DataFrame, average: pd.DataFrame, share: float) -> list[str]:
    """Sentences with the main numbers, each null by its name.

    They speak of the matrices that were compared, and of no others.

    Args:
        groups: `grouped`.
        average: `on_average`.
        share: of the ranks at which angles were measured, for their name.
    """
    whole = groups[groups["by"] == ALL].iloc[0]
    count, moved, turned = (int(whole[name]) for name in ("matrices", "moved", "turned"))
    if not moved:
        return [f"None of the {count} matrices compared changed."]
    words = [f"{moved} of {count} matrices changed, by {percent(whole['update'])} of their norm."]
    if not turned:
        return [*words, "None of these has directions in both checkpoints."]
    words += [
        f"Their top {100 * share:g} % of directions turned by {degrees(whole['angle'])} on average "
        f"(between unrelated matrices lie {degrees(whole['unrelated'])}):",
    ]
    words += [
        f"- {_against(row)}; {int(whole['more_' + row['null']])} of {turned} matrices turned "
        f"further, {int(whole['less_' + row['null']])} less far."
        for _, row in average.iterrows()
    ]
    words.append(
        f"{percent(whole['energy'])} of the update's energy lies in these directions; spread "
        f"evenly, {percent(whole['energy_even'])} would."
    )
    furthest = [_furthest(groups[groups["by"] == by]) for by in ("module", "layer")]
    words.append(
        f"Largest angle minus isotropic noise: {furthest[0]} by kind, {furthest[1]} by place."
    )
    words.append(
        f"Singular values changed by {percent(whole['value_change'])}; isotropic noise changes "
        f"them by {percent(whole['value_noise'])}."
    )
    return words


def _against(row: pd.Series) -> str:
    """`further than isotropic noise of the update's size, 2.6° (+2.0° [1.7, 2.3])`."""
    if row["low"] > 0:
        how = "further than"
    elif row["high"] < 0:
        how = "less far than"
    else:
        how = "not clearly further or less far than"
    interval = f"[{row['low']:.1f}, {row['high']:.1f}]"
    return (
        f"{how} {NULL_NAMES[row['null']]}, {degrees(row['drawn'])} "
        f"({signed_degrees(row['difference'])} {interval})"
    )


def _furthest(groups: pd.DataFrame) -> str:
    row = groups.iloc[int(groups["excess"].argmax())]
    return f"{row['group']} ({signed_degrees(row['excess'])})"


def degrees(value: float) -> str:
    """`12.3°`; `-` for an empty value."""
    return "-" if pd.isna(value) else f"{value:.1f}°"


def signed_degrees(value: float) -> str:
    """`+2.1°`; `-` for an empty value."""
    return "-" if pd.isna(value) else f"{round(value, 1) + 0.0:+.1f}°"  # + 0.0: no minus zero


def percent(share: float) -> str:
    """`0.42 %`, three significant digits; `-` for an empty value."""
    return "-" if pd.isna(share) else f"{100 * share:.3g} %"
