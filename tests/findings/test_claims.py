"""Findings say what the tables say, and nothing where the tables say nothing."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdrift.findings import claims
from svdrift.findings.estimates import without
from svdrift.findings.finding import Estimate, Finding, findings_table, holm, read_findings, verdict
from svdrift.findings.page import VERDICTS, estimate, markdown, summary
from svdrift.findings.rotation import rotation
from tests.figures.figure_tables import (
    FIT,
    ID,
    OOD,
    STORY,
    accuracy_table,
    comparison_table,
    p_of,
    recovery_effect_table,
    spectral_tables,
)

MODERATE = STORY.model_copy(update={"moderate": "sft-64"})
GIVEN_BACK = "sft-64.ppo-120-with-sft-64"
PLACES = {"demonstrated": FIT, "id_test": ID, "ood_test": OOD}


def contrasts(seeds: int, **values: float) -> pd.DataFrame:
    """Contrast -> value, with a half-width of 0.05, alike in all seeds."""
    rows = []
    for name, value in values.items():
        contrast, _, split = name.partition("__")
        role, shift = PLACES[split or "ood_test"]
        base = {"contrast": contrast.replace("_", "-"), "role": role, "shift": shift, "n": 100}
        base |= {"groups": 41, "p": p_of(value, 0.05), "p_at_50": 0.01}
        numbers = {"value": value, "low": value - 0.05, "high": value + 0.05}
        rows += [base | numbers | {"seed": seed} for seed in range(seeds)]
        if seeds > 1:
            whole = {"seed": math.nan, "n": 100 * seeds, "groups": 41 * seeds}
            rows.append(base | numbers | whole)
    return pd.DataFrame(rows)


FORGETTING = {
    "forgetting__ood_test": 0.2,
    "forgetting__demonstrated": -0.1,
    "forgetting__id_test": 0.02,
}


@pytest.mark.parametrize(
    ("low", "high", "side", "bound", "expected"),
    [
        (1.0, 2.0, "above", 0.0, "holds"),
        (-2.0, -1.0, "above", 0.0, "fails"),
        (-1.0, 1.0, "above", 0.0, "undecided"),
        (0.0, 1.0, "above", 0.0, "undecided"),  # an interval that touches the bound decides nothing
        (72.0, 90.0, "above", 70.0, "holds"),
        (1.0, 9.0, "below", 10.0, "holds"),
        (11.0, 19.0, "below", 10.0, "fails"),
        (5.0, 15.0, "below", 10.0, "undecided"),
        (math.nan, math.nan, "above", 0.0, "undecided"),
    ],
)
def test_the_verdict_follows_from_the_interval(low, high, side, bound, expected) -> None:
    assert verdict(low, high, side, bound) == expected


def one_finding(estimate: float, low: float, high: float, **others: object) -> Finding:
    said = claims._above_zero("rl", "it rises", "", "figure", "table")
    return Finding(
        **vars(said), **vars(Estimate(estimate, low, high, (1.0,), 9, "x", "t", **others))
    )


@pytest.mark.parametrize("freedom", [4.0, 99.0, math.inf])
def test_p_agrees_with_the_interval(freedom: float) -> None:
    quantile = stats.t.isf(0.025, freedom)
    for t in (0.0, 1.0, quantile - 1e-6, quantile + 1e-6, 5.0, -5.0):
        one = one_finding(t, t - quantile, t + quantile, freedom=freedom)
        assert one.p == pytest.approx(2 * stats.t.sf(abs(t), freedom))
        assert (one.p < 0.05) == (one.verdict != "undecided")
    assert one_finding(0.0, 0.0, 0.0).p == 1
    assert one_finding(1.0, 1.0, 1.0).p == 0


def test_what_has_no_sampling_width_is_described() -> None:
    exact = one_finding(0.8, math.nan, math.nan)
    assert (exact.verdict, math.isnan(exact.p)) == ("described", True)
    nothing = one_finding(math.nan, math.nan, math.nan)
    assert nothing.verdict == "undecided"
    row = findings_table([exact]).iloc[0]
    assert row["verdict_holm"] == "described"


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2 (not below its predecessor), 0.04 x 1."""
    assert holm([0.03, math.nan, 0.01, 0.04, 0.02]) == pytest.approx(
        [0.06, math.nan, 0.04, 0.06, 0.06], nan_ok=True
    )
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_verdict_that_does_not_survive_holm_is_marked() -> None:
    strong, weak = one_finding(5.0, 3.0, 7.0), one_finding(2.1, 0.1, 4.1)
    assert list(findings_table([strong, weak])["verdict_holm"]) == ["holds", "holds"]
    table = findings_table([strong, weak, weak])
    assert list(table["verdict"]) == ["holds"] * 3
    assert list(table["verdict_holm"]) == ["holds", "undecided", "undecided"]


