"""SPARKLE's probes (arXiv 2506.04723): where does a model fail, and what does help bring?

Its three probes give a plan, the knowledge that is needed, or the answers to earlier subproblems.
Here: the cards' values (knowledge), and the gold reply up to some place (earlier subproblems).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.finding import Estimate, Finding, Statement, held
from svdrift.findings.paired import mean, of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="Beyond accuracy: dissecting mathematical reasoning for LLMs under reinforcement "
    "learning",
    arxiv="2506.04723",
    claims={
        "help": "After RL, knowledge that is given helps more than before",
        "pieces": "Solving every subproblem is harder than solving the problem, also after RL",
        "raises": "RL raises the share of problems of which every subproblem is solved",
        "where": "What is lost on OOD is reading the rule, not solving",
    },
    reads=("given",),
    control="What help brings to RL, minus what it brings to the checkpoint that RL started from.",
    limits="The fourth claim is ours: the probe can tell. The plan of the paper is left out: a "
    "tiny model has never seen its words, so that a drop would say only that the prompt is "
    "unknown. What is solved from every beginning is solved with nothing given, too, so that the "
    "second claim cannot fail; and a model that decodes greedily goes on from a gold beginning "
    "that is its own as it did without. Who reads all cards right gains nothing from the "
    "translation. Problems are of one kind, and SPARKLE's difficulty levels have no counterpart "
    "here.",
)
NOTHING = "nothing"
KNOWLEDGE, TRANSLATION = "values", "translation"
PIECES = (TRANSLATION, "one_operation", "two_operations")
GIVEN = {
    "values": "the cards' values",
    "translation": "the translation",
    "one_operation": "the formula up to its first operation",
    "two_operations": "the formula up to its second operation",
}
PUBLISHED = {
    "values": "base -5.4, after RL +4.3 points",
    "pieces": "3.3 against 16.7 % (base), 17.5 against 50.4 % (after RL), AIME24",
}

_statement = partial(statement, "given", "points")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL from the moderate start against that start; and the path's end against its peak."""
    given = tables["given"]
    return held([*_help(given, story), *_pieces(given, story), *_where(given, story)])


def _solved(
    given: pd.DataFrame, checkpoint: str, place: tuple[str, str], what: str
) -> pd.Series[float]:
    return of_problems(given, checkpoint, place, given=what)["solved"].astype(float)


def _help(given: pd.DataFrame, story: Story) -> Iterator[tuple[Statement, Estimate | None]]:
    rl, start = story.rl, story.moderate
    if rl is None or start is None:
        return
    for what, words in GIVEN.items():
        for name, place in (("ID", ID), ("OOD", OOD)):
            ours, alone = (_solved(given, rl.results[start], place, at) for at in (what, NOTHING))
            before, bare = (_solved(given, start, place, at) for at in (what, NOTHING))
            yield (
                _statement(
                    "help",
                    f"With {words} given, {rl.label} gains more over its start than with nothing "
                    f"given, {name}",
                    PUBLISHED.get(what, "no such probe seen"),
                    description=what == TRANSLATION,
                ),
                weighted(
                    [(1, ours), (-1, alone), (-1, before), (1, bare)],
                    scale=100,
                    detail=f"start {mean(bare)} to {mean(before)} %, {rl.label} {mean(alone)} to "
                    f"{mean(ours)} % with help",
                ),
            )


def every_piece(given: pd.DataFrame, checkpoint: str, place: tuple[str, str]) -> pd.Series[float]:
    """1 where the reply is right from every beginning, and with nothing given, too."""
    parts = [_solved(given, checkpoint, place, what) for what in (NOTHING, *PIECES)]
    return pd.concat(parts, axis=1).min(axis=1)


def _pieces(given: pd.DataFrame, story: Story) -> Iterator[tuple[Statement, Estimate | None]]:
    rl, start = story.rl, story.moderate
    if rl is None or start is None:
        return
    for name, place in (("ID", ID), ("OOD", OOD)):
        ours, before = (
            every_piece(given, checkpoint, place) for checkpoint in (rl.results[start], start)
        )
        whole = _solved(given, rl.results[start], place, NOTHING)
        yield (
            _statement(
                "pieces",
                f"After {rl.label}, more problems are solved than are solved from every beginning, "
                f"{name}",
                PUBLISHED["pieces"],
                description=True,
            ),
            weighted(
                [(1, whole), (-1, ours)],
                scale=100,
                detail=f"solved {mean(whole)} %, from every beginning {mean(ours)} %",
            ),
        )
        yield (
            _statement(
                "raises",
                f"{rl.label} raises the share that is solved from every beginning, {name}",
                PUBLISHED["pieces"],
            ),
            weighted([(1, ours), (-1, before)], scale=100),
        )


def _where(given: pd.DataFrame, story: Story) -> Iterator[tuple[Statement, Estimate | None]]:
    if story.peak is None:
        return
    for what in (KNOWLEDGE, TRANSLATION):
        terms = [
            (sign, _solved(given, checkpoint, OOD, at))
            for at, outer in ((NOTHING, 1), (what, -1))
            for checkpoint, sign in ((story.peak, outer), (story.last, -outer))
        ]
        (_, peak), (_, last), (_, peak_helped), (_, last_helped) = terms
        yield (
            _statement(
                "where",
                f"With {GIVEN[what]} given, less is lost from {story.peak} to the end of "
                f"{story.path_label} on OOD",
                "no counterpart",
            ),
            weighted(
                terms,
                scale=100,
                detail=f"with nothing given {mean(peak)} to {mean(last)} %, with it "
                f"{mean(peak_helped)} to {mean(last_helped)} %",
            ),
        )
