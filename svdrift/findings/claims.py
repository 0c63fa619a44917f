"""The claims of the papers as statements that can hold or fail.

Each function takes tables of a study as the scripts write them, and leaves out the statements that
the study did not measure. Accuracies are first tries. What the numbers are and how their intervals
are found is in `svdrift.findings.estimates`. The claim about the weights is in
`svdrift.findings.rotation`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from svdrift.checkpoints import ANCHOR, LAST
from svdrift.evaluation.contrasts import FIT, ID, OOD
from svdrift.findings.estimates import at, measured, without
from svdrift.findings.finding import Estimate, Finding, Statement, held
from svdrift.findings.ranks import rank_correlation
from svdrift.reference import published
from svdrift.story import Role, Story

CLAIMS = {  # in the order of the story; the numbers of the papers' claims in docs
    "forgetting": "OOD accuracy peaks early in SFT, then falls while ID accuracy keeps rising",
    "rl": "RL restores lost OOD accuracy, from moderately trained checkpoints only",
    "rotation": "Singular values stay, singular vectors turn, most at both ends of the spectrum",
    "recovery": "The directions of few ranks, or of few layers, bring the loss back; values do not",
    "strength": "The stronger the SFT checkpoint is on OOD, the better RL recovers it",
}
LARGE_SHARE, SMALL_SHARE = 70.0, 10.0  # % of the loss: published for directions; "nothing"
MOST_OF_IT = 50.0  # % of the loss: "much of it"
OWN_START = "its own start"
MAIN_REPAIR = f"{LAST}-with-{ANCHOR}"
PUBLISHED_STARTS = {"short": 140, "moderate": 1100, "long": 1600}  # steps of Llama-11B

# --------------------------------------------------------------------------------------
# 1. Forgetting


def forgetting(contrasts: pd.DataFrame, story: Story) -> list[Finding]:
    """OOD falls along the path and ID rises, from a peak that a seed does not choose itself.

    A maximum minus a member of the same curve is hardly ever negative, whatever training did: the
    fall from each seed's own peak is described and not judged.
    """
    curve = published("llama_ood_by_checkpoint")["ood_accuracy_sft"]
    llama = _llama("id_accuracy")
    falls = f"{curve.max():.1f} to {curve.iloc[-1]:.1f} % (Llama-11B)"
    rises = (
        f"rises: {llama['sft_max_ood']:.1f} to {llama['sft_moderate']:.1f} % at step 1100 "
        "(Llama-11B)"
    )
    peak = (
        "the step at which the other seeds stand highest"
        if story.peak is None
        else f"{story.peak}, named in advance as its peak,"
    )
    end = f"to the end of {story.path_label}"
    statements = [
        (OOD, 1, f"OOD accuracy falls from {peak} {end}", falls),
        (FIT, -1, "ID accuracy on fitted problems rises meanwhile", rises),
        (ID, -1, "ID accuracy on test problems rises meanwhile", rises),
    ]
    rows = contrasts[contrasts["contrast"] == "forgetting"]
    found = held(
        (
            _above_zero("forgetting", statement, theirs, "accuracy_by_step", "contrasts"),
            measured(at(rows, place), "value", sign * 100.0),
        )
        for place, sign, statement, theirs in statements
    )
    own = replace(
        _above_zero(
            "forgetting",
            f"OOD accuracy falls from each seed's own peak {end}",
            falls,
            "accuracy_by_step",
            "contrasts",
        ),
        description=True,
    )
    rows = at(contrasts[contrasts["contrast"] == "own-peak"], OOD)
    by_construction = "true by construction: the highest of a curve minus its end"
    return found + held([(own, measured(rows, "value", detail=by_construction))])


def _lost_from(story: Story) -> str:
    """What the loss is counted from, for shares of it."""
    if story.peak is not None:
        return f"loss counted from {story.peak}, named in advance"
    return "loss counted from each seed's own peak on selection problems"


# --------------------------------------------------------------------------------------
# 2. RL


def rl_effect(
    comparisons: pd.DataFrame | None,
    contrasts: pd.DataFrame,
    story: Story,
    signals: pd.DataFrame | None = None,
) -> list[Finding]:
    """RL minus each control on OOD from a short, moderate and long start; the window.

    Args:
        comparisons: of `scripts/compare_checkpoints.py`.
        contrasts: with `restored-from-...` and `window-...`.
        story: RL, its starts and its controls.
        signals: of `scripts/measure_signals.py`: runs whose rewards taught nothing are named.
    """
    rl = story.rl
    if rl is None:
        return []
    found = []
    for name, start in story.named_starts.items():
        others = {start: OWN_START}
        others |= {c.results[start]: c.label for c in story.controls if start in c.results}
        mute = silent(signals, rl, start)
        found += held(
            (
                _above_zero(
                    "rl",
                    f"{rl.label} from the {name} start ({start}) ends above {label}, OOD",
                    _published_effect(name) if other == start else "no such control",
                    "rl_effect",
                    "comparisons",
                ),
                measured(rows, "difference", detail=_without(rows, mute)),
            )
            for other, label in others.items()
            for rows in [_compared(comparisons, rl.results[start], other)]
        )
    llama = _llama("ood_accuracy")
    back = (llama["rl"] - llama["sft_moderate"]) / (llama["sft_max_ood"] - llama["sft_moderate"])
    restored = Statement(
        claim="rl",
        statement=f"{rl.label} from the moderate start brings back most of the OOD loss up to it",
        unit="% of the loss",
        side="above",
        bound=MOST_OF_IT,
        published=f"{100 * back:.0f} % (Llama-11B)",
        figure="figures/stages.png",
        table="tables/contrasts.parquet",
    )
    moderate = story.moderate
    shares = _contrast(contrasts, f"restored-from-{moderate}")
    words = [_lost_from(story), _named(silent(signals, rl, moderate) if moderate else set())]
    detail = "; ".join(filter(None, words))
    found += held([(restored, measured(shares, "value", p=_p_at(MOST_OF_IT), detail=detail))])
    for control in story.controls[:1]:
        for name, other in story.named_starts.items():
            rows = _contrast(contrasts, f"window-{moderate}-{other}")
            mute = silent(signals, rl, other) | silent(signals, rl, moderate or other)
            statement = _above_zero(
                "rl",
                f"{rl.label}'s lead over {control.label} is larger from the moderate start "
                f"than from the {name} one, OOD",
                "a window: steps 420 to 1200 (Llama-11B)",
                "recovery_window",
                "contrasts",
            )
            detail = _without(rows.rename(columns={"value": "difference"}), mute)
            found += held([(statement, measured(rows, "value", detail=detail))])
    return found


def silent(signals: pd.DataFrame | None, rl: Role, start: str) -> set[int]:
    """Seeds in which RL's run from a start never had a reward signal."""
    if signals is None:
        return set()
    runs = signals[(signals["stage"] == rl.stage) & (signals["start"] == start)]
    return set(runs.loc[~runs["had_signal"], "seed"])


