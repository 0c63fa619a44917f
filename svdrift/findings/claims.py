"""The claims of the papers as statements that can hold or fail, and their estimates from tables.

Each function takes tables of a study as the scripts write them, and leaves out the statements that
the study did not measure. Accuracies are first tries on test hands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from svdrift.evaluation.comparisons import half_width_over_seeds
from svdrift.figures.aggregate import moved
from svdrift.findings.finding import Finding
from svdrift.reference import published

CLAIMS = {  # in the order of the story; the numbers of the papers' claims in docs
    "forgetting": "OOD accuracy peaks early in SFT, then falls while ID accuracy keeps rising",
    "rl": "RL restores lost OOD accuracy, from moderately trained checkpoints only",
    "rotation": "Singular values stay, singular vectors turn, most at both ends of the spectrum",
    "recovery": "The directions of few ranks, or of few layers, bring the loss back; values do not",
    "strength": "The stronger the SFT checkpoint is on OOD, the better RL recovers it",
}
CONTROLS = {
    "sft": "its own start",
    "continued": "more SFT on the same demonstrations",
    "wide": "SFT on the hands that RL practised",
    "demonstrated-ppo": "PPO on the demonstrated hands only",
    "demonstrated-grpo": "GRPO on the demonstrated hands only",
}
LARGE_SHARE, SMALL_SHARE = 70.0, 10.0  # % of the loss: published for directions; "nothing"
MOST_OF_IT = 50.0  # % of the loss: "much of it"
STABLE = 1.0  # %: relative change of singular values that still counts as none
MAIN_REPAIR = "last-with-anchor"
FORGOT = "anchor-to-last"  # the pair between which SFT forgot
MEASURES = ("value_change", "mean_angle", "window_angle")  # of it
OOD = "ood_test"


# --------------------------------------------------------------------------------------
# 1. Forgetting


def forgetting(contrasts: pd.DataFrame) -> list[Finding]:
    """OOD falls from its peak, chosen on selection hands, to the end of SFT, and ID rises."""
    curve = published("llama_ood_by_checkpoint")
    peak, end = curve["ood_accuracy_sft"].max(), curve["ood_accuracy_sft"].iloc[-1]
    stages = published("accuracy_by_stage").query("task == 'general_points'")
    llama = stages[stages["model"] == "llama-3.2-11b"].set_index("stage")["id_accuracy"]
    first, later = llama["sft_max_ood"], llama["sft_moderate"]
    rises = f"rises: {first:.1f} to {later:.1f} % at step 1100 (Llama-11B)"
    statements = {
        OOD: ("OOD accuracy falls from its peak to the end of SFT", 1.0,
              f"{peak:.1f} to {end:.1f} % (Llama-11B)"),
        "demonstrated": ("ID accuracy on demonstrated hands rises meanwhile", -1.0, rises),
        "id_test": ("ID accuracy on hands that were not demonstrated rises meanwhile", -1.0, rises),
    }  # fmt: skip
    rows = contrasts[contrasts["contrast"] == "forgetting"]
    return [
        Finding(
            claim="forgetting",
            statement=statement,
            unit="points",
            **_numbers(rows[rows["split"] == split], "value", 100 * sign),
            side="above",
            bound=0.0,
            published=theirs,
            figure="figures/accuracy_by_step.png",
            table="tables/contrasts.parquet",
        )
        for split, (statement, sign, theirs) in statements.items()
    ]


# --------------------------------------------------------------------------------------
# 2. RL


def rl_effect(
    effect: pd.DataFrame, contrasts: pd.DataFrame, starts: Mapping[str, int]
) -> list[Finding]:
    """RL minus each control on OOD from a short, moderate and long start; the window.

    Args:
        effect: differences RL minus control, with `sft_step`, `control`, `split`, `subset`.
        contrasts: with `restored-from-...` and `window-...`.
        starts: SFT step by what it is called: `moderate`, and where there are others `short`,
            `long`.
    """
    curve = published("llama_ood_by_checkpoint").set_index("sft_step")
    window = {"short": 140, "moderate": 1100, "long": 1600}  # the papers' own steps on Llama
    method = effect["run"].iloc[0].upper()
    found = []
    for name, step in starts.items():
        before, after = curve.loc[window[name], ["ood_accuracy_sft", "ood_accuracy_after_rl"]]
        rows = effect[
            (effect["sft_step"] == step) & (effect["split"] == OOD) & (effect["subset"] == "all")
        ]
        found += [
            Finding(
                claim="rl",
                statement=f"{method} from the {name} start (step {step}) ends above {label}, OOD",
                unit="points",
                **_numbers(rows[rows["control"] == control], "difference", 100),
                side="above",
                bound=0.0,
                published=(
                    f"{before:.1f} to {after:.1f} % from step {window[name]} (Llama-11B)"
                    if control == "sft"
                    else "no such control"
                ),
                figure="figures/rl_effect.png",
                table="tables/rl_effect.parquet",
            )
            for control, label in CONTROLS.items()
            if control in set(rows["control"])
        ]
    stages = published("accuracy_by_stage").query("task == 'general_points'")
    llama = stages[stages["model"] == "llama-3.2-11b"].set_index("stage")["ood_accuracy"]
    lost = llama["sft_max_ood"] - llama["sft_moderate"]
    back = (llama["rl"] - llama["sft_moderate"]) / lost
    step = starts["moderate"]
    found.append(
        Finding(
            claim="rl",
            statement=f"{method} from the moderate start brings back most of the OOD loss up to it",
            unit="% of the loss",
            **_numbers(contrasts[contrasts["contrast"] == f"restored-from-{step}"], "value", 100),
            side="above",
            bound=MOST_OF_IT,
            published=f"{100 * back:.0f} % (Llama-11B)",
            figure="figures/stages.png",
            table="tables/contrasts.parquet",
        )
    )
    for name, other in starts.items():
        rows = contrasts[contrasts["contrast"] == f"window-{step}-{other}"]
        if len(rows):
            found.append(
                Finding(
                    claim="rl",
                    statement=f"{method} brings more over continued SFT from the moderate start "
                    f"than from the {name} one, OOD",
                    unit="points",
                    **_numbers(rows, "value", 100),
                    side="above",
                    bound=0.0,
                    published="a window: steps 420 to 1200 (Llama-11B)",
                    figure="figures/recovery_window.png",
                    table="tables/contrasts.parquet",
                )
            )
    return found


# --------------------------------------------------------------------------------------
# 3. Values and directions


def rotation(drift: pd.DataFrame) -> list[Finding]:
    """From the OOD peak to the end of SFT; means over all matrices inside the layers, unweighted.

    Args:
        drift: rows of `svdrift.spectra.drift.drift_rows` with `pair` and `seed`.
    """
    rows = moved(drift[(drift["pair"] == FORGOT) & drift["layer"].notna()])
    if rows.empty:
        return []
    values = rows[rows["measure"] == "value_change"]
    angles = rows[rows["measure"] == "mean_angle"]
    ends = {}
    for region in ("top", "bottom"):
        part = angles[angles["region"] == region]
        size = (part["stop"] - part["start"]).round(9)
        least = size.groupby([part["module"], part["layer"]]).transform("min")
        ends[region] = part[size == least]
    share = f"{100 * ends['top']['stop'].median():.0f} %"  # ranks are whole numbers
    names = {
        "top": f"Directions of the largest {share} of singular values turn further than noise of "
        "the update's size would turn them",
        "bottom": f"Directions of the smallest {share} turn further than noise would turn them",
    }
    theirs = "0.3 to 0.4 %, mean over values"
    found = [
        _drift(
            "Singular values change by less than 1 % (norm of the change over their norm)",
            "%", values, "observed", 100, "below", STABLE, theirs, "spectrum_change",
        ),
        _drift(
            "Singular values change no more than noise of the update's size would change them",
            "%", values, "minus_isotropic", 100, "below", 0.0, "no null", "spectrum_change",
        ),
        _drift(
            names["top"],
            "degrees", ends["top"], "minus_isotropic", 1, "above", 0.0, "turn most; no null",
            "rotation_by_rank",
        ),
        _drift(
            names["bottom"],
            "degrees", ends["bottom"], "minus_isotropic", 1, "above", 0.0, "turn most; no null",
            "rotation_by_position",
        ),
    ]  # fmt: skip
    windows = rows[rows["measure"] == "window_angle"]
    if windows["start"].nunique() < 3:  # no middle between the ends
        return found
    middle = (windows["start"] + windows["stop"]) / 2
    parts = {
        "head": windows[windows["start"] == 0],
        "bulk": windows[(middle > 0.25) & (middle < 0.75)],
        "tail": windows[windows["stop"] == 1],
    }
    found.append(
        _drift(
            "Directions in the middle half of the spectrum turn no further than noise would turn "
            "them",
            "degrees", parts["bulk"], "minus_isotropic", 1, "below", 0.0, "turns little; no null",
            "rotation_by_position",
        )
    )  # fmt: skip
    for end, name in (("head", "largest"), ("tail", "smallest")):
        gap = _by_seed(parts[end], "observed") - _by_seed(parts["bulk"], "observed")
        found.append(
            Finding(
                claim="rotation",
                statement=f"Directions of the {name} singular values turn further than those in "
                "the middle, as measured, with what noise would turn",
                unit="degrees",
                **_over_seeds(gap, np.zeros(len(gap))),
                side="above",
                bound=0.0,
                published="turn most at both ends",
                figure="figures/rotation_by_position.png",
                table="tables/drift.parquet",
                detail=f"{_by_seed(parts[end], 'observed').mean():.1f}° against "
                f"{_by_seed(parts['bulk'], 'observed').mean():.1f}° in the middle",
                n=_matrices(rows),
                counted="matrices",
                test=_seeds_test(len(gap), "exact within a seed"),
            )
        )
    return found


def _drift(
    statement: str,
    unit: Any,
    rows: pd.DataFrame,
    column: str,
    scale: float,
    side: Any,
    bound: float,
    theirs: str,
    figure: str,
) -> Finding:
    """A finding about means over matrices of one column of drift."""
    value = _by_seed(rows, column) * scale
    if column == "observed":
        errors, within = np.zeros(len(value)), "exact within a seed"
    else:
        half = (rows[f"{column}_high"] - rows[f"{column}_low"]) / 2
        squares = half.pow(2).groupby(rows["seed"]).sum()
        errors = (np.sqrt(squares) / rows.groupby("seed").size()).to_numpy() * scale / Z
        within = "over draws of the noise within a seed"
    observed, noise = (_by_seed(rows, name).mean() * scale for name in ("observed", "isotropic"))
    sign = "°" if unit == "degrees" else f" {unit}"
    return Finding(
        claim="rotation",
        statement=statement,
        unit=unit,
        **_over_seeds(value, errors),
        side=side,
        bound=bound,
        published=theirs,
        figure=f"figures/{figure}.png",
        table="tables/drift.parquet",
        detail=f"{observed:.3g}{sign}, noise {noise:.3g}{sign}",
        n=_matrices(rows),
        counted="matrices",
        test=_seeds_test(len(value), within),
    )


# --------------------------------------------------------------------------------------
# 4. Recovery


def recovery(effect: pd.DataFrame, contrasts: pd.DataFrame) -> list[Finding]:
    """Share of the OOD loss that each repair of the last SFT checkpoint brings back.

    Args:
        effect: rows of `scripts/measure_recovery.py`.
        contrasts: with `equal-id` where it was measured.
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
    ood = effect[effect["split"] == OOD]
    main = ood[ood["repair"] == MAIN_REPAIR]
    found = [
        Finding(
            claim="recovery",
            statement=statement,
            unit="% of the loss",
            **_numbers(main[main["intervention"] == name], "recovered", 100),
            side=side,
            bound=bound,
            published=theirs,
            figure=f"figures/{figure}.png",
            table="tables/recovery_effect.parquet",
        )
        for name, (statement, side, bound, theirs, figure) in shares.items()
        if name in set(main["intervention"])
    ]
    rows = contrasts[contrasts["contrast"] == "equal-id"]
    if len(rows):
        found.append(
            Finding(
                claim="recovery",
                statement="The directions of the top 20 % bring back more OOD accuracy than plain "
                "interpolation that costs as much ID accuracy",
                unit="points",
                **_numbers(rows, "value", 100),
                side="above",
                bound=0.0,
                published="no such control",
                figure="figures/recovery_frontier.png",
                table="tables/contrasts.parquet",
            )
        )
    own_start = ood["repair"].str.fullmatch(r"(?:ppo|grpo)-from-(\d+)-with-sft-\1")
    reverse = ood[own_start & (ood["intervention"] == "directions-top1")]
    found += [
        Finding(
            claim="recovery",
            statement="Given back the directions of its start "
            f"(step {str(repair).rpartition('-')[2]}), RL's result loses OOD accuracy",
            unit="points",
            **_numbers(rows, "difference", 100),
            side="below",
            bound=0.0,
            published="loses",
            figure="figures/recovery_frontier.png",
            table="tables/recovery_effect.parquet",
        )
        for repair, rows in reverse.groupby("repair")
    ]
    return found


