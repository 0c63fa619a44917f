"""RL heals OOD forgetting (arXiv 2509.12235): what lies beyond its spectra.

Its release compares hidden states and predictions of a peak, the start of RL and its result by
many metrics, which disagree. Here each stands beside the same for continued SFT and for a random
change of the same size; replies are scored under both rules; and the other signals that the release
measures are held against outcomes: confidence, advantages at RL's start, and malformed replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from svdrift.evaluation.advantages import advantage_entropy, flat_share
from svdrift.evaluation.calibration import bootstrap_error, brier, calibration_error
from svdrift.evaluation.comparisons import p_over_seeds
from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.arms import Pairs
from svdrift.findings.estimates import at, over_seeds
from svdrift.findings.finding import Estimate, Finding, Side, held
from svdrift.findings.paired import mean, of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.findings.ranks import rank_correlation
from svdrift.story import Story

PAPER = Paper(
    title="RL fine-tuning heals OOD forgetting in SFT",
    arxiv="2509.12235",
    claims={
        "moves-back": "In function space RL moves a checkpoint back to the peak of OOD ability",
        "confusion": "What is forgotten is the rule: lost problems are solved by the trained rule, "
        "and RL takes that back",
        "overconfidence": "What is forgotten is still said with confidence",
        "confidence-back": "RL takes this overconfidence back",
        "advantages": "RL heals from starts whose advantages are spread out",
        "form": "RL leaves fewer malformed replies than it finds",
    },
    reads=("function_space", "scores", "samples"),
    figures={"reliability": ("samples",)},
    control="Every measure stands beside the same for SFT of RL's size and for random changes "
    "of RL's norm.",
    limits="The published metrics disagree among themselves (win rates of 0 % by cosine and near "
    "100 % by Jensen-Shannon for one model), so the agreement of signs is judged, not a single "
    "one. How the paper takes the entropy of advantages is not published: here, of a histogram in "
    "units of their standard deviation; a seed has few starts to correlate. Malformed replies and "
    "those by the other rule are rare where RL starts, so that it has little to take back. The "
    "paper has one seed.",
)
OWN, NOISE = "own", "noise"
MOST = 50.0  # % of the metrics

_of_space = partial(statement, "function_space", "%")
_of_rules = partial(statement, "scores", "points")
_of_samples = partial(statement, "samples")

SURE = {"confidence": "token probability", "agreement": "agreement of samples"}
MALFORMED = ("unreadable", "illegal_formula", "partial")  # no formula, or none that has a value
ENTROPY = 2.55  # bits; a note about the paper starts RL only above


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL from the moderate start and from the last one, against controls and random changes."""
    samples = tables["samples"]
    return held(
        [
            *_space(tables["function_space"], story),
            *_confusion(tables["scores"], story),
            *_overconfidence(samples, story),
            *_advantages(samples, story),
            *_form(samples, story),
        ]
    )


# --------------------------------------------------------------------------------------
# Function space


def _space(space: pd.DataFrame, story: Story) -> Pairs:
    rl = story.rl
    if rl is None:
        return
    for start, result in rl.results.items():
        for name, (role, shift) in (("ID", ID), ("OOD", OOD)):
            here = space[(space["role"] == role) & (space["shift"] == shift)]
            ours = _back(here, result, OWN)
            if ours.empty:
                continue
            others = {"its start": 0 * ours}
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


def _confusion(scores: pd.DataFrame, story: Story) -> Pairs:
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
            weighted(
                [(1, ours["other_rule"]), (-1, theirs["other_rule"])],
                scale=100,
                detail=f"{mean(ours['other_rule'])} against {mean(theirs['other_rule'])} %",
            ),
        )


# --------------------------------------------------------------------------------------
# Confidence


def _overconfidence(samples: pd.DataFrame, story: Story) -> Pairs:
    """OOD: the path's end against its peak, and RL from the moderate start against others."""
    contrasts: list[tuple[str, str, str, str, Side]] = []
    if story.peak is not None:
        told = f"{{}} at the end of {story.path_label} than at {story.peak}, OOD"
        contrasts.append(("overconfidence", story.last, story.peak, told, "above"))
    rl, start = story.rl, story.moderate
    if rl is not None and start is not None:
        others = {start: "at its own start"}
        others |= {
            c.results[start]: f"after {c.label}" for c in story.controls if start in c.results
        }
        contrasts += [
            (
                "confidence-back",
                rl.results[start],
                other,
                f"{{}} after {rl.label} from {start} than {label}, OOD",
                "below",
            )
            for other, label in others.items()
        ]
    for claim, one, other, told, side in contrasts:
        ours, theirs = (of_problems(samples, checkpoint, OOD) for checkpoint in (one, other))
        if ours.empty or theirs.empty:  # not probed
            continue
        more = "larger" if side == "above" else "smaller"
        for column, words in SURE.items():
            yield (
                _of_samples(
                    "points",
                    claim,
                    told.format(f"The calibration error by {words} is {more}"),
                    "measured with 15 bins; no figures",
                    side=side,
                ),
                calibration_gap(ours, theirs, column),
            )
            scores = [
                pd.Series(brier(rows[column], rows["greedy_solved"]), rows.index)
                for rows in (ours, theirs)
            ]
            yield (
                _of_samples(
                    "points",
                    claim,
                    told.format(f"The Brier score by {words} is {more}"),
                    "not measured",
                    side=side,
                ),
                weighted([(1, scores[0]), (-1, scores[1])], scale=100),
            )