def test_the_reference_of_a_fall_is_said_and_the_own_peak_is_only_described() -> None:
    tables = contrasts(3, **FORGETTING, own_peak__ood_test=0.3)
    chosen = claims.forgetting(tables, STORY)
    assert "the step at which the other seeds stand highest" in chosen[0].statement
    assert [one.verdict for one in chosen] == ["holds", "holds", "undecided", "described"]
    named = claims.forgetting(tables, STORY.model_copy(update={"peak": "sft-16"}))
    assert "from sft-16, named in advance as its peak, to the end" in named[0].statement


def test_runs_without_a_signal_are_named() -> None:
    rl = MODERATE.rl
    assert rl is not None
    rows = [
        {"stage": rl.stage, "start": start, "seed": seed, "had_signal": (start, seed) != mute}
        for mute in [("sft-64", 1)]
        for start in rl.results
        for seed in range(3)
    ]
    own = contrasts(3, restored_from_sft_64=0.8, window_sft_64_sft_8=0.1)
    effect = comparison_table(3)
    found = claims.rl_effect(effect, own, MODERATE, pd.DataFrame(rows))
    (above,) = [one for one in found if "(sft-64) ends above its own" in one.statement]
    left = above.each[0], above.each[2]
    assert above.detail.startswith("no reward signal in seed 1; without ")
    assert f"{np.mean(left):+.1f} points" in above.detail
    (window,) = [one for one in found if "lead" in one.statement]
    assert "no reward signal in seed 1" in window.detail
    (restored,) = [one for one in found if "brings back" in one.statement]
    assert restored.detail.endswith("; no reward signal in seed 1")
    level, _ = claims.strength(accuracy_table(3), effect, MODERATE, pd.DataFrame(rows))
    assert "without runs that had no reward signal" in level.detail
    given = recovery_effect_table(3).replace("sft-256.ppo-120-with-sft-256", GIVEN_BACK)
    last = claims.recovery(given, contrasts(3, equal_id=0.1), MODERATE, pd.DataFrame(rows))[-1]
    assert "(sft-64)" in last.statement
    assert last.detail.startswith("no reward signal in seed 1; without ")


def test_the_p_of_a_finding_is_that_of_its_table() -> None:
    own = contrasts(3, **FORGETTING).assign(p=[0.001 * place for place in range(12)])
    assert [one.p for one in claims.forgetting(own, STORY)] == [0.003, 0.007, 0.011]


def test_what_is_left_of_one_seed_keeps_its_interval() -> None:
    rows = comparison_table(2).iloc[:3]
    left = without(rows, {0})
    assert left is not None
    assert (left.low, left.high) == pytest.approx(tuple(rows.iloc[1][["low", "high"]] * 100))


@pytest.mark.parametrize("seeds", [1, 3])
def test_forgetting(seeds: int) -> None:
    ood, fit, other = claims.forgetting(contrasts(seeds, **FORGETTING), STORY)
    assert (ood.estimate, ood.low, ood.high) == pytest.approx((20, 15, 25))
    assert (fit.estimate, fit.low, fit.high) == pytest.approx((10, 5, 15))  # end minus peak
    assert other.estimate == pytest.approx(-2)
    assert [one.verdict for one in (ood, fit, other)] == ["holds", "holds", "undecided"]
    assert ood.each == pytest.approx((20,) * seeds)
    assert ood.n == 100 * seeds
    assert "17.5 to 6.8 %" in ood.published
    assert f"over {seeds} seeds" in ood.test or seeds == 1


@pytest.mark.parametrize("seeds", [1, 3])
def test_rl_from_named_starts_against_each_control(seeds: int) -> None:
    effect = comparison_table(seeds)
    own = contrasts(
        seeds, restored_from_sft_64=0.8, window_sft_64_sft_8=0.1, window_sft_64_sft_1024=-0.3
    )
    found = claims.rl_effect(effect, own, MODERATE)
    assert len(found) == 3 * 2 + 1 + 2  # its start and the matched control, from each
    row = effect.query("start == 'sft-1024' and stage_b == 'continued' and shift == 'ood'")
    row = row[(row["subset"] == "all") & (row["seed"].isna() | (seeds == 1))]
    (more,) = [
        f for f in found if "from the long start" in f.statement and "more SFT" in f.statement
    ]
    assert more.estimate == pytest.approx(100 * row["difference"].item())
    assert more.statement == "PPO from the long start (sft-1024) ends above more SFT, OOD"
    assert [f.verdict for f in found[-3:]] == ["holds", "holds", "fails"]
    assert "85 %" in found[-3].published
    assert found[-1].statement == (
        "PPO's lead over more SFT is larger from the moderate start than from the long one, OOD"
    )


