"""Summaries of a table of drift: by matrix, by layer and kind of module, and in sentences.

Reads `svdrift.spectra.drift.drift_rows` and measures nothing itself. Columns of both tables:

- `matrices`, `moved`: how many there are, and how many the update changed at all. All other
  columns speak of those that moved, and are empty if none did;
- `angle`, `noise`, `unrelated` (degrees): mean principal angle of the leading directions, mean of
  both sides (U and V): as observed; under isotropic noise of the update's Frobenius norm; and
  between unrelated random matrices. `excess` = angle - noise;
- `more`, `less`: number of matrices that turned more, or less, than noise: on both sides the
  whole 95 % interval of observed minus noise lies above (below) 0. For an update that is noise
  itself this has a probability of 1/40 at most in each direction;
- `value_change`, `value_noise`: ||s' - s|| / ||s|| of the singular values, observed and under
  noise of that size; `update`: the update's Frobenius norm over the anchor's.

Groups (rows of `grouped`) hold sums of the counts and means of the rest.
"""

from __future__ import annotations

import pandas as pd

COUNTS = ["matrices", "moved", "more", "less"]
MEANS = ["angle", "noise", "unrelated", "excess", "value_change", "value_noise", "update"]
OUTSIDE = "outside layers"
ALL = "all"


def matrix_changes(drift: pd.DataFrame) -> pd.DataFrame:
    """One row a matrix: `layer` (empty outside layers), `module` and the columns of this module.

    Args:
        drift: `drift_rows` measured at a single share of the ranks.
    """
    keys = ["layer", "module"]
    angles = drift[(drift["measure"] == "mean_angle") & (drift["region"] == "top")]
    sides = angles.groupby(keys, sort=False, dropna=False)
    rows = sides[["observed", "isotropic", "random"]].mean()
    rows.columns = pd.Index(["angle", "noise", "unrelated"])
    rows["excess"] = rows["angle"] - rows["noise"]
    rows["more"] = (sides["minus_isotropic_low"].min() > 0).astype(int)
    rows["less"] = (sides["minus_isotropic_high"].max() < 0).astype(int)
    rows = rows.reset_index()
    for measure, names in {
        "value_change": {"observed": "value_change", "isotropic": "value_noise"},
        "update_norm": {"observed": "update"},
    }.items():
        part = drift.loc[drift["measure"] == measure, [*keys, *names]].rename(columns=names)
        # On columns: an index with the empty layer of embedding and head matches nothing.
        rows = rows.merge(part, on=keys, how="left", validate="1:1")
    rows["matrices"] = 1
    rows["moved"] = (rows["update"] > 0).astype(int)
    still = rows["moved"] == 0
    rows[MEANS] = rows[MEANS].mask(still)
    rows[["more", "less"]] = rows[["more", "less"]].mask(still, 0)
    return rows[keys + COUNTS + MEANS]


def grouped(changes: pd.DataFrame) -> pd.DataFrame:
    """Rows by `group`: each kind of module, then each layer (`layer 3`), then all matrices.

    Column `by` names the grouping: `module`, `layer` or `all`.

    Args:
        changes: `matrix_changes`.
    """
    layers = [OUTSIDE if pd.isna(layer) else f"layer {layer}" for layer in changes["layer"]]
    parts = [
        _group(changes, "module", changes["module"]),
        _group(changes, "layer", pd.Series(layers, index=changes.index)),
        _group(changes, ALL, pd.Series(ALL, index=changes.index)),
    ]
    return pd.concat(parts, ignore_index=True)


def _group(changes: pd.DataFrame, by: str, labels: pd.Series[str]) -> pd.DataFrame:
    groups = changes.groupby(labels.rename("group"), sort=False)
    table = groups[COUNTS].sum().join(groups[MEANS].mean())
    table.insert(0, "by", by)
    return table.reset_index()


def in_words(groups: pd.DataFrame, share: float) -> list[str]:
    """Sentences that repeat the main numbers of the table.

    Args:
        groups: `grouped`.
        share: of the ranks at which angles were measured, for their name.
    """
    whole = groups[groups["by"] == ALL].iloc[0]
    count, moved = int(whole["matrices"]), int(whole["moved"])
    if not moved:
        return [f"None of {count} matrices changed."]
    more, less = int(whole["more"]), int(whole["less"])
    words = [
        f"{moved} of {count} matrices changed, by {percent(whole['update'])} of their norm.",
        f"Their top {100 * share:g} % of directions turned by {degrees(whole['angle'])}; noise of "
        f"the same size turns them by {degrees(whole['noise'])}, and between unrelated matrices "
        f"lie {degrees(whole['unrelated'])}.",
        f"{more} turned more than noise beyond its 95 % interval, {less} less, "
        f"{moved - more - less} neither.",
    ]
    furthest = [_furthest(groups[groups["by"] == by]) for by in ("module", "layer")]
    words.append(f"Largest angle minus noise: {furthest[0]} by kind, {furthest[1]} by place.")
    words.append(
        f"Singular values changed by {percent(whole['value_change'])}; noise of the same size "
        f"changes them by {percent(whole['value_noise'])}."
    )
    return words


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