def calibration_gap(ours: pd.DataFrame, theirs: pd.DataFrame, column: str) -> Estimate | None:
    """Expected calibration error of one checkpoint minus another's, in points, over seeds.

    On the same problems; each seed's standard error is that of a bootstrap of groups.

    Args:
        ours, theirs: rows of `of_problems`.
        column: the measure of confidence.
    """
    names = [column, "greedy_solved"]
    both = pd.concat({"ours": ours[names], "theirs": theirs[names]}, axis=1, join="inner")
    gaps, errors, groups = {}, [], 0
    for seed, rows in both.groupby(level="seed"):
        sides = [
            tuple(rows[whose, name].to_numpy(float) for name in names)
            for whose in ("ours", "theirs")
        ]

        def gap(drawn: np.ndarray, sides: list[tuple[np.ndarray, ...]] = sides) -> float:
            one, other = (calibration_error(*(side[drawn] for side in pair)) for pair in sides)
            return 100 * (one - other)

        clusters = rows.index.get_level_values("group")
        if clusters.nunique() < 2:
            return None
        gaps[seed] = gap(np.arange(len(rows)))
        errors.append(bootstrap_error(gap, clusters.to_list()))
        groups += clusters.nunique()
    if not gaps:
        return None
    sure = [
        f"{mean(rows[column])} against {mean(rows['greedy_solved'])} % right"
        for rows in (ours, theirs)
    ]
    found = over_seeds(
        pd.Series(gaps),
        np.array(errors),
        n=len(both),
        counted="problems",
        within="bootstrap of groups, paired on the same problems",
        detail=f"mean confidence {sure[0]}; of the other {sure[1]}",
    )
    return replace(found, groups=groups)


# --------------------------------------------------------------------------------------
# Advantages


def _advantages(samples: pd.DataFrame, story: Story) -> Pairs:
    """Those of RL's starts on ID selection problems, against what RL gains on OOD."""
    rl = story.rl
    if rl is None:
        return
    before = at(samples[samples["checkpoint"].isin(story.starts)], ("selection", "id"))
    by_start = before.groupby(["seed", "checkpoint"])["rewards"]
    entropy = by_start.apply(lambda rewards: advantage_entropy(rewards)).astype(float)
    for start in story.starts:
        own = before[before["checkpoint"] == start]
        if own.empty:
            continue
        values = entropy.xs(start, level="checkpoint")
        positive = own["rewards"].map(lambda rewards: float((np.asarray(rewards) > 0).mean()))
        yield (
            _of_samples(
                "bits",
                "advantages",
                f"The advantages at {start} have an entropy above {ENTROPY:g} bits",
                f"RL only above {ENTROPY:g} and with 40 to 80 % of rewards positive (one note)",
                bound=ENTROPY,
                description=True,
            ),
            over_seeds(
                values,
                np.zeros(len(values)),
                n=len(own),
                counted="problems",
                within="histogram of 32 bins over 6 standard deviations",
                detail=f"positive rewards {mean(positive)} %, flat groups "
                f"{mean(flat_share(own['rewards']))} %",
            ),
        )
    for control in story.controls:
        if not set(story.starts) <= set(control.results):
            continue
        ends = [_greedy(samples, role.results) for role in (rl, control)]
        yield (
            _of_samples(
                "rank correlation",
                "advantages",
                f"The entropy of advantages at a start goes with {rl.label}'s gain over "
                f"{control.label}, OOD",
                "from figures alone",
            ),
            rank_correlation(entropy, ends[0] - ends[1], f"runs of {rl.label}"),
        )


def _greedy(samples: pd.DataFrame, results: Mapping[str, str]) -> pd.Series[float]:
    """Share of OOD problems that are solved greedily, by seed and start."""
    rows = at(samples, OOD)
    start_of = {result: start for start, result in results.items()}
    rows = rows[rows["checkpoint"].isin(start_of)]
    starts = rows["checkpoint"].map(start_of)
    return rows["greedy_solved"].astype(float).groupby([rows["seed"], starts]).mean()


# --------------------------------------------------------------------------------------
# Malformed replies


def _form(samples: pd.DataFrame, story: Story) -> Pairs:
    rl = story.rl
    if rl is None:
        return
    for start, result in rl.results.items():
        for name, place in (("ID", ID), ("OOD", OOD)):
            faults = [of_problems(samples, one, place)["greedy_fault"] for one in (result, start)]
            if any(one.empty for one in faults):
                continue
            after, before = (one.isin(MALFORMED).astype(float) for one in faults)
            shares = [
                {kind: mean((one == kind).astype(float)) for kind in MALFORMED} for one in faults
            ]
            kinds = [
                f"{kind.replace('_', ' ')} {shares[1][kind]} to {shares[0][kind]} %"
                for kind in MALFORMED
            ]
            yield (
                _of_samples(
                    "points",
                    "form",
                    f"{rl.label} from {start} ends with fewer malformed replies than its start, "
                    f"{name}",
                    "under 5 % from SFT step 50 on; after RL not told",
                    side="below",
                ),
                weighted([(1, after), (-1, before)], scale=100, detail=", ".join(kinds)),
            )