def _without(rows: pd.DataFrame, mute: set[int]) -> str:
    """What a difference is without the seeds whose RL had no signal."""
    left = without(rows, mute) if mute and len(rows) else None
    if left is None:
        return _named(mute)
    return f"{_named(mute)}; without {left.estimate:+.1f} points [{left.low:.1f}, {left.high:.1f}]"


def _named(mute: set[int]) -> str:
    """The seeds whose RL had no signal."""
    if not mute:
        return ""
    return f"no reward signal in seed{'s' * (len(mute) > 1)} {', '.join(map(str, sorted(mute)))}"


def _p_at(bound: float) -> str:
    """The column with the p of a share of the loss being `bound`."""
    return f"p_at_{bound:.0f}"


def _compared(comparisons: pd.DataFrame | None, a: str, b: str) -> pd.DataFrame:
    """Rows of one pair on the whole OOD test split."""
    if comparisons is None:
        return pd.DataFrame()
    rows = at(comparisons, OOD)
    return rows[(rows["a"] == a) & (rows["b"] == b) & (rows["subset"] == "all")]


def _contrast(contrasts: pd.DataFrame, name: str) -> pd.DataFrame:
    return contrasts[contrasts["contrast"] == name]


def _published_effect(name: str) -> str:
    step = PUBLISHED_STARTS[name]
    row = published("llama_ood_by_checkpoint").set_index("step").loc[step]
    before, after = row["ood_accuracy_sft"], row["ood_accuracy_after_rl"]
    return f"{before:.1f} to {after:.1f} % from step {step} (Llama-11B)"


