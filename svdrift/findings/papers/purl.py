"""PuRL (arXiv 2007.04756): a rank for each matrix, chosen by an agent rewarded at every step.

PuRL prunes a network layer by layer. Here an agent of its kind chooses ranks: how many of an
anchor's directions a matrix is given (`repair`), or how many of its own it keeps (`keep`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.estimates import over_seeds
from svdrift.findings.finding import Estimate, Finding, Side, Statement, Unit, held
from svdrift.findings.paired import mean, weighted
from svdrift.findings.paper import Paper
from svdrift.ranks.tables import best_so_far
from svdrift.story import Story

PAPER = Paper(
    title="Learning to prune deep neural networks via reinforcement learning",
    arxiv="2007.04756",
    claims={
        "agent": "An agent that is rewarded at every step chooses better ranks than rules and "
        "other searches do, at equal cost and evaluations",
        "per_matrix": "A rank of its own for each matrix is better than one share for all",
        "dense": "Rewarding every step shortens the search",
    },
    reads=(),
    tables=("rank_episodes", "rank_searches"),
    ranks=("repair", "keep"),
    control="Random search and the cross-entropy method with as many evaluations, and rules "
    "that need none.",
    limits="PuRL removes single weights of image networks and trains them again; ranks of a tiny "
    "model are chosen here and nothing is trained again. Its network, state and hyperparameters "
    "are published nowhere, so that the agent is ours, and a few hundred evaluations are few for "
    "one: they are what the other searches get. The reward of every step is a running score, which "
    "also pays for gaining early. Choices are made on "
    "selection problems; test problems are looked at once.",
)
AGENT, AT_END, UNIFORM = "dqn", "dqn_at_end", "uniform"
REACHED = 0.95  # of the way from the first ranks that fit to the best
NEVER = "not measured"
PUBLISHED = {
    "threshold": "as good or better than searching (arXiv 2209.14624)",
    AT_END: "a much shorter search, with no number",
}


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Each choice of ranks of the study: methods paired on test problems, and their searches."""
    episodes, searches = tables["rank_episodes"], tables["rank_searches"]
    return held(
        pair
        for choice, rows in episodes.groupby("choice", sort=False)
        for pair in [
            *_agent(rows, str(choice)),
            *_per_matrix(rows, str(choice)),
            *_dense(rows, searches[searches["choice"] == choice], str(choice)),
        ]
    )


def _agent(rows: pd.DataFrame, choice: str) -> Iterator[tuple[Statement, Estimate | None]]:
    for method in _others(rows, AGENT, AT_END):
        yield from _solves_more(rows, choice, "agent", AGENT, method)


def _per_matrix(rows: pd.DataFrame, choice: str) -> Iterator[tuple[Statement, Estimate | None]]:
    for method in _others(rows, UNIFORM, AGENT, AT_END):
        yield from _solves_more(rows, choice, "per_matrix", method, UNIFORM)


def _dense(
    rows: pd.DataFrame, searches: pd.DataFrame, choice: str
) -> Iterator[tuple[Statement, Estimate | None]]:
    if not {AGENT, AT_END} <= set(rows["method"]):
        return
    yield from _solves_more(rows, choice, "dense", AGENT, AT_END)
    ours, theirs = (searches[searches["method"] == method] for method in (AGENT, AT_END))
    names = f"{_label(rows, AGENT)} than {_label(rows, AT_END)}"
    evaluations = [evaluations_to_reach(REACHED, one) for one in (ours, theirs)]
    yield (
        _statement(
            "dense",
            f"{100 * REACHED:.0f} % of what a search gains takes fewer evaluations of {names}, "
            f"{choice}",
            PUBLISHED[AT_END],
            unit="",
            side="below",
            table="rank_searches.parquet",
        ),
        _gap(*evaluations, detail=_ends(*evaluations)),
    )
    best = [best_so_far(one).groupby("seed")["best"].last() for one in (ours, theirs)]
    yield (
        _statement(
            "dense",
            f"The best ranks score higher on selection problems by {names}, {choice}",
            PUBLISHED[AT_END],
            unit="",
            table="rank_searches.parquet",
        ),
        _gap(*best, detail=_ends(*best)),
    )


def evaluations_to_reach(share: float, searches: pd.DataFrame) -> pd.Series[float]:
    """Evaluations until a share of the way from the first ranks that fit to the best, by seed.

    Args:
        share: of the way.
        searches: of one choice and method.
    """
    found = {}
    for seed, rows in best_so_far(searches).groupby("seed"):
        first, last = rows["best"].iloc[0], rows["best"].iloc[-1]
        there = rows["best"] >= first + share * (last - first)
        found[seed] = float(rows.loc[there, "evaluation"].iloc[0])
    return pd.Series(found, dtype=float)


def _others(rows: pd.DataFrame, *left_out: str) -> list[str]:
    return [method for method in dict.fromkeys(rows["method"]) if method not in left_out]


def _label(rows: pd.DataFrame, method: str) -> str:
    return str(rows.loc[rows["method"] == method, "label"].iloc[0])


def _solves_more(
    rows: pd.DataFrame, choice: str, claim: str, method: str, other: str
) -> Iterator[tuple[Statement, Estimate | None]]:
    if not {method, other} <= set(rows["method"]):
        return
    for name, place in (("ID", ID), ("OOD", OOD)):
        ours, theirs = (_solved(rows, one, place) for one in (method, other))
        yield (
            _statement(
                claim,
                f"Ranks by {_label(rows, method)} solve more than by {_label(rows, other)}, "
                f"{choice}, {name}",
                PUBLISHED.get(other, NEVER) if claim != "per_matrix" else NEVER,
            ),
            weighted(
                [(1, ours), (-1, theirs)],
                scale=100,
                detail=f"{mean(ours)} against {mean(theirs)} % solved",
            ),
        )


def _solved(rows: pd.DataFrame, method: str, place: tuple[str, str]) -> pd.Series[float]:
    role, shift = place
    here = (rows["method"] == method) & (rows["role"] == role) & (rows["shift"] == shift)
    found = rows[here].set_index(["seed", "group", "problem"])["solved"]
    return found.astype(float).sort_index()


def _gap(ours: pd.Series[float], theirs: pd.Series[float], *, detail: str) -> Estimate | None:
    """The difference by seed; None for one seed, which has no width."""
    gaps = (ours - theirs).dropna()
    if len(gaps) < 2:
        return None
    return over_seeds(
        gaps,
        np.zeros(len(gaps)),
        n=len(gaps),
        counted="seeds",
        within="difference in each seed",
        detail=detail,
    )


def _ends(ours: pd.Series[float], theirs: pd.Series[float]) -> str:
    return f"{ours.mean():.3g} against {theirs.mean():.3g}"


def _statement(
    claim: str,
    text: str,
    published: str,
    *,
    unit: Unit = "points",
    side: Side = "above",
    table: str = "rank_episodes.parquet",
) -> Statement:
    return Statement(
        claim=claim,
        statement=text,
        unit=unit,
        side=side,
        bound=0.0,
        published=published,
        figure="statements.png",
        table=table,
    )
