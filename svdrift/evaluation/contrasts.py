"""Differences between checkpoints that the claims are about and no other table holds.

Each is paired on the same problems, first tries only: of every seed, and over all seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from svdrift.evaluation.accuracy import Floats
from svdrift.evaluation.comparisons import (
    Contrast,
    WeightedSum,
    contrast,
    gains_and_losses,
    mean_over_seeds,
    share_over_clusters,
    share_p,
    weighted_sum,
)

Place = tuple[str, str]  # role and shift of a split
FIT, ID, OOD = ("fit", "id"), ("test", "id"), ("test", "ood")
SELECTION = ("selection", "ood")
PLACES = (FIT, ID, OOD)

# How a reference checkpoint of the path came to be one: the column `reference`.
NAMED, OTHER_SEEDS = "named in advance", "chosen on other seeds"
SAME_SEED = "chosen on the same seed"
MOST_OF_IT = 50  # % of a loss

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
Estimate = Callable[[Sequence[Played]], Mapping[str, float]]  # columns of a row


def forgetting(study: Study, path: Sequence[str], peak: str | None) -> pd.DataFrame:
    """The OOD peak of the path minus its end, on each split: `forgetting` and `own-peak`.

    The best of several checkpoints lies above the last one of them whatever training does, if
    only because checkpoints fluctuate. So a seed's own peak merely describes (`own-peak`), and
    `forgetting` takes the peak from elsewhere: the one that the study names, or of each seed the
    one where the other seeds are best on OOD selection problems. One seed alone that names none
    has no `forgetting`. Seeds that choose for each other are not quite independent: where five
    seeds' checkpoints only fluctuate, the interval lies above 0 in 4 % of simulations, not 2.5 (and
    in 31 % for the own peaks).

    Args:
        study: episodes of the path, on OOD selection problems too where no peak is named.
        path: ids of its checkpoints, the end last.
        peak: the one that is named in advance.

    Returns:
        Rows as of the other contrasts, with the column `reference`: how the peak was chosen.
    """
    if peak is not None:
        return _forgotten("forgetting", study, dict.fromkeys(study, peak), NAMED)
    own = {seed: played.anchor for seed, played in study.items()}
    tables = [_forgotten("own-peak", study, own, SAME_SEED)]
    if len(study) > 1:
        curves = [
            [played(name, SELECTION)["solved"].mean() for name in path[:-1]]
            for played in study.values()
        ]
        others = dict(
            zip(study, (path[at] for at in best_of_others(np.array(curves))), strict=True)
        )
        tables.insert(0, _forgotten("forgetting", study, others, OTHER_SEEDS))
    return pd.concat(tables)


def best_of_others(curves: Floats) -> list[int]:
    """For each seed, the place where the mean curve of the other seeds is highest.

    The first one of equals. `curves`: shape (seeds, places), at least two seeds.
    """
    others = [np.delete(curves, seed, axis=0).mean(axis=0) for seed in range(len(curves))]
    return [int(np.argmax(curve)) for curve in others]


def _forgotten(name: str, study: Study, peaks: Mapping[int, str], reference: str) -> pd.DataFrame:
    """Each seed's peak minus its end on each split."""
    study = {seed: replace(played, anchor=peaks[seed]) for seed, played in study.items()}

    def difference(place: Place) -> Estimate:
        return _contrast(
            lambda played: [
                (1.0, played(played.anchor, place)),
                (-1.0, played(played.last, place)),
            ]
        )

    rows = pd.concat([_rows(name, place, study, difference(place)) for place in PLACES])
    return rows.assign(reference=reference)