# --------------------------------------------------------------------------------------
# 3. Recovery


def recovery(
    effect: pd.DataFrame,
    contrasts: pd.DataFrame,
    story: Story,
    signals: pd.DataFrame | None = None,
) -> list[Finding]:
    """Share of the OOD loss that each repair of the path's last checkpoint brings back.

    Args:
        effect: rows of `scripts/measure_recovery.py`.
        contrasts: with `equal-id` where it was measured.
        story: RL's results and their starts.
        signals: as in `rl_effect`.
    """
    large, small = f"at least {LARGE_SHARE:.0f} %", f"at most {SMALL_SHARE:.0f} %"
    shares: dict[str, tuple[str, Any, float, str, str]] = {
        "directions-top0.2": (
            f"The directions of the top 20 % of ranks bring back {large} of the OOD loss",
            "above", LARGE_SHARE, "70 to 80 %", "recovery_by_rank",
        ),
        "directions-top1-layers0-0.25": (
            f"The directions of the first quarter of the layers bring back {large}",
            "above", LARGE_SHARE, "70 to 80 %", "recovery_by_layers",
        ),
        "values-top1": (
            f"The singular values alone bring back {small}",
            "below", SMALL_SHARE, "nothing", "recovery_by_rank",
        ),
        "random_directions-top0.2": (
            f"Random directions, turned as far as those of the top 20 %, bring back {small}",
            "below", SMALL_SHARE, "no such control", "recovery_by_rank",
        ),
    }  # fmt: skip
    ood = at(effect, OOD)
    found = held(
        (
            Statement(
                claim="recovery",
                statement=statement,
                unit="% of the loss",
                side=side,
                bound=bound,
                published=theirs,
                figure=f"figures/{figure}.png",
                table="tables/recovery_effect.parquet",
            ),
            measured(
                _repaired(ood, MAIN_REPAIR, name),
                "recovered",
                fit="Fieller's interval",
                p=_p_at(bound),
                detail=_lost_from(story),
            ),
        )
        for name, (statement, side, bound, theirs, figure) in shares.items()
    )
    equal = _above_zero(
        "recovery",
        "The directions of the top 20 % bring back more OOD accuracy than plain interpolation that "
        "costs as much ID accuracy",
        "no such control",
        "recovery_frontier",
        "contrasts",
    )
    found += held([(equal, measured(_contrast(contrasts, "equal-id"), "value"))])
    return found + [
        finding
        for rl in ([story.rl] if story.rl else [])
        for finding in _given_back(ood, rl, signals)
    ]


def _given_back(ood: pd.DataFrame, rl: Role, signals: pd.DataFrame | None) -> list[Finding]:
    """What RL's results lose with the directions of their starts."""
    return held(
        (
            Statement(
                claim="recovery",
                statement=f"Given back the directions of its start ({start}), {rl.label}'s result "
                "loses OOD accuracy",
                unit="points",
                side="below",
                bound=0.0,
                published="loses",
                figure="figures/recovery_frontier.png",
                table="tables/recovery_effect.parquet",
            ),
            measured(rows, "difference", detail=_without(rows, silent(signals, rl, start))),
        )
        for start, result in rl.results.items()
        for rows in [_repaired(ood, f"{result}-with-{start}", "directions-top1")]
    )


