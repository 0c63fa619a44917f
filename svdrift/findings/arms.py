"""Statements about the arms of a paper: which of two checkpoints solves more problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import pandas as pd

from svdrift.errors import UserError, choices
from svdrift.evaluation.contrasts import ID, OOD, Place
from svdrift.evaluation.pass_at_k import pass_at
from svdrift.findings.finding import Estimate, Statement
from svdrift.findings.paired import mean, of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PLACES: Mapping[str, Place] = {"ID": ID, "OOD": OOD}
NEAR_AN_END = 0.1  # share of problems, where little can be lost or gained
UNKNOWN = "not measured"
NEGLIGIBLE = 2.0  # points, set beforehand

Pairs = Iterator[tuple[Statement, Estimate | None]]

of_solved = partial(statement, "scores", "points")
of_passes = partial(statement, "samples", "points")


def solved(scores: pd.DataFrame, story: Story, arm: str, place: Place) -> pd.Series[float]:
    """Whether an arm's greedy first try solves each problem (1 or 0).

    Args:
        scores: table of a probe of kind `scores`.
        story: names the arm's checkpoint.
        arm: name of a paper's arm.
        place: role and shift of the split.
    """
    return rows_of(scores, story, arm, place)["valid"].astype(float)


def accuracies(
    paper: Paper, tables: Mapping[str, pd.DataFrame], story: Story
) -> dict[str, dict[str, float]]:
    """The share of problems that each arm solves, by place.

    Args:
        paper: names the arms.
        tables: with one of a probe of kind `scores`; without it nothing is known.
        story: names the arms' checkpoints.
    """
    if (scores := tables.get("scores")) is None:
        return {}
    return {
        arm: {
            name: float(solved(scores, story, arm, place).mean()) for name, place in PLACES.items()
        }
        for arm in paper.arms
    }


def rows_of(table: pd.DataFrame, story: Story, arm: str, place: Place) -> pd.DataFrame:
    """Rows of an arm's checkpoint on a split, by seed, group and problem.

    Args:
        table: of a probe.
        story: names the arm's checkpoint.
        arm: name of a paper's arm.
        place: role and shift of the split.

    Raises:
        UserError: the study has no such arm.
    """
    if arm not in story.arms:
        raise UserError(f"{arm!r} is no arm{choices(arm, story.arms, 'arms of the study')}")
    return of_problems(table, story.arms[arm], place)


def ends_above(
    paper: Paper,
    scores: pd.DataFrame,
    story: Story,
    claim: str,
    contests: Iterable[tuple[str, str, str]],
    *,
    places: Mapping[str, Place] = PLACES,
    margin: float = 0.0,
) -> Pairs:
    """For each contest: the first arm solves more problems than the second, ID and OOD.

    Args:
        paper: says what each arm is.
        scores: table of a probe of kind `scores`.
        story: names the arms' checkpoints.
        claim: the paper's claim that the statements are about.
        contests: two arms each, and what was published of them.
        places: by name; those without problems of both arms say nothing.
        margin: points by which the first may solve fewer.
    """
    for ours, theirs, published in contests:
        for name, place in places.items():
            a, b = (solved(scores, story, arm, place) for arm in (ours, theirs))
            if a.empty or b.empty:
                continue
            said = (
                "solves more than" if not margin else f"solves at most {margin:g} points less than"
            )
            yield (
                of_solved(
                    claim,
                    f"{paper.arms[ours]} {said} {paper.arms[theirs]}, {name}",
                    published,
                    bound=-margin,
                ),
                weighted(
                    [(1, a), (-1, b)],
                    scale=100,
                    bound=-margin,
                    detail=f"{mean(a)} against {mean(b)} %{at_an_end(a, b)}",
                ),
            )


def at_an_end(*solved: pd.Series[float]) -> str:
    """A word of warning where all solve next to nothing, or next to all."""
    means = [one.mean() for one in solved]
    if max(means) < NEAR_AN_END:
        return ", both near the floor"
    return ", both near the ceiling" if min(means) > 1 - NEAR_AN_END else ""


def passes_above(
    paper: Paper,
    samples: pd.DataFrame,
    story: Story,
    claim: str,
    contests: Iterable[tuple[str, str, str]],
    *,
    k: int,
    margin: float = 0.0,
) -> Pairs:
    """For each contest: the first arm has a higher pass@k at RL's temperature, ID and OOD.

    Args:
        paper, story, claim, contests, margin: see `ends_above`.
        samples: table of a probe of kind `samples`; arms that it does not have say nothing.
        k: where a problem has fewer samples, as many as it has.
    """
    for ours, theirs, published in contests:
        for name, place in PLACES.items():
            both = [rows_of(samples, story, arm, place) for arm in (ours, theirs)]
            if any(one.empty for one in both):
                continue
            most = min(k, *(int(one["samples"].min()) for one in both))
            a, b = (pass_at(most, one["samples"], one["correct"]) for one in both)
            said = (
                f"has a higher pass@{most} than"
                if not margin
                else f"has a pass@{most} at most {margin:g} points below that of"
            )
            yield (
                of_passes(
                    claim,
                    f"{paper.arms[ours]} {said} {paper.arms[theirs]}, {name}",
                    published,
                    bound=-margin,
                ),
                weighted(
                    [(1, a), (-1, b)],
                    scale=100,
                    bound=-margin,
                    detail=f"{mean(a)} against {mean(b)} %",
                ),
            )
