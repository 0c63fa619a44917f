"""Prevent, repair or retrain: what keeps or brings back OOD ability, at what cost.

Repairs that others have published stand beside directions, averages of weights and random controls,
beside training that forgets less, and beside RL from the checkpoint that forgot. Each kind of
repair takes the setting that solves most hands for selection, ID and OOD together, over all seeds;
test hands are looked at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD, Place
from svdrift.findings.arms import NEGLIGIBLE, PLACES, UNKNOWN, Pairs, ends_above
from svdrift.findings.arms import solved as solved_by_arm
from svdrift.findings.finding import Estimate, Finding, Statement, held
from svdrift.findings.paired import mean, weighted
from svdrift.findings.paper import Paper
from svdrift.recovery import kind as kinds
from svdrift.recovery.choosing import PLAIN
from svdrift.story import Story

PAPER = Paper(
    title="Prevent, repair or retrain",
    arxiv="2509.16596, 2410.17146, 2306.01708, 2311.03099, 1803.05407, 2605.10973, 2508.16546",
    claims={
        "prevent": "SFT that ends early, is slower, averages its weights, replays or holds leading "
        "subspaces keeps what plain SFT to its end loses on OOD",
        "repair": "A repair without training brings OOD back at little cost on ID",
        "elaborate": "A repair with more to it than an average of weights is better than that",
        "retrain": "RL from the checkpoint that forgot brings OOD back, more than its control",
        "simplest": "The simplest remedy that none beats",
    },
    reads=("scores",),
    tables=("recovery_solved",),
    chooses_repairs=True,
    figures={"remedies": ("scores", "recovery_solved")},
    arms={
        "last": "SFT to its end",
        "slow": "SFT at a quarter of its learning rate",
        "stopped": "SFT that ends early",
        "averaged": "SFT with the mean of its weights",
        "replay": "SFT with half of its samples the base's own right replies",
        "held": "SFT with leading subspaces held",
        "rl": "RL from the end of SFT",
        "control": "more SFT from its end",
    },
    control="Plain interpolation of the weights, with as many settings to choose from; random "
    "changes; and SFT of RL's size.",
    limits="Settings are chosen on selection hands that include OOD, which who has no such hands "
    "cannot do. Entries are ranked in each tensor by itself, not over the whole model, as the "
    "papers do or may do. Of TIES only the first step is there, since one update has no signs to "
    "elect, and of LiNeS the settings that leave the last layer alone. What prevents has one "
    "setting, and replay is of the base's own replies, since texts of a pretraining are rarely to "
    "be had. A repair reads no samples; seconds are in the study's report, by kind of job.",
)
PUBLISHED = {
    "directions": "70 to 80 % of the loss on OOD (arXiv 2508.16546)",
    "interpolate": "better under shift than earlier work (WiSE-FT, images)",
    "restore_entries": "better with up to 90 % of the updates restored (arXiv 2509.16596)",
    "drop_and_rescale": "90 % and more can be dropped (arXiv 2311.03099)",
    "scale_layers": "99.8 % kept of the new, 97.9 % of the old task (arXiv 2410.17146)",
}
PREVENTING = ("stopped", "slow", "averaged", "replay", "held")  # the simpler ones first


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """The study's first repair, by each kind at its chosen setting, beside the arms."""
    scores, rows = tables["scores"], tables["recovery_solved"]
    rows = rows[rows["repair"] == rows["repair"].iloc[0]]
    chosen = by_simplicity(best_settings(rows))

    def above(claim: str, *contests: tuple[str, str, str]) -> Pairs:
        return ends_above(PAPER, scores, story, claim, contests)

    return held(
        [
            *above("prevent", *((arm, "last", UNKNOWN) for arm in PREVENTING)),
            *_repair(rows, chosen),
            *_elaborate(rows, chosen),
            *above("retrain", ("rl", "last", UNKNOWN), ("rl", "control", UNKNOWN)),
            *_retrain_or_average(scores, rows, chosen, story),
            *_simplest(scores, rows, chosen, story),
        ]
    )


def best_settings(rows: pd.DataFrame) -> dict[str, str]:
    """Of each kind the intervention that solves most hands for selection; of equals the first.

    Args:
        rows: of one repair, as `recovery_solved` has them.
    """
    here = rows[(rows["role"] == "selection") & rows["shift"].isin([ID[1], OOD[1]])]
    shares = here.groupby(["kind", "intervention"], sort=False)["solved"].mean()
    best = shares.groupby(level="kind", sort=False).idxmax()
    return {str(kind): str(intervention) for kind, intervention in best}


def by_simplicity(chosen: Mapping[str, str]) -> dict[str, str]:
    """An average of weights first, then what acts on whole tensors, ranks, and random changes."""

    def place(kind: str) -> tuple[bool, bool, bool]:
        record = kinds.kind(kind)
        return kind != PLAIN, record.random, record.ranked

    return {kind: chosen[kind] for kind in sorted(chosen, key=place)}