def test_every_control_from_a_named_start_counts() -> None:
    own = contrasts(1, restored_from_sft_512=0.8)
    found = claims.rl_effect(comparison_table(1), own, STORY)
    (wide,) = [f for f in found if "wide SFT" in f.statement]
    assert "the moderate start (sft-512)" in wide.statement
    assert wide.published == "no such control"


def test_labels_come_from_the_story() -> None:
    own = contrasts(1, restored_from_sft_64=0.8)
    assert MODERATE.rl is not None
    rl = MODERATE.rl.model_copy(update={"label": "RL by vote"})
    story = MODERATE.model_copy(update={"rl": rl, "path_label": "Distillation"})
    effect = comparison_table(1)
    found = claims.rl_effect(effect, own, story) + claims.recovery(
        recovery_effect_table(1), own, story
    )
    found += claims.strength(accuracy_table(1), effect, story)
    found += claims.forgetting(contrasts(1, **FORGETTING), story)
    texts = " ".join(f.statement for f in found)
    assert "RL by vote" in texts
    assert "Distillation" in texts
    assert "PPO" not in texts
    assert " SFT " not in texts.replace("more SFT", "")


def test_a_story_without_rl_has_no_findings_of_it() -> None:
    story = STORY.model_copy(update={"rl": None, "controls": (), "moderate": None})
    own = contrasts(1, **FORGETTING)
    assert claims.rl_effect(None, own, story) == []
    assert claims.strength(accuracy_table(1), None, story) == []
    assert len(claims.recovery(recovery_effect_table(1), own, story)) == 4


def test_without_comparisons_the_other_findings_of_rl_stay() -> None:
    own = contrasts(1, restored_from_sft_64=0.8)
    (restored,) = claims.rl_effect(None, own, MODERATE)
    assert restored.unit == "% of the loss"
    assert len(claims.strength(accuracy_table(1), None, MODERATE)) == 1


def test_a_study_with_one_start_has_no_window() -> None:
    own = contrasts(1, restored_from_sft_64=0.8)
    assert STORY.rl is not None
    start = {"sft-64": STORY.rl.results["sft-64"]}
    rl = STORY.rl.model_copy(update={"results": start})
    story = STORY.model_copy(update={"rl": rl, "moderate": "sft-64"})
    found = claims.rl_effect(comparison_table(1), own, story)
    assert found
    assert not [f for f in found if "than from the" in f.statement]


@pytest.mark.parametrize("seeds", [1, 3])
def test_recovery(seeds: int) -> None:
    effect = recovery_effect_table(seeds)
    found = claims.recovery(effect, contrasts(seeds, equal_id=0.1), STORY)
    assert len(found) == 6
    main = effect[(effect["repair"] == "last-with-anchor") & (effect["shift"] == "ood")]
    row = main[main["intervention"] == "directions-top0.2"]
    row = row[row["seed"].isna() | (seeds == 1)]
    assert found[0].estimate == pytest.approx(100 * row["recovered"].item())
    assert found[2].statement.startswith("The singular values alone")
    values = main[(main["intervention"] == "values-top1") & (main["seed"].isna() | (seeds == 1))]
    low, high = 100 * values["recovered_low"].item(), 100 * values["recovered_high"].item()
    assert (found[2].low, found[2].high) == pytest.approx((low, high))
    assert found[2].verdict == verdict(low, high, "below", 10.0)
    assert found[4].verdict == "holds"


def test_every_rl_result_that_is_given_back_its_own_start_counts() -> None:
    effect = recovery_effect_table(3)
    own = "sft-256.ppo-120-with-sft-256"
    more = effect[effect["repair"] == own]
    others = [
        more.assign(repair="sft-64.ppo-120-with-sft-64"),
        more.assign(repair="sft-128.ppo-120-with-sft-64"),  # another's start
    ]
    found = claims.recovery(pd.concat([effect, *others]), contrasts(3, equal_id=0.1), STORY)
    given_back = [one.statement for one in found if one.statement.startswith("Given back")]
    assert len(given_back) == 2
    assert "(sft-64), PPO's result" in given_back[0]
    assert "(sft-256), PPO's result" in given_back[1]


def test_a_loss_that_is_not_clear_decides_nothing() -> None:
    effect = recovery_effect_table(3)
    columns = ["recovered", "recovered_low", "recovered_high"]
    effect.loc[effect["seed"].isna(), columns] = np.nan
    found = claims.recovery(effect, contrasts(3, equal_id=0.0), STORY)
    assert found[0].verdict == "undecided"
    assert math.isnan(found[0].estimate)
    assert len(found[0].each) == 3


