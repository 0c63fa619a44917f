"""Differences between checkpoints that the claims are about and no other table holds.

Each is paired on the same problems, first tries only: of every seed, and over all seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from svdrift.evaluation.accuracy import Floats
from svdrift.evaluation.comparisons import contrast, recovered_share

Place = tuple[str, str]  # role and shift of a split
FIT, ID, OOD = ("fit", "id"), ("test", "id"), ("test", "ood")
PLACES = (FIT, ID, OOD)

Terms = list[tuple[float, pd.DataFrame]]  # weights, and the episodes of one checkpoint each


@dataclass(frozen=True)
class Played:
    """One seed: the first tries of its checkpoints, by name and place.

    `anchor` is the id of the OOD peak, `last` that of the end of the path.
    """

    anchor: str
    last: str
    episodes: Mapping[tuple[str, Place], pd.DataFrame] = field(repr=False)

    def __call__(self, name: str, place: Place) -> pd.DataFrame:
        """Episodes of a checkpoint, or of a repaired one by its intervention, at one place."""
        return self.episodes[name, place]


Study = Mapping[int, Played]  # by seed
Estimate = Callable[[Sequence[Played]], tuple[float, float, float]]  # value, low, high


def forgetting(study: Study) -> pd.DataFrame:
    """`forgetting`: the OOD peak of the path minus its end, on each split."""

    def difference(place: Place) -> Estimate:
        return _contrast(
            lambda played: [
                (1.0, played(played.anchor, place)),
                (-1.0, played(played.last, place)),
            ]
        )

    return pd.concat([_rows("forgetting", place, study, difference(place)) for place in PLACES])


def restored(study: Study, start: str, result: str) -> pd.DataFrame:
    """`restored-from-{start}`: the share of the OOD loss up to a start that RL makes up for.

    (RL's result - start) / (OOD peak - start); empty where nothing was clearly lost.
    """

    def share(seeds: Sequence[Played]) -> tuple[float, float, float]:
        found = recovered_share(
            [
                (played(result, OOD), played(start, OOD), played(played.anchor, OOD))
                for played in seeds
            ]
        )
        return found.recovered, found.low, found.high

    return _rows(f"restored-from-{start}", OOD, study, share)


def window(
    study: Study, moderate: str, other: str, results: Mapping[str, str], control: Mapping[str, str]
) -> pd.DataFrame:
    """`window-{moderate}-{other}`: what RL brings from one start more than from another.

    What it brings is its OOD accuracy minus that of a control from the same start.

    Args:
        study: the episodes.
        moderate, other: ids of both starts.
        results: id of a start -> id of RL's result.
        control: id of a start -> id of the control's result.
    """

    def effect(played: Played, start: str, sign: float) -> Terms:
        return [
            (sign, played(results[start], OOD)),
            (-sign, played(control[start], OOD)),
        ]

    both = _contrast(lambda played: [*effect(played, moderate, 1.0), *effect(played, other, -1.0)])
    return _rows(f"window-{moderate}-{other}", OOD, study, both)


def equal_id(study: Study, intervention: str, path: Mapping[float, str]) -> pd.DataFrame:
    """`equal-id`: OOD of an intervention minus that of interpolation which costs as much ID.

    Interpolation goes from target to anchor as far as it keeps the intervention's accuracy on
    fitted problems; between two weights of the grid, accuracies are interpolated linearly. How
    far that is, is taken as known.

    Args:
        study: with repaired checkpoints among its names.
        intervention: id of the one that is compared.
        path: weight of the anchor -> id of the interpolation, without the ends 0 and 1.
    """

    def terms(played: Played) -> Terms:
        names = [played.last, *(path[weight] for weight in sorted(path)), played.anchor]
        kept = np.array([played(name, FIT)["solved"].mean() for name in names])
        at, share = furthest(kept, played(intervention, FIT)["solved"].mean())
        ends = [(1.0 - share, names[at])] + ([(share, names[at + 1])] if share else [])
        return [
            (1.0, played(intervention, OOD)),
            *((-weight, played(name, OOD)) for weight, name in ends),
        ]

    return _rows("equal-id", OOD, study, _contrast(terms))


def furthest(curve: Floats, level: float) -> tuple[int, float]:
    """The last place on a piecewise linear curve that is not below `level`.

    Returns:
        Index of the point before it, and the share of the way from there to the next point. The
        first point where the whole curve lies below `level`.
    """
    reached = np.flatnonzero(curve >= level)
    at = int(reached[-1]) if len(reached) else 0
    if not len(reached) or at == len(curve) - 1:
        return at, 0.0
    return at, float((curve[at] - level) / (curve[at] - curve[at + 1]))


def _contrast(terms: Callable[[Played], Terms]) -> Estimate:
    def estimate(seeds: Sequence[Played]) -> tuple[float, float, float]:
        result = contrast([terms(played) for played in seeds])
        return result.value, result.low, result.high

    return estimate


def _rows(name: str, place: Place, study: Study, estimate: Estimate) -> pd.DataFrame:
    """A row of each seed, and where there are several one of all, which has no `seed`.

    Columns: `contrast`, `split`, `role`, `shift`, `seed`, `n` (problems), `value`, `low`, `high`
    (95 %), all shares.
    """
    choices = [[seed] for seed in study] + ([list(study)] if len(study) > 1 else [])
    rows = []
    for seeds in choices:
        chosen = [study[seed] for seed in seeds]
        value, low, high = estimate(chosen)
        rows.append(
            {
                "contrast": name,
                "split": chosen[0](chosen[0].last, place)["split"].iloc[0],
                "role": place[0],
                "shift": place[1],
                "seed": seeds[0] if len(seeds) == 1 else math.nan,
                "n": sum(len(played(played.last, place)) for played in chosen),
                "value": value,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)
