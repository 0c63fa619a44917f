"""Quagmires in SFT-RL (arXiv 2510.01624): what, before RL, predicts where RL ends?

Predictors are measured on selection problems at RL's starts, outcomes on test problems. The
counter-example arXiv 2606.18487 names the entropy of samples as the better predictor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.estimates import at, over_seeds
from svdrift.findings.finding import Estimate, Finding, Statement, held
from svdrift.findings.paired import statement
from svdrift.findings.paper import Paper
from svdrift.findings.ranks import rank_correlation, spearman
from svdrift.story import Story

PAPER = Paper(
    title="Quagmires in SFT-RL post-training: when high SFT scores mislead and what to use instead",
    arxiv="2510.01624",
    claims={
        "predicts": "The loss of held-out demonstrations and pass@k before RL tell where RL ends",
        "better": "They tell it better than the score before RL does",
    },
    reads=("samples", "losses"),
    tables=("accuracy",),
    limits="Starts are steps of one SFT run a seed, so that predictors that only follow the step "
    "look good together; each row says what is left given the step. A few starts in a seed give a "
    "rank correlation a standard error near 0.4; seeds count.",
)
SELECTION = {"ID": ("selection", "id"), "OOD": ("selection", "ood")}
TESTS = {"ID": ID, "OOD": OOD}
SCORE = "greedy score"
PUBLISHED = {  # Spearman, Llama and Mistral, models that differ by their data
    SCORE: "0.75 and 0.78",
    "pass@64": "0.95 and 0.92",
    "lower loss of demonstrations": "0.94 and 0.90",
    "entropy": "+0.69 (arXiv 2606.18487)",
}

_statement = partial(statement, "samples", "rank correlation")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """Rank correlations of each predictor with RL's results over the starts of each seed."""
    rl = story.rl
    if rl is None:
        return []
    found = []
    for place, outcome in TESTS.items():
        ends = _solved(tables["accuracy"], outcome, rl.results)
        known = predictors(tables, place, story.starts)
        found += held(_predicts(known, ends, place, rl.label))
        found += held(_better(known, ends, place, rl.label))
    return found


def pass_at(k: int, samples: pd.Series[int], correct: pd.Series[int]) -> pd.Series[float]:
    """Unbiased estimate of pass@k of each problem: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021).

    Args:
        k: at most n.
        samples, correct: n and c.

    Raises:
        ValueError: k is larger than a number of samples.
    """
    if (samples < k).any():
        raise ValueError(f"pass@{k} needs {k} samples of each problem, not {samples.min()}")

    def one(n: int, c: int) -> float:
        return 1.0 - math.prod((n - c - i) / (n - i) for i in range(k)) if n - c >= k else 1.0

    values = [one(int(n), int(c)) for n, c in zip(samples, correct, strict=True)]
    return pd.Series(values, index=samples.index, dtype=float)


def flat_share(rewards: pd.Series[Any], size: int) -> pd.Series[float]:
    """The share of groups of `size` samples in a row whose rewards are all alike, by problem."""

    def one(values: object) -> float:
        array = np.asarray(values, dtype=float)
        groups = array[: len(array) // size * size].reshape(-1, size)
        return float((groups == groups[:, :1]).all(axis=1).mean())

    return rewards.map(one)


def predictors(
    tables: Mapping[str, pd.DataFrame], place: str, starts: tuple[str, ...]
) -> dict[str, pd.Series[float]]:
    """Each predictor by seed and start; the larger, the better RL should end."""
    role = SELECTION[place]
    samples, losses = (
        at(table[table["checkpoint"].isin(starts)], role)
        for table in (tables["samples"], tables["losses"])
    )
    by = ["seed", "checkpoint"]
    known = {SCORE: _solved(tables["accuracy"], role, {start: start for start in starts})}
    n = int(samples["samples"].min())
    for k in [k for k in (1, 8, 64, 256) if k <= n]:
        rate = pass_at(k, samples["samples"], samples["correct"])
        known[f"pass@{k}"] = rate.groupby([samples[name] for name in by]).mean()
    known["different right replies"] = samples.groupby(by)["distinct"].mean()
    known["entropy"] = samples.groupby(by)["entropy"].mean()
    mixed = 1 - flat_share(samples["rewards"], 8)
    known["groups of 8 with a signal"] = mixed.groupby([samples[name] for name in by]).mean()
    known["lower loss of demonstrations"] = -losses.groupby(by)["loss"].mean()
    known["lower set loss"] = -losses.groupby(by)["set_loss"].mean()
    return known


def _solved(
    accuracy: pd.DataFrame, place: tuple[str, str], results: Mapping[str, str]
) -> pd.Series[float]:
    """Solved shares by seed and start."""
    rows = at(accuracy, place)
    rows = rows[(rows["subset"] == "all") & (rows["measure"] == "solved_first_try")]
    start_of = {result: start for start, result in results.items()}
    rows = rows[rows["checkpoint"].isin(start_of)]
    starts = rows["checkpoint"].map(start_of).rename("checkpoint")
    return pd.Series(
        rows["value"].to_numpy(float), index=pd.MultiIndex.from_arrays([rows["seed"], starts])
    )


def _predicts(
    known: Mapping[str, pd.Series[float]], ends: pd.Series[float], place: str, rl: str
) -> Iterator[tuple[Statement, Estimate | None]]:
    for name, before in known.items():
        found = rank_correlation(before, ends, f"runs of {rl}")
        yield (
            _statement(
                "predicts",
                f"{name[0].upper()}{name[1:]} ({place} selection problems) goes with {rl}'s score "
                f"at the end, {place}",
                PUBLISHED.get(name, "not measured"),
            ),
            found,
        )


def _better(
    known: Mapping[str, pd.Series[float]], ends: pd.Series[float], place: str, rl: str
) -> Iterator[tuple[Statement, Estimate | None]]:
    """Differences of rank correlations to the greedy score's, by seed."""

    def by_seed(before: pd.Series[float]) -> pd.Series[float]:
        both = pd.concat([before.rename("before"), ends.rename("after")], axis=1).dropna()
        return both.groupby(level=0).apply(
            lambda rows: spearman(rows["before"].to_list(), rows["after"].to_list())
        )

    score = by_seed(known[SCORE])
    for name, before in known.items():
        gaps = (by_seed(before) - score).dropna()
        if name == SCORE or len(gaps) < 2:
            continue
        yield (
            _statement(
                "better",
                f"{name[0].upper()}{name[1:]} goes with {rl}'s end more closely than the "
                f"{SCORE} does, {place}",
                PUBLISHED.get(name, "not measured"),
            ),
            over_seeds(
                gaps,
                np.zeros(len(gaps)),
                n=len(gaps),
                counted="seeds",
                within="difference of Spearman's correlations over the starts of each seed",
                detail="alike in every seed: no width is known" if gaps.nunique() == 1 else "",
            ),
        )