def _repaired(effect: pd.DataFrame, repair: str, intervention: str) -> pd.DataFrame:
    return effect[(effect["repair"] == repair) & (effect["intervention"] == intervention)]


# --------------------------------------------------------------------------------------
# 4. Strength


def strength(
    accuracy: pd.DataFrame,
    comparisons: pd.DataFrame | None,
    story: Story,
    signals: pd.DataFrame | None = None,
) -> list[Finding]:
    """Whether starts that stand higher on OOD end higher after RL, or gain more by it.

    Args:
        accuracy: of all checkpoints and seeds.
        comparisons: as in `rl_effect`.
        story: RL, its starts and its controls.
        signals: as in `rl_effect`.
    """
    rl = story.rl
    if rl is None:
        return []
    rows = at(accuracy, OOD)
    rows = rows[(rows["subset"] == "all") & (rows["measure"] == "solved_first_try")]
    start_of = {result: start for start, result in rl.results.items()}

    def by_start(table: pd.DataFrame, starts: pd.Series[str], value: str) -> pd.Series[float]:
        return table.assign(from_=starts).set_index(["seed", "from_"])[value]

    own = rows[rows["checkpoint"].isin(story.starts)]
    before = by_start(own, own["checkpoint"], "value")
    ended = rows[rows["checkpoint"].isin(start_of)]
    outcomes = {
        f"the higher {rl.label} ends on OOD": by_start(
            ended, ended["checkpoint"].map(start_of), "value"
        )
    }
    for control in story.controls[:1]:
        pairs = pd.concat(
            _compared(comparisons, rl.results[start], end) for start, end in control.results.items()
        )
        if len(pairs):
            pairs = pairs[pairs["seed"].notna()]
            outcomes[f"the larger {rl.label}'s lead over {control.label}"] = by_start(
                pairs, pairs["a"].map(start_of), "difference"
            )
    return held(
        (
            Statement(
                claim="strength",
                statement=f"The higher a checkpoint of {story.path_label} stands on OOD, {name}",
                unit="rank correlation",
                side="above",
                bound=0.0,
                published="stronger checkpoints recover better",
                figure="figures/recovery_window.png",
                table="tables/accuracy.parquet",
            ),
            _related(before, after, rl, signals),
        )
        for name, after in outcomes.items()
    )


def _related(
    before: pd.Series[float], after: pd.Series[float], rl: Role, signals: pd.DataFrame | None
) -> Estimate | None:
    """The rank correlation, and what it is without runs that had no reward signal."""
    counted = f"runs of {rl.label}"
    found = rank_correlation(before, after, counted)
    mute = {(seed, start) for start in rl.results for seed in silent(signals, rl, start)}
    if found is None or not mute:
        return found
    heard = rank_correlation(before[~before.index.isin(mute)], after, counted)
    left = "too few are left" if heard is None else f"{heard.estimate:+.2f}"
    detail = f"{found.detail}; " * bool(found.detail)
    return replace(found, detail=f"{detail}{left} without runs that had no reward signal")


# --------------------------------------------------------------------------------------
# What several statements share


def _llama(column: str) -> pd.Series[float]:
    """Published accuracies of Llama-11B by stage."""
    stages = published("accuracy_by_stage").query("task == 'general_points'")
    return stages[stages["model"] == "llama-3.2-11b"].set_index("stage")[column]


def _above_zero(claim: str, statement: str, theirs: str, figure: str, table: str) -> Statement:
    """A difference of accuracies is positive."""
    return Statement(
        claim=claim,
        statement=statement,
        unit="points",
        side="above",
        bound=0.0,
        published=theirs,
        figure=f"figures/{figure}.png",
        table=f"tables/{table}.parquet",
    )
