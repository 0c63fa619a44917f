"""The verdict of a comparison of two checkpoints: is it noise, and if not, what turned, and where?

Many matrices are tested against several nulls at once. Both the means over all matrices, one a
null, and the single matrices, each against each null, are judged with Holm's correction for their
number, each of these two families at half of `LEVEL`. An update that is noise itself is found to
turn a mean or a matrix in at most 5 % of comparisons (docs/command-line.md).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from svdrift.findings.finding import LEVEL, holm
from svdrift.spectra.comparison import ALL, OUTSIDE, nulls_in, signed_degrees
from svdrift.spectra.excess import NULL_NAMES
from svdrift.spectra.patterns import kind_of
from svdrift.spectra.single import PLACE

Which = Literal["unchanged", "no directions", "noise", "further", "less far"]
MOST = 4  # places in a line


@dataclass(frozen=True)
class Verdict:
    """What a comparison comes to.

    Attributes:
        which: nothing changed; nothing that changed has directions; indistinguishable from noise;
            directions turned further than some null turns them; or only less far.
        matrices: those that turned further than the strictest null that anything exceeded, or
            less far: `layer` (empty outside the layers), `module`.
        words: the verdict as sentences.
    """

    which: Which
    matrices: pd.DataFrame
    words: tuple[str, ...]


def verdict(changes: pd.DataFrame, groups: pd.DataFrame, average: pd.DataFrame) -> Verdict:
    """Judge a comparison.

    Args:
        changes: `matrix_changes`.
        groups: `grouped`.
        average: `on_average`.
    """
    none = changes.iloc[:0][PLACE]
    whole = groups[groups["by"] == ALL].iloc[0]
    if not whole["moved"]:
        return Verdict("unchanged", none, ("Verdict: no matrix that was compared changed.",))
    if not whole["turned"]:
        line = "Verdict: none of the matrices that changed has directions in both checkpoints."
        return Verdict("no directions", none, (line,))
    found = _found(changes, average)
    tests = f"{whole['turned']} matrices and {len(average)} nulls (Holm)"
    for which in ("further", "less far"):
        here = found[found["which"] == which]
        if len(here):
            # Nulls keep more and more of the update: the last one exceeded says most.
            null = [name for name in nulls_in(changes) if name in set(here["null"])][-1]
            matrices = here[(here["null"] == null) & here["single"]][PLACE]
            words = _turned(found, which, matrices, changes, tests)
            if opposite := len(
                found[(found["which"] != which) & found["single"]][PLACE].drop_duplicates()
            ):
                words.append(f"{opposite} matrices turned less far than such noise.")
            return Verdict(which, matrices, tuple(words))
    outside = sum(whole[f"{which}_isotropic"] for which in ("more", "less"))
    return Verdict(
        "noise",
        none,
        (
            "Verdict: indistinguishable from noise: neither the mean angle nor that of any matrix "
            f"differs from noise, allowing for {tests}.",
            f"{outside} of {whole['turned']} matrices lie outside the 95 % interval of isotropic "
            f"noise, where chance puts up to {max(1, round(LEVEL * whole['turned']))}. No repair "
            "by directions is indicated; more draws of the noise would tell smaller turns.",
        ),
    )


def _found(changes: pd.DataFrame, average: pd.DataFrame) -> pd.DataFrame:
    """What differs from a null: `null`, `which`, `single` (or the mean), and a matrix's place."""
    nulls = nulls_in(changes)
    parts = [
        changes[[*PLACE, "turned"]].assign(
            null=null,
            single=True,
            p=changes[f"p_{null}"],
            difference=changes["angle"] - changes[null],
        )
        for null in nulls
    ]
    single = pd.concat(parts, ignore_index=True)
    single = single[single["turned"] == 1]
    means = average[["null", "p", "difference"]].assign(single=False)
    found = []
    for family in (means, single):
        clear = [p < LEVEL / 2 for p in holm(family["p"].fillna(math.nan).tolist())]
        found.append(family[clear])
    table = pd.concat(found, ignore_index=True)
    sides = ["further" if difference > 0 else "less far" for difference in table["difference"]]
    return table.assign(which=pd.Series(sides, index=table.index, dtype=object))


def _turned(
    found: pd.DataFrame, which: str, matrices: pd.DataFrame, changes: pd.DataFrame, tests: str
) -> list[str]:
    here = found[found["which"] == which]
    nulls = nulls_in(changes)
    beyond = [null for null in nulls if null in set(here["null"])]
    short = [null for null in nulls if null not in beyond]
    said = f"Verdict: directions turned {which} than {_all_of(beyond)}"
    said += f", but not clearly {which} than {_all_of(short)}" if short else ""
    lines = [f"{said}, allowing for {tests}."]
    null = beyond[-1]
    if len(matrices):
        own = _places(*(list(map(kind_of, table["module"])) for table in (matrices, changes)))
        layers = [_layer(layer) for layer in matrices["layer"]]
        lines.append(
            f"Where, against {NULL_NAMES[null]}: {len(matrices)} of {len(changes)} matrices; "
            f"{own}; {_places(layers, [_layer(layer) for layer in changes['layer']])}."
        )
    else:
        side, beside = ("more", "above") if which == "further" else ("less", "below")
        outside = int(changes[f"{side}_{null}"].sum())
        lines.append(
            f"Where: their mean stands out, and no single matrix does: {outside or 'none'} of "
            f"{len(changes)} lie {beside} the 95 % interval of {NULL_NAMES[null]}, each by itself, "
            "and none once their number is allowed for (more --draws may tell one apart, but need "
            "not)."
        )
    mean = here[(here["null"] == null) & ~here["single"]]
    if len(mean):
        lines.append(
            f"On average over all matrices: {signed_degrees(mean['difference'].iloc[0])} against "
            f"{NULL_NAMES[null]}."
        )
    if which == "less far":
        lines.append(
            "The update lies along directions that are there (as a scaling does) more than it "
            "turns them: a repair of values or weights is nearer than one of directions."
        )
    elif set(beyond) == {"isotropic"} and short:
        lines.append(
            "What such noise keeps of the update explains how far they turned; a common turn "
            "beyond that does not show."
        )
    return lines


def _all_of(nulls: list[str]) -> str:
    return " and ".join(NULL_NAMES[null] for null in nulls)


def _layer(layer: float) -> str:
    return OUTSIDE if pd.isna(layer) else f"layer {layer}"


def _places(found: list[str], all_of_them: list[str]) -> str:
    """The places with most of the matrices found: `gate 3 of 4, up 2 of 4 and 3 more`."""
    counts, whole = Counter(found), Counter(all_of_them)
    named = [f"{place} {count} of {whole[place]}" for place, count in counts.most_common(MOST)]
    rest = f" and {len(counts) - MOST} more" if len(counts) > MOST else ""
    return ", ".join(named) + rest
