"""The page of a comparison of studies, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from svdrift.figures import labels
from svdrift.spectra.excess import NULL_NAMES
from svdrift.study.comparison import Comparison

WHY_LEFT_OUT = "both studies have the same weights there, byte for byte"
Row = Mapping[Hashable, Any]


def page(
    comparisons: Sequence[Comparison], figures: Mapping[str, str], claims: Sequence[str]
) -> str:
    """One page for studies that are compared with the same reference.

    Args:
        comparisons: a study each.
        figures: their captions by file.
        claims: the statements of the studies side by side; none where fewer than two judged theirs.
    """
    reference = comparisons[0].reference
    lines = [f"# {' and '.join([reference, *(one.study for one in comparisons)])}"]
    for file, caption in figures.items():
        lines += ["", f"![{caption}]({file})"]
    for one in comparisons:
        lines += ["", f"## {one.study} minus {reference}"]
        lines += ["", "### Settings that differ", "", *settings(one)]
        lines += ["", "### Accuracy", "", *accuracy(one)]
        lines += ["", "### Repairs", "", *recovery(one)]
        lines += ["", "### Rotation", "", *rotation(one)]
    if claims:
        lines += ["", "## Claims", "", *claims]
    return "\n".join(lines) + "\n"


def settings(one: Comparison) -> list[str]:
    """A table of the settings that differ."""
    if not one.settings:
        return ["None."]
    return table(
        ["setting", one.reference, one.study],
        ([f"`{key}`", *map(_value, (theirs, ours))] for key, ours, theirs in one.settings),
    )


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if value is not None else "–"
    return f"`{text}`".replace("|", "\\|") if value is not None else text


def accuracy(one: Comparison) -> list[str]:
    """A table of differences between checkpoints, and what is not in it."""
    left = left_out("Checkpoints", one.left_out["checkpoints"], "and solved the same problems")
    rows = one.accuracy
    if rows.empty:
        return [left or "The studies have no checkpoint in common."]
    seeds = sorted(rows["seed"].dropna().astype(int).unique())
    said = (
        f"Points of accuracy with 95 % intervals, clustered by group; {labels.seeds(rows)} "
        f"({', '.join(map(str, seeds))}), together where there are several. All seeds one by one: "
        "`difference.csv`. Where both solved the same problems, the interval says how much so many "
        "groups that agree leave unseen."
    )
    heads = ["checkpoint", "split", "problems", "groups", one.reference, one.study]
    heads += ["difference [95 %]", ""]
    return [
        said,
        "",
        *table(heads, ([row["checkpoint"], *_compared(row)] for row in shown(rows))),
        *(["", left] if left else []),
    ]


def _compared(row: Row) -> list[str]:
    value, reference, difference, low, high = (
        100 * row[name] for name in ("value_a", "value_b", "difference", "low", "high")
    )
    return [
        labels.split(row["role"], row["shift"]),
        f"{row['n']:,}",
        f"{row['groups']:,}",
        f"{reference:.1f} %",
        f"{value:.1f} %",
        f"{difference:+.1f} [{low:.1f}, {high:.1f}]",
        "paired" if row["paired"] else "not paired: other problems",
    ]


def recovery(one: Comparison) -> list[str]:
    """A table of differences between repaired models."""
    left = left_out("Repairs", one.left_out["repairs"], "and the repaired solved the same problems")
    rows = one.recovery
    if rows.empty:
        return [left or "The studies have no intervention in common."]
    said = (
        "Accuracy of repaired models, in points, as above; and the share of the target's loss "
        "against the anchor that came back, with Fieller's 95 % interval, where the loss is clear "
        "and was measured over the same seeds. All seeds one by one: `recovery.csv`."
    )
    heads = ["repair", "intervention", "split", "problems", "groups", one.reference, one.study]
    heads += ["difference [95 %]", "", f"came back: {one.reference}", f"came back: {one.study}"]
    cells = (
        [
            labels.repair(row["repair"]).removeprefix("Repair: "),
            labels.intervention(row["intervention"]),
            *_compared(row),
            _share(row, "recovered_b"),
            _share(row, "recovered_a"),
        ]
        for row in shown(rows)
    )
    return [said, "", *table(heads, cells), *(["", left] if left else [])]


def _share(row: Row, name: str) -> str:
    if pd.isna(row[name]):
        return "–"
    value, low, high = (100 * row[column] for column in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def rotation(one: Comparison) -> list[str]:
    """A table of differences between rotations."""
    left = left_out("Pairs", one.left_out["pairs"], "before and after")
    rows = one.rotation
    if rows.empty:
        return [left or "The studies have no drift of a pair in common."]
    said = (
        "How far the leading directions turn beyond a null, in degrees: means over the matrices "
        "inside the layers and both sides, minus those of the null. Intervals are 95 %: of one "
        "seed over draws of the nulls, over several seeds as everywhere. All seeds one by one: "
        "`rotation.csv`."
    )
    heads = ["from and to", "beyond", one.reference, one.study, "difference [95 %]"]
    cells = (
        [
            labels.between(row["pair"]),
            NULL_NAMES[row["null"]],
            f"{row['value_b']:.1f}°",
            f"{row['value_a']:.1f}°",
            f"{row['difference']:+.1f}° [{row['low']:.1f}, {row['high']:.1f}]",
        ]
        for row in shown(rows)
    )
    return [said, "", *table(heads, cells), *(["", left] if left else [])]


def left_out(what: str, names: Sequence[str], also: str) -> str:
    """Which rows are not there and why; nothing if none is missing."""
    if not names:
        return ""
    return (
        f"{what} left out because they cannot differ ({WHY_LEFT_OUT}, {also}): {', '.join(names)}."
    )


def shown(rows: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """The rows over all seeds where there are any, else those of the only seed."""
    return rows[rows["seed"].isna() == rows["seed"].isna().any()].to_dict("records")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