def solved(rows: pd.DataFrame, intervention: str, place: Place) -> pd.Series[float]:
    """Whether a repaired model solves each problem (1 or 0), by seed, group and problem.

    Args:
        rows: of one repair.
        intervention: id of an intervention, or `target`, `anchor`.
        place: role and shift of the split.
    """
    role, shift = place
    own = rows[rows["intervention"] == intervention]
    own = own[(own["role"] == role) & (own["shift"] == shift)]
    return own.set_index(["seed", "group", "problem"])["solved"].astype(float).sort_index()


def _statement(
    claim: str, text: str, published: str, bound: float = 0.0, *, description: bool = False
) -> Statement:
    return Statement(
        claim=claim,
        statement=text,
        unit="points",
        side="above",
        bound=bound,
        published=published,
        figure="statements.png",
        table="recovery_solved.parquet",
        description=description,
    )


def _repair(rows: pd.DataFrame, chosen: Mapping[str, str]) -> Pairs:
    """Each kind against the target: OOD regained, and ID lost."""
    for kind, intervention in chosen.items():
        published = PUBLISHED.get(kind, UNKNOWN)
        ours, before = (
            {at: solved(rows, one, place) for at, place in PLACES.items()}
            for one in (intervention, "target")
        )
        yield (
            _statement("repair", f"{intervention} solves more than its target, OOD", published),
            weighted(
                [(1, ours["OOD"]), (-1, before["OOD"])],
                scale=100,
                detail=f"{mean(ours['OOD'])} against {mean(before['OOD'])} %; anchor "
                f"{mean(solved(rows, 'anchor', OOD))} %",
            ),
        )
        yield (
            _statement(
                "repair",
                f"{intervention} solves at most {NEGLIGIBLE:g} points less than its target, ID",
                published,
                -NEGLIGIBLE,
            ),
            weighted(
                [(1, ours["ID"]), (-1, before["ID"])],
                scale=100,
                bound=-NEGLIGIBLE,
                detail=f"{mean(ours['ID'])} against {mean(before['ID'])} %; anchor "
                f"{mean(solved(rows, 'anchor', ID))} %",
            ),
        )


def _elaborate(rows: pd.DataFrame, chosen: Mapping[str, str]) -> Pairs:
    """Each other kind against plain interpolation, both at their chosen settings."""
    if PLAIN not in chosen:
        return
    for kind, intervention in chosen.items():
        if kind == PLAIN:
            continue
        for at, place in PLACES.items():
            ours, plain = (solved(rows, one, place) for one in (intervention, chosen[PLAIN]))
            yield (
                _statement(
                    "elaborate",
                    f"{intervention} solves more than {chosen[PLAIN]}, {at}",
                    UNKNOWN,
                ),
                weighted(
                    [(1, ours), (-1, plain)],
                    scale=100,
                    detail=f"{mean(ours)} against {mean(plain)} %",
                ),
            )


def _retrain_or_average(
    scores: pd.DataFrame, rows: pd.DataFrame, chosen: Mapping[str, str], story: Story
) -> Pairs:
    """RL against plain interpolation, which trains nothing."""
    if PLAIN not in chosen:
        return
    for at, place in PLACES.items():
        ours, plain = solved_by_arm(scores, story, "rl", place), solved(rows, chosen[PLAIN], place)
        yield (
            _statement(
                "retrain", f"{PAPER.arms['rl']} solves more than {chosen[PLAIN]}, {at}", UNKNOWN
            ),
            weighted(
                [(1, ours), (-1, plain)], scale=100, detail=f"{mean(ours)} against {mean(plain)} %"
            ),
        )


def _simplest(
    scores: pd.DataFrame, rows: pd.DataFrame, chosen: Mapping[str, str], story: Story
) -> Pairs:
    """The first remedy, by simplicity, that no other one clearly outdoes on all test hands."""
    remedies = {
        **{PAPER.arms[arm]: _everywhere(_of_arm(scores, story, arm)) for arm in PREVENTING},
        **{
            one: _everywhere({at: solved(rows, one, place) for at, place in PLACES.items()})
            for one in chosen.values()
        },
        PAPER.arms["rl"]: _everywhere(_of_arm(scores, story, "rl")),
    }

    def gap(one: str, other: str) -> Estimate | None:
        return weighted([(1, remedies[one]), (-1, remedies[other])], scale=100, detail=solved_by)

    def beaten(name: str) -> bool:
        found = [gap(other, name) for other in remedies if other != name]
        return any(one is not None and one.low > 0 for one in found)

    solved_by = ", ".join(f"{name} {mean(values)} %" for name, values in remedies.items())
    simplest = next(name for name in remedies if not beaten(name))
    best = max((name for name in remedies if name != simplest), key=lambda n: remedies[n].mean())
    yield (
        _statement(
            "simplest",
            f"Of {len(remedies)} remedies, {simplest} is the simplest that none beats on ID and "
            f"OOD hands together; the best other one, {best}, solves more by",
            UNKNOWN,
            description=True,
        ),
        gap(best, simplest),
    )


def _of_arm(scores: pd.DataFrame, story: Story, arm: str) -> dict[str, pd.Series[float]]:
    return {at: solved_by_arm(scores, story, arm, place) for at, place in PLACES.items()}


def _everywhere(by_place: Mapping[str, pd.Series[float]]) -> pd.Series[float]:
    """ID and OOD hands in one, by place, seed, group and problem."""
    return pd.concat(by_place, names=["place"])