@pytest.mark.parametrize("seeds", [1, 4])
def test_strength_is_a_rank_correlation(seeds: int) -> None:
    accuracy, effect = accuracy_table(seeds), comparison_table(seeds)
    level, _ = claims.strength(accuracy, effect, STORY)
    assert STORY.rl is not None
    starts = {result: start for start, result in STORY.rl.results.items()}
    whole = accuracy.query("role == 'test' and shift == 'ood' and subset == 'all'")
    whole = whole[whole["measure"] == "solved_first_try"]
    before = whole[whole["checkpoint"].isin(STORY.starts)].assign(line="before")
    before = before.assign(of=before["checkpoint"])
    after = whole[whole["checkpoint"].isin(starts)].assign(line="after")
    after = after.assign(of=after["checkpoint"].map(starts))
    wide = pd.concat([before, after]).pivot(index=["seed", "of"], columns="line", values="value")
    rho = [stats.spearmanr(part).statistic for _, part in wide.groupby("seed")]
    assert level.each == pytest.approx(rho)
    assert level.estimate == pytest.approx(np.mean(rho))
    assert level.n == len(starts) * seeds
    assert level.low < level.estimate
    assert level.high <= 1


def test_a_seed_whose_checkpoints_stand_alike_has_no_rank_correlation() -> None:
    accuracy, effect = accuracy_table(2).copy(), comparison_table(2)
    accuracy.loc[accuracy["checkpoint"].isin(STORY.path) & (accuracy["seed"] == 1), "value"] = 0.0
    level, _ = claims.strength(accuracy, effect, STORY)
    assert level.verdict == "undecided"
    row = findings_table([level]).to_dict("records")[0]
    assert estimate(row) == "none: in a seed, all checkpoints stand alike"


def all_findings(seeds: int) -> list[Finding]:
    own = contrasts(
        seeds,
        **FORGETTING,
        restored_from_sft_64=0.8,
        window_sft_64_sft_8=0.1,
        window_sft_64_sft_1024=0.1,
        equal_id=0.1,
    )
    return [
        *claims.forgetting(own, STORY),
        *claims.rl_effect(comparison_table(seeds), own, MODERATE),
        *rotation(*(spectral_tables(seeds)[name] for name in ("drift", "nulls"))),
        *claims.recovery(recovery_effect_table(seeds), own, MODERATE),
        *claims.strength(accuracy_table(seeds), comparison_table(seeds), MODERATE),
    ]


def test_every_row_is_complete() -> None:
    table = findings_table(all_findings(3))
    assert list(dict.fromkeys(table["claim"])) == list(claims.CLAIMS)
    assert table["verdict"].isin(list(VERDICTS)).all()
    assert not table["statement"].duplicated().any()
    for column in ("test", "published", "figure", "table", "counted", "each"):
        assert table[column].str.len().gt(0).all(), column
    assert (table["low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["high"]).all()
    assert (table["n"] > 0).all()


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("claim", [*claims.CLAIMS, None])
def test_a_page_is_the_same_from_the_file(tmp_path, seeds: int, claim: str | None) -> None:
    """Also of a study that measured one claim only, whose columns of text may look like numbers."""
    table = findings_table([f for f in all_findings(seeds) if claim in (f.claim, None)])
    table.to_csv(tmp_path / "findings.csv", index=False)
    again = read_findings(tmp_path / "findings.csv")
    assert markdown(again, str) == markdown(table, str)


def test_the_page_counts_and_shows_every_verdict() -> None:
    table = findings_table(all_findings(3))
    counts = summary(table)
    assert counts[list(VERDICTS)].to_numpy().sum() == len(table)
    text = markdown(table, lambda path: f"../{path}")
    for row in table.itertuples():
        assert row.statement in text
        assert f"(../{row.figure})" in text
    holds, alone = (table["verdict"] == "holds"), (table["verdict_holm"] == "undecided")
    assert text.count("**✔ holds**") == (holds & ~alone).sum()
    assert text.count("**✔ holds †**") == (holds & alone).sum() > 0
    assert "15 problems" not in text


def test_the_page_says_what_was_not_measured() -> None:
    table = findings_table(claims.forgetting(contrasts(1, **FORGETTING), STORY))
    assert markdown(table, str).count("Not measured in this study.") == len(claims.CLAIMS) - 1


def test_estimates_read_well() -> None:
    row = {"estimate": 3.21, "low": -1.0, "high": 5.44, "unit": "points", "bound": 0.0}
    assert estimate(row) == "+3.2 points [-1.0, 5.4]"
    assert estimate(row | {"unit": "% of the loss"}) == "3.2 % of the loss [-1.0, 5.4]"
    assert estimate(row | {"low": math.nan}) == "+3.2 points (of this model)"
    assert estimate(row | {"estimate": math.nan}).startswith("none")
