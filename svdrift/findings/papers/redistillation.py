"""Re-distillation (arXiv 2505.17988): does SFT of the base on RL's replies give what RL gave?

Beside the redistilled model stand SFT on the right replies of RL's *start* (self-text without RL)
and on the demonstrations of the problems that RL solves (the same problems, another's text). The
paper's sample effect is measured at the base, beside how likely the base finds the same replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from svdrift.findings.arms import PLACES, UNKNOWN, Pairs, ends_above, of_solved, solved
from svdrift.findings.estimates import at
from svdrift.findings.finding import Finding, held
from svdrift.findings.paired import of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.findings.ranks import rank_correlation, rank_correlation_more
from svdrift.story import Story

PAPER = Paper(
    title="Towards revealing the effectiveness of small-scale fine-tuning in R1-style RL",
    arxiv="2505.17988",
    claims={
        "recovers": "SFT of the base on RL's replies gives what RL gave, with far fewer samples",
        "needs-rl": "It takes RL's replies: right replies of RL's start do not give it",
        "replies": "It is the replies that help, not the problems they answer",
        "effect": "Sample effect tells which replies teach more",
    },
    reads=("scores", "sample_effect"),
    arms={
        "start": "RL's start",
        "rl": "RL",
        "redistilled": "SFT of the base on RL's right replies",
        "rejection": "SFT of the base on the right replies of RL's start",
        "canonical": "SFT of the base on demonstrations of the problems that RL solves",
        "redistilled_demonstrated": "SFT of the base on RL's right replies to the demonstrated "
        "problems",
    },
    control="SFT on the right replies of RL's start, and on demonstrations of the very problems "
    "that RL solves.",
    limits="A share of what RL brings is judged only where its gain is clear. The paper's replies "
    "are long; ours are one formula, of which a problem has few. Sample effect is a derivative at "
    "the base, and training takes many steps from there; its order is that of five data sets a "
    "seed, too few for a close correlation.",
)
LEARNED = ("start", "redistilled", "rejection", "canonical", "redistilled_demonstrated")
"""Arms that are SFT of the base; the probe names what each of them learned by its arm."""
OTHERS = {
    "canonical": "demonstrations of the problems that RL solves",
    "rejection": "right replies of RL's start",
}
RIVAL = "the mean log-likelihood of a data set at the base"
PREDICTORS = {
    "effect": "the mean sample effect of a data set",
    "adam_effect": "the mean sample effect of a data set in steps of Adam",
    "log_prob": RIVAL,
}
"""Columns of the probe, which are sums over a reply's tokens."""
_of_effect = partial(statement, "sample_effect", "")
_of_order = partial(statement, "sample_effect", "rank correlation")
SHARE = 0.8  # of RL's gain, set beforehand
PUBLISHED = "1.5B with 1,000 replies as good as its RL with 128,000 (K&K)"


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """The redistilled model against RL, its start and two other sources of text."""
    scores, effects = tables["scores"], tables["sample_effect"]
    return held(
        [
            *_recovers(scores, story),
            *ends_above(PAPER, scores, story, "needs-rl", [("redistilled", "rejection", UNKNOWN)]),
            *ends_above(
                PAPER,
                scores,
                story,
                "replies",
                [
                    ("redistilled", "canonical", UNKNOWN),
                    ("redistilled_demonstrated", "start", UNKNOWN),
                ],
            ),
            *_teaches(effects, story),
            *_orders(effects, scores, story),
        ]
    )


def _recovers(scores: pd.DataFrame, story: Story) -> Pairs:
    """Whether SHARE of RL's gain over its start comes back; judged only where RL clearly gains."""
    for name, place in PLACES.items():
        start, rl, again = (
            solved(scores, story, arm, place) for arm in ("start", "rl", "redistilled")
        )
        gain = weighted([(1, rl), (-1, start)], scale=100)
        clear = gain is not None and gain.low > 0
        yield (
            of_solved(
                "recovers",
                f"{PAPER.arms['redistilled']} gains at least {SHARE:.0%} of what RL gains over its "
                f"start, {name}",
                PUBLISHED,
                description=not clear,
            ),
            weighted(
                [(1, again), (SHARE - 1, start), (-SHARE, rl)],
                scale=100,
                detail=""
                if gain is None
                else f"RL gains {gain.estimate:.1f} [{gain.low:.1f}, {gain.high:.1f}]"
                + ("" if clear else ", which is not clear"),
            ),
        )
    yield from ends_above(PAPER, scores, story, "recovers", [("redistilled", "start", PUBLISHED)])


def _teaches(effects: pd.DataFrame, story: Story) -> Pairs:
    """Sample effect of RL's replies at the base, and of other replies to the same problems."""
    for name, (_, shift) in PLACES.items():
        ours, *others = (
            of_problems(effects, story.base, ("selection", shift), data=arm)
            for arm in ("redistilled", *OTHERS)
        )
        for other, theirs in zip(OTHERS.values(), others, strict=True):
            likely = weighted(_paired(ours, theirs, "log_prob"))
            yield (
                _of_effect(
                    "effect",
                    "Right replies of RL have a higher sample effect at the base, a token, than "
                    f"{other}, {name}",
                    UNKNOWN,
                ),
                weighted(
                    _paired(ours, theirs, "effect"),
                    detail=""
                    if likely is None
                    else "their log-likelihood at the base, a token, differs by "
                    f"{likely.estimate:.2f} [{likely.low:.2f}, {likely.high:.2f}] nats",
                ),
            )


def _paired(
    ours: pd.DataFrame, theirs: pd.DataFrame, column: str
) -> list[tuple[float, pd.Series[float]]]:
    """Terms of the difference of two data sets, a token, a problem's replies together."""
    by = ["seed", "group", "problem"]
    return [
        (weight, (rows[column] / rows["tokens"]).groupby(level=by).mean())
        for weight, rows in ((1.0, ours), (-1.0, theirs))
    ]


def _orders(effects: pd.DataFrame, scores: pd.DataFrame, story: Story) -> Pairs:
    """The order of data sets by sample effect against that of what SFT of the base on them gives.

    By the accuracy itself: its gain over the base has the same order.
    """
    for name, place in PLACES.items():
        rows = at(effects[effects["checkpoint"] == story.base], ("selection", place[1]))
        rows = rows[rows["data"].isin(list(LEARNED))]
        before = {
            said: (rows[column] / rows["tokens"]).groupby([rows["seed"], rows["data"]]).mean()
            for column, said in PREDICTORS.items()
        }
        after = pd.concat(
            {arm: solved(scores, story, arm, place).groupby(level="seed").mean() for arm in LEARNED}
        ).swaplevel()
        for said, known in before.items():
            yield (
                _of_order(
                    "effect",
                    f"The higher {said}, the more problems SFT of the base on it solves, {name}",
                    UNKNOWN,
                    description=said == RIVAL,
                ),
                rank_correlation(known, after, "data sets", "data set"),
            )
        for said, known in before.items():
            if said != RIVAL:
                yield (
                    _of_order(
                        "effect",
                        f"The order by {said} is closer to that of what SFT solves than the order "
                        f"by {RIVAL} is, {name}",
                        UNKNOWN,
                    ),
                    rank_correlation_more(known, before[RIVAL], after, "data set"),
                )
