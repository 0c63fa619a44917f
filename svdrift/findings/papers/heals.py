"""RL heals OOD forgetting (arXiv 2509.12235): what lies beyond its spectra.

Its release compares hidden states and predictions of a peak, the start of RL and its result by
many metrics, which disagree. Here each stands beside the same for continued SFT and for a random
change of the same size; and replies are scored under both rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from svdrift.evaluation.comparisons import p_over_seeds
from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.estimates import over_seeds
from svdrift.findings.finding import Estimate, Finding, Statement, held
from svdrift.findings.paired import mean, of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="RL fine-tuning heals OOD forgetting in SFT",
    arxiv="2509.12235",
    claims={
        "moves-back": "In function space RL moves a checkpoint back to the peak of OOD ability",
        "confusion": "What is forgotten is the rule: lost problems are solved by the trained rule, "
        "and RL takes that back",
    },
    reads=("function_space", "scores"),
    limits="The published metrics disagree among themselves (win rates of 0 % by cosine and near "
    "100 % by Jensen-Shannon for one model), so the agreement of signs is judged, not a single "
    "one. The paper has one seed.",
)
OWN, NOISE = "own", "noise"
MOST = 50.0  # % of the metrics

_of_space = partial(statement, "function_space", "%")
_of_rules = partial(statement, "scores", "points")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL from the moderate start and from the last one, against controls and random changes."""
    return held([*_space(tables["function_space"], story), *_confusion(tables["scores"], story)])


# --------------------------------------------------------------------------------------
# Function space


def _space(space: pd.DataFrame, story: Story) -> Iterator[tuple[Statement, Estimate | None]]:
    rl = story.rl
    if rl is None:
        return
    for start, result in rl.results.items():
        for name, (role, shift) in (("ID", ID), ("OOD", OOD)):
            here = space[(space["role"] == role) & (space["shift"] == shift)]
            ours = _back(here, result, OWN)
            if ours.empty:
                continue
            others = {"where its start was": 0 * ours}
            others |= {"random changes of its size": _back(here, result, NOISE)}
            others |= {
                c.label: _back(here, c.results[start], OWN)
                for c in story.controls
                if start in c.results
            }
            for label, theirs in others.items():
                if theirs.empty:
                    continue
                yield (
                    _of_space(
                        "moves-back",
                        f"By most metrics {rl.label} from {start} ends closer to the peak than "
                        f"{label}, {name}",
                        "metrics disagree",
                        bound=MOST,
                    ),
                    _agreement(ours - theirs),
                )


def _back(space: pd.DataFrame, checkpoint: str, change: str) -> pd.DataFrame:
    """How far back to the peak, by seed (rows) and metric (columns); a mean over draws."""
    rows = space[(space["checkpoint"] == checkpoint) & (space["change"] == change)]
    return rows.pivot_table(index="seed", columns="metric", values="back", sort=True)


def _agreement(gaps: pd.DataFrame) -> Estimate | None:
    """The share of metrics by which there is a gap above 0, over seeds."""
    gaps = gaps.dropna()
    if len(gaps) < 2:  # one seed's share has no width
        return None
    shares = (gaps > 0).mean(axis=1) * 100
    signs = (gaps > 0).sum()
    detail = "seeds that agree: " + ", ".join(
        f"{metric} {count}" for metric, count in signs.items()
    )
    errors = np.zeros(len(shares))
    found = over_seeds(
        shares,
        errors,
        n=gaps.size,
        counted="metrics and seeds",
        within="share of metrics with that sign",
        detail=detail,
    )
    return replace(
        found,
        low=max(found.low, 0.0),
        high=min(found.high, 100.0),
        exact_p=p_over_seeds(shares.to_numpy() - MOST, errors),
    )


# --------------------------------------------------------------------------------------
# Rules


def _confusion(scores: pd.DataFrame, story: Story) -> Iterator[tuple[Statement, Estimate | None]]:
    def replies(checkpoint: str) -> pd.DataFrame:
        return of_problems(scores, checkpoint, OOD, has_other_rule=True)

    if story.peak is not None:
        peak, last = replies(story.peak), replies(story.last)
        shares = (
            f"by the other rule {mean(peak['other_rule'])} to {mean(last['other_rule'])} %, right "
            f"{mean(peak['valid'])} to {mean(last['valid'])} %"
        )
        rise = [(1.0, last["other_rule"]), (-1.0, peak["other_rule"])]
        yield (
            _of_rules(
                "confusion",
                f"From {story.peak} to the end of {story.path_label} more OOD problems are solved "
                "by the other rule",
                "offered as an explanation",
            ),
            weighted(rise, scale=100, detail=shares),
        )
        yield (
            _of_rules(
                "confusion",
                "What the other rule solves more is at least half of what is lost on OOD",
                "not measured",
            ),
            weighted([*rise, (-0.5, peak["valid"]), (0.5, last["valid"])], scale=100),
        )
    rl, start = story.rl, story.moderate
    if rl is None or start is None:
        return
    others = {start: "its own start"}
    others |= {c.results[start]: c.label for c in story.controls if start in c.results}
    for other, label in others.items():
        ours, theirs = replies(rl.results[start]), replies(other)
        if ours.empty or theirs.empty:  # not probed
            continue
        yield (
            _of_rules(
                "confusion",
                f"After {rl.label} from {start} fewer OOD problems are solved by the other rule "
                f"than by {label}",
                "not measured",
                side="below",
            ),
            weighted([(1, ours["other_rule"]), (-1, theirs["other_rule"])], scale=100),
        )
