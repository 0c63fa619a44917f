"""PuRL (arXiv 2007.04756): a rank for each matrix, chosen by an agent rewarded at every step.

PuRL prunes a network layer by layer. Here an agent of its kind chooses ranks: how many of an
anchor's directions a matrix is given (`repair`), or how many of its own it keeps (`keep`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.arms import Pairs
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
    "one: they are what the other searches get. Where the agent finds worse ranks than random "
    "search does with as many evaluations, this tests our agent, not PuRL. The reward of every "
    "step is a running score, which also pays for gaining early. Each task has one cost, where "
    "six or more would show a frontier. Choices are made on selection problems; test problems are "
    "looked at once.",
)
AGENT, AT_END, UNIFORM = "dqn", "dqn_at_end", "uniform"
REACHED = 0.95  # of the way from the first ranks that fit to the best
NOTHING = 0.01  # share of problems; a rival that solves fewer is none
WORDS = {
    "uniform": "a uniform share",
    "greedy": "a greedy search by sensitivity",
    "cross_entropy": "the cross-entropy method",
    "dqn": "DQN (reward at every step)",
    "dqn_at_end": "DQN (reward at the end)",
}  # others by their labels
SCORES: Mapping[str, tuple[Unit, float]] = {
    "share solved": ("points", 100.0),
    "minus loss (nats per token)": ("nats", 1.0),
}  # units of what searches measure, and their scales
CONTROL = "no such control seen"
SHORTER = "a much shorter search, with no number"
PUBLISHED = {
    "threshold": "as good or better than searching (arXiv 2209.14624)",
    AT_END: "as good as the best (abstract); no figures seen",
}


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Each choice of ranks of the study: methods paired on test problems, and their searches."""
    episodes, searches = tables["rank_episodes"], tables["rank_searches"]
    return held(
        pair
        for choice, rows in episodes.groupby("choice", sort=False)
        for pair in [
            *_agent(rows, searches[searches["choice"] == choice], str(choice)),
            *_per_matrix(rows, str(choice)),
            *_dense(searches[searches["choice"] == choice], str(choice)),
        ]
    )


def _agent(rows: pd.DataFrame, searches: pd.DataFrame, choice: str) -> Pairs:
    """On test problems; what searches find on selection problems is described."""
    for method in _others(rows, AGENT):
        published = PUBLISHED.get(method, CONTROL)
        yield from _solves_more(rows, choice, "agent", AGENT, method, published)
    if AGENT not in set(searches["method"]):
        return
    unit, scale = SCORES.get(str(searches["measured"].iloc[0]), ("", 1.0))
    best = {method: scale * _best(searches, method) for method in _others(searches)}
    for method in _others(searches, AGENT):
        yield (
            _statement(
                "agent",
                f"The best ranks of {_words(searches, AGENT)} score higher on selection problems "
                f"than those of {_words(searches, method)}; {choice}",
                PUBLISHED.get(method, CONTROL),
                unit=unit,
                table="rank_searches.parquet",
                description=True,
            ),
            _gap(best[AGENT], best[method]),
        )


def _per_matrix(rows: pd.DataFrame, choice: str) -> Pairs:
    for method in _others(rows, UNIFORM, AGENT, AT_END):
        yield from _solves_more(rows, choice, "per_matrix", method, UNIFORM, CONTROL)


def _best(searches: pd.DataFrame, method: str) -> pd.Series[float]:
    """The highest score that a method found, by seed."""
    rows = best_so_far(searches[searches["method"] == method])
    return rows.groupby("seed")["best"].last()


def _dense(searches: pd.DataFrame, choice: str) -> Pairs:
    if not {AGENT, AT_END} <= set(searches["method"]):
        return
    ours, theirs = (
        evaluations_to_reach(REACHED, searches[searches["method"] == method])
        for method in (AGENT, AT_END)
    )
    yield (
        _statement(
            "dense",
            f"{_words(searches, AGENT)} takes fewer evaluations than {_words(searches, AT_END)} "
            f"for {100 * REACHED:.0f} % of what its search gains; {choice}",
            SHORTER,
            unit="",
            side="below",
            table="rank_searches.parquet",
        ),
        _gap(ours, theirs),
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


def _words(rows: pd.DataFrame, method: str) -> str:
    return WORDS.get(method, str(rows.loc[rows["method"] == method, "label"].iloc[0]))


def _solves_more(
    rows: pd.DataFrame, choice: str, claim: str, method: str, rival: str, published: str
) -> Pairs:
    """On test problems; described where the rival solves nothing."""
    if not {method, rival} <= set(rows["method"]):
        return
    for name, place in (("ID", ID), ("OOD", OOD)):
        ours, theirs = (_solved(rows, one, place) for one in (method, rival))
        nothing = bool(theirs.mean() < NOTHING)
        yield (
            _statement(
                claim,
                f"Ranks chosen by {_words(rows, method)} solve more than {_words(rows, rival)}; "
                f"{choice}, {name}",
                published,
                description=nothing,
            ),
            weighted(
                [(1, ours), (-1, theirs)],
                scale=100,
                detail=f"{mean(ours)} against {mean(theirs)} % solved"
                + (", a rival that solves nothing" if nothing else ""),
            ),
        )


def _solved(rows: pd.DataFrame, method: str, place: tuple[str, str]) -> pd.Series[float]:
    role, shift = place
    here = (rows["method"] == method) & (rows["role"] == role) & (rows["shift"] == shift)
    found = rows[here].set_index(["seed", "group", "problem"])["solved"]
    return found.astype(float).sort_index()


def _gap(ours: pd.Series[float], theirs: pd.Series[float]) -> Estimate | None:
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
        detail=f"{ours.mean():.3g} against {theirs.mean():.3g}",
    )


def _statement(
    claim: str,
    text: str,
    published: str,
    *,
    unit: Unit = "points",
    side: Side = "above",
    table: str = "rank_episodes.parquet",
    description: bool = False,
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
        description=description,
    )