# --------------------------------------------------------------------------------------
# 5. Strength


def strength(accuracy: pd.DataFrame, effect: pd.DataFrame) -> list[Finding]:
    """Spearman's rank correlation over the starts of each seed; three starts at least.

    Its interval is that of a mean over seeds, and never narrower than the standard error that the
    correlation of k ranks has where nothing is related, 1 / sqrt(k - 1) (Kendall, Rank Correlation
    Methods): few starts often agree by chance, and seeds that agree have no spread.

    Args:
        accuracy: accuracies with `run`, `sft_step`, `update`, `seed`.
        effect: as in `rl_effect`.
    """
    method = effect["run"].iloc[0]
    ends = accuracy[
        (accuracy["split"] == OOD)
        & (accuracy["subset"] == "all")
        & (accuracy["measure"] == "solved_first_try")
        & accuracy["update"].isna()
    ]
    place = ["seed", "sft_step"]
    before = ends[ends["run"] == "sft"].set_index(place)["value"]
    gain = effect[
        (effect["control"] == "continued")
        & (effect["split"] == OOD)
        & (effect["subset"] == "all")
        & effect["seed"].notna()
    ].set_index(place)["difference"]
    outcomes = {
        "the higher RL ends on OOD": ends[ends["run"] == method].set_index(place)["value"],
        "the more RL brings over continued SFT": gain,
    }
    found = []
    for name, after in outcomes.items():
        both = pd.concat([before.rename("before"), after.rename("after")], axis=1).dropna()
        starts = both.groupby("seed").size()
        if starts.empty or starts.min() < 3:
            continue
        rho = both.groupby("seed")[["before", "after"]].apply(_rank_correlation)
        found.append(
            Finding(
                claim="strength",
                statement=f"The higher an SFT checkpoint stands on OOD, {name}",
                unit="rank correlation",
                **_over_seeds(rho, (starts - 1).to_numpy() ** -0.5, bounds=(-1.0, 1.0)),
                side="above",
                bound=0.0,
                published="stronger checkpoints recover better",
                figure="figures/recovery_window.png",
                table="tables/accuracy.parquet",
                n=len(both),
                counted="RL runs",
                test=_seeds_test(len(rho), "Spearman over the starts of each seed"),
            )
        )
    return found


