"""Quagmires in SFT-RL (arXiv 2510.01624): what, before RL, predicts where RL ends?

Predictors are measured on selection problems at RL's starts, outcomes on test problems. What the
paper names is judged by where RL ends; other predictors, such as the entropy of samples that the
counter-example arXiv 2606.18487 names, and RL's gain are described.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from svdrift.evaluation.advantages import GROUP, advantage_entropy, flat_share
from svdrift.evaluation.pass_at_k import pass_at
from svdrift.findings.arms import NEGLIGIBLE, PLACES, UNKNOWN, Pairs
from svdrift.findings.estimates import at, of_seeds
from svdrift.findings.finding import Finding, held
from svdrift.findings.paired import mean, statement
from svdrift.findings.paper import Paper
from svdrift.findings.prediction import explained, explained_more
from svdrift.findings.ranks import rank_correlation, rank_correlation_more
from svdrift.story import Story

PAPER = Paper(
    title="Quagmires in SFT-RL post-training: when high SFT scores mislead and what to use instead",
    arxiv="2510.01624",
    claims={
        "predicts": "The loss of held-out demonstrations and pass@k before RL tell where RL ends",
        "better": "They tell it better than the score before RL does",
        "start": "So RL should start from the checkpoint that they name",
    },
    reads=("samples", "losses"),
    tables=("accuracy",),
    control="Each predictor beside the greedy score, given the step of SFT, and for RL's gain "
    "over SFT of its size.",
    limits="Starts are steps of one SFT run a seed, so that predictors that only follow the step "
    "look good together; each row says what is left given the step. A few starts in a seed give a "
    "rank correlation a standard error near 0.4; seeds count. The lines behind R² share most of "
    "their seeds, so that its intervals are approximate. Predictors that the paper does not name, "
    "and RL's gain, are described.",
)
SELECTION = {"ID": ("selection", "id"), "OOD": ("selection", "ood")}
SCORE, LOSS, END = "greedy score", "lower loss of demonstrations", "score at the end"
PUBLISHED = {  # Spearman, Llama and Mistral, models that differ by their data
    SCORE: "0.75 and 0.78",
    "pass@64": "0.95 and 0.92",
    LOSS: "0.94 and 0.90",
    "entropy": "+0.69 (arXiv 2606.18487)",
}
PUBLISHED_R2 = {
    SCORE: "0.57 and 0.29",
    "pass@64": "0.87 and 0.57",
    LOSS: "0.88 and 0.79",
}
NAMED = (*PUBLISHED, "entropy of advantages")  # by papers: those that are held against the score

_of_ranks = partial(statement, "samples", "rank correlation")
_of_lines = partial(statement, "samples", "R²")
_of_points = partial(statement, "samples", "points")
Predictors = Mapping[str, "pd.Series[float]"]


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """What each predictor tells of RL's results, and which start it would choose."""
    rl = story.rl
    if rl is None:
        return []
    accuracy, found = tables["accuracy"], []
    for place, outcome in PLACES.items():
        ends = _solved(accuracy, outcome, rl.results)
        known = predictors(tables, place, story.starts)
        outcomes = {f"{rl.label}'s {END}": ends}
        for control in story.controls[:1]:
            without = _solved(accuracy, outcome, control.results)
            outcomes[f"{rl.label}'s gain over {control.label}"] = (ends - without).dropna()
        for name, after in outcomes.items():
            found += held(_predicts(known, after, place, name, rl.label))
            found += held(_better(known, after, place, name, rl.label))
        on_selection = _solved(accuracy, SELECTION[place], rl.results)
        found += held(_start(known, on_selection, ends, place, rl.label))
    return found


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
    rewards = samples.groupby(by)["rewards"]
    mixed = 1 - flat_share(samples["rewards"])
    known[f"share of groups of {GROUP} with a signal"] = mixed.groupby(
        [samples[name] for name in by]
    ).mean()
    known["entropy of advantages"] = rewards.apply(lambda own: advantage_entropy(own)).astype(float)
    known[LOSS] = -losses.groupby(by)["loss"].mean()
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
    known: Predictors, after: pd.Series[float], place: str, outcome: str, rl: str
) -> Pairs:
    for name, before in known.items():
        told = f"{name[0].upper()}{name[1:]} ({place} selection problems)"
        yield (
            _of_ranks(
                "predicts",
                f"{told} goes with {outcome}, {place}",
                _published(PUBLISHED, name, outcome),
                description=not _judged(name, outcome),
            ),
            rank_correlation(before, after, f"runs of {rl}"),
        )
        yield (
            _of_lines(
                "predicts",
                f"{told} predicts {outcome} in a seed left out, {place}",
                _published(PUBLISHED_R2, name, outcome),
                description=not _judged(name, outcome),
            ),
            explained(before, after, f"runs of {rl}"),
        )