def restored(study: Study, start: str, result: str) -> pd.DataFrame:
    """`restored-from-{start}`: the share of the OOD loss up to a start that RL makes up for.

    (RL's result - start) / (OOD peak - start); empty where nothing was clearly lost. A further
    column, `p_at_50`, is the p-value that it is 50 % (`share_p`).
    """

    def share(seeds: Sequence[Played]) -> Mapping[str, float]:
        clusters = gains_and_losses(
            [
                (played(result, OOD), played(start, OOD), played(played.anchor, OOD))
                for played in seeds
            ]
        )
        found = share_over_clusters(clusters)
        return {
            "value": found.recovered,
            "low": found.low,
            "high": found.high,
            "p": share_p(clusters, 0.0),
            f"p_at_{MOST_OF_IT}": share_p(clusters, MOST_OF_IT / 100),
        }

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
    fitted problems; between two weights of the grid, accuracies are interpolated linearly. How far
    that is has an error of its own, which the interval takes in (`at_equal_cost`).

    Args:
        study: with repaired checkpoints among its names.
        intervention: id of the one that is compared.
        path: weight of the anchor -> id of the interpolation, without the ends 0 and 1.
    """
    between = [path[weight] for weight in sorted(path)]

    def difference(seeds: Sequence[Played]) -> Mapping[str, float]:
        return _columns(
            mean_over_seeds(
                [
                    at_equal_cost(played, intervention, [played.last, *between, played.anchor])
                    for played in seeds
                ]
            )
        )

    return _rows("equal-id", OOD, study, difference)


def at_equal_cost(played: Played, intervention: str, path: Sequence[str]) -> WeightedSum:
    """OOD of an intervention minus that of a path, where both keep as much accuracy (one seed).

    The place on the path is found on fitted problems. At the share s between two points a and b,
    F(a) + s (F(b) - F(a)) = F(intervention); an error of these three shifts s by that of
    (1 - s) F(a) + s F(b) - F(intervention), over F(a) - F(b). OOD follows with the slope between
    the points, and adds up with the error on OOD problems as independent of it (delta method). The
    path's ends and a path that lies below the intervention are places without an error.

    Args:
        played: the seed.
        intervention: id.
        path: ids, from the target to the anchor.
    """
    kept = np.array([played(name, FIT)["solved"].mean() for name in path])
    at, share = furthest(kept, played(intervention, FIT)["solved"].mean())
    if share is None:
        return weighted_sum([(1.0, played(intervention, OOD)), (-1.0, played(path[at], OOD))])
    before, after = path[at], path[at + 1]
    weights = {intervention: 1.0, before: share - 1.0, after: -share}
    found, cost = (
        weighted_sum([(weight, played(name, place)) for name, weight in weights.items()])
        for place in (OOD, FIT)
    )
    rise = played(after, OOD)["solved"].mean() - played(before, OOD)["solved"].mean()
    slope = rise / (kept[at] - kept[at + 1])
    return found._replace(
        error=math.hypot(found.error, slope * cost.error), freedom=min(found.freedom, cost.freedom)
    )


def furthest(curve: Floats, level: float) -> tuple[int, float | None]:
    """The last place on a piecewise linear curve that is not below `level`.

    Returns:
        Index of the point before it, and the share of the way from there to the next point. No
        share where the curve does not come down to the level: its last point, or the first one
        where the whole curve lies below.
    """
    reached = np.flatnonzero(curve >= level)
    if not len(reached):
        return 0, None
    at = int(reached[-1])
    if at == len(curve) - 1:
        return at, None
    return at, float((curve[at] - level) / (curve[at] - curve[at + 1]))


def _contrast(terms: Callable[[Played], Terms]) -> Estimate:
    return lambda seeds: _columns(contrast([terms(played) for played in seeds]))


def _columns(found: Contrast) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high, "p": found.p}


def _rows(name: str, place: Place, study: Study, estimate: Estimate) -> pd.DataFrame:
    """A row of each seed, and where there are several one of all, which has no `seed`.

    Columns: `contrast`, `split`, `role`, `shift`, `seed`, `n` (problems), `groups` (theirs; both
    are sums over seeds), `value`, `low`, `high` (95 %), all shares; `p` (two-sided, that it is 0).
    """
    choices = [[seed] for seed in study] + ([list(study)] if len(study) > 1 else [])
    rows = []
    for seeds in choices:
        chosen = [study[seed] for seed in seeds]
        ends = [played(played.last, place) for played in chosen]
        rows.append(
            {
                "contrast": name,
                "split": ends[0]["split"].iloc[0],
                "role": place[0],
                "shift": place[1],
                "seed": seeds[0] if len(seeds) == 1 else math.nan,
                "n": sum(len(end) for end in ends),
                "groups": sum(end["group"].nunique() for end in ends),
                **estimate(chosen),
            }
        )
    return pd.DataFrame(rows)