def _rank_correlation(part: pd.DataFrame) -> float:
    """Spearman's, of two columns; NaN if one of them is constant."""
    if part.nunique().min() < 2:
        return math.nan
    return float(stats.spearmanr(part["before"], part["after"]).statistic)


# --------------------------------------------------------------------------------------
# Numbers

Z = float(stats.norm.isf(0.025))


def _numbers(rows: pd.DataFrame, column: str, scale: float) -> dict[str, Any]:
    """Estimate, interval and hands from rows of each seed and, without a seed, of all seeds."""
    prefix = "recovered_" if column == "recovered" else ""
    single = rows[rows["seed"].notna()].sort_values("seed")
    whole = rows[rows["seed"].isna()] if rows["seed"].isna().any() else single
    if len(whole) != 1:
        raise ValueError(f"{len(whole)} rows over all seeds where one is needed")
    row = whole.iloc[0]
    ends = sorted(float(row[f"{prefix}{end}"]) * scale for end in ("low", "high"))
    fit = "Fieller's interval" if column == "recovered" else "paired difference"
    return {
        "estimate": float(row[column]) * scale,
        "low": ends[0],
        "high": ends[1],
        "each": tuple(float(value) * scale for value in single[column]),
        "n": int(row["n"]),
        "counted": "hands",
        "test": _seeds_test(len(single), f"{fit} on the same hands, clustered by multiset"),
    }


def _seeds_test(seeds: int, within: str) -> str:
    return f"{within}; " + (f"Student's t over {seeds} seeds" if seeds > 1 else "one seed")


def _by_seed(rows: pd.DataFrame, column: str) -> pd.Series:
    """Mean over matrices and sides of each seed."""
    return rows.groupby("seed")[column].mean()


def _over_seeds(
    values: pd.Series,
    errors: np.ndarray,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> dict[str, Any]:
    """Mean of seeds' values, with an interval from their errors and, if several, their spread."""
    found = values.to_numpy(dtype=float)
    half = half_width_over_seeds(found, errors) if len(found) > 1 else Z * float(errors[0])
    mean = float(found.mean())
    return {
        "estimate": mean,
        "low": max(mean - half, bounds[0]) if not math.isnan(half) else math.nan,
        "high": min(mean + half, bounds[1]) if not math.isnan(half) else math.nan,
        "each": tuple(found.tolist()),
    }


def _matrices(rows: pd.DataFrame) -> int:
    return len(rows[["seed", "layer", "module"]].drop_duplicates())