def of_paper(name: str) -> bool:
    """Whether a predictor is one that this paper names; pass@1 is a score, as is its rival."""
    return name == LOSS or (name.startswith("pass@") and name != "pass@1")


def _judged(name: str, outcome: str) -> bool:
    return of_paper(name) and outcome.endswith(END)


def _published(numbers: Mapping[str, str], name: str, outcome: str, against: str = "") -> str:
    """What papers found for a predictor, and for the one that it is held against.

    They looked at where RL ends alone.
    """
    if name not in numbers or not outcome.endswith(END):
        return UNKNOWN
    return f"{numbers[name]}, {against} {numbers[against]}" if against else numbers[name]


def _better(known: Predictors, after: pd.Series[float], place: str, outcome: str, rl: str) -> Pairs:
    """Differences to the greedy score, by seed; of what papers name alone."""
    score = known[SCORE]
    for name, before in known.items():
        if name not in NAMED or name == SCORE:
            continue
        told = f"{name[0].upper()}{name[1:]}"
        yield (
            _of_ranks(
                "better",
                f"{told} goes with {outcome} more closely than the {SCORE} does, {place}",
                _published(PUBLISHED, name, outcome, against=SCORE),
                description=not _judged(name, outcome),
            ),
            rank_correlation_more(before, score, after),
        )
        yield (
            _of_lines(
                "better",
                f"{told} predicts {outcome} in a seed left out better than the {SCORE} does, "
                f"{place}",
                _published(PUBLISHED_R2, name, outcome, against=SCORE),
                description=not _judged(name, outcome),
            ),
            explained_more(before, score, after, f"runs of {rl}"),
        )


def _start(
    known: Predictors,
    on_selection: pd.Series[float],
    ends: pd.Series[float],
    place: str,
    rl: str,
) -> Pairs:
    """Where each seed's RL ends on test problems if a predictor of the paper chooses its start.

    Which predictor that is, RL's ends on *selection* problems decide.
    """
    best = max(
        filter(of_paper, known),
        key=lambda name: float(at_chosen(known[name], on_selection).mean()),
    )
    by_best = "the lowest loss of demonstrations" if best == LOSS else f"the highest {best}"
    chosen, score = (at_chosen(known[name], ends) for name in (best, SCORE))
    hindsight = ends.groupby(level=0).max()
    yield (
        _of_points(
            "start",
            f"{rl} from the start with {by_best} ends above {rl} from that with the highest "
            f"{SCORE}, {place}",
            UNKNOWN,
        ),
        of_seeds(100 * (chosen - score).dropna(), "of each seed"),
    )
    yield (
        _of_points(
            "start",
            f"{rl} from the start with {by_best} ends at most {NEGLIGIBLE:g} points below "
            f"the best start in hindsight, {place}",
            UNKNOWN,
            bound=-NEGLIGIBLE,
        ),
        of_seeds(
            100 * (chosen - hindsight).dropna(),
            "of each seed",
            detail=f"Start {rl} from the checkpoint with {by_best} on {place} selection "
            f"problems ({_counts(starts_chosen(known[best]))}): it ends at {mean(chosen)} %, that "
            f"with the highest {SCORE} at {mean(score)} %, the best in hindsight at "
            f"{mean(hindsight)} %",
        ),
    )


def starts_chosen(predictor: pd.Series[float]) -> pd.Series[Any]:
    """Each seed's start with the highest value, the first of several."""
    return predictor.dropna().groupby(level=0).idxmax().map(lambda found: found[1])


def at_chosen(predictor: pd.Series[float], ends: pd.Series[float]) -> pd.Series[float]:
    """By seed, where RL ends from the start that a predictor chooses."""
    both = pd.concat([predictor.rename("before"), ends.rename("after")], axis=1).dropna()
    places = both.groupby(level=0)["before"].idxmax()
    return pd.Series(both.loc[list(places), "after"].to_numpy(float), index=places.index)


def _counts(starts: pd.Series[Any]) -> str:
    """`sft-64 in 3 seeds, sft-16 in 2`."""
    counts = starts.value_counts()
    (first, most), *others = counts.items()
    seeds = "seed" if most == 1 else "seeds"
    return ", ".join([f"{first} in {most} {seeds}", *(f"{id} in {n}" for id, n in others)])
