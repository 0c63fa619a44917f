"""The claim about values and directions: each null by its name, and intervals that keep 5 %."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdrift.findings.finding import Finding
from svdrift.findings.rotation import rotation
from tests.figures.figure_tables import spectral_tables

Tables = tuple[pd.DataFrame, pd.DataFrame]


def tables(seeds: int) -> Tables:
    found = spectral_tables(seeds)
    return found["drift"].copy(), found["nulls"].copy()


def by_start(found: list[Finding], *words: str) -> Finding:
    (one,) = [f for f in found if all(word in f.statement for word in words)]
    return one


@pytest.mark.parametrize("seeds", [1, 3])
def test_estimates_are_those_of_the_tables(seeds: int) -> None:
    drift, nulls = tables(seeds)
    found = rotation(drift, nulls)
    assert len(found) == 9
    rows = drift[(drift["pair"] == "anchor-to-last") & drift["layer"].notna()]
    values = rows[rows["measure"] == "value_change"]
    assert found[0].estimate == pytest.approx(100 * values["observed"].mean())
    leading = rows.query("measure == 'mean_angle' and region == 'top' and stop < 0.3")
    for words, null in (
        ("largest 20 % of singular values turn further than isotropic noise", "isotropic"),
        ("largest 20 % of singular values turn further than noise that keeps", "inputs_kept"),
        ("largest 20 % of singular values turn further than the update", "signs_randomised"),
    ):
        one = by_start(found, words)
        assert one.estimate == pytest.approx(leading[f"minus_{null}"].mean())
        assert one.low < one.estimate < one.high
        assert len(one.each) == seeds
        assert one.n == 9 * seeds
        assert f"{leading['observed'].mean():.3g}°" in one.detail
        assert f": {leading[null].mean():.3g}°" in one.detail
    assert "times (both) its even share" in by_start(found, "signs randomised").detail


def test_one_seed_has_one_interval_over_draws() -> None:
    """Against Student's prediction interval of the average over matrices and sides."""
    drift, nulls = tables(1)
    place = "pair == 'anchor-to-last' and layer.notna() and measure == 'mean_angle'"
    place += " and region == 'top' and stop < 0.3"
    draws = nulls.query(place).groupby("draw")["isotropic"].mean()
    observed = drift.query(place)["observed"].mean()
    factor = stats.t.isf(0.025, len(draws) - 1) * np.sqrt(1 + 1 / len(draws))
    one = by_start(rotation(drift, nulls), "largest 20 %", "isotropic noise")
    assert one.estimate == pytest.approx(observed - draws.mean())
    spread = draws.std(ddof=1)
    assert one.high - one.estimate == pytest.approx(factor * spread)
    statistic = abs(one.estimate) / (spread * np.sqrt(1 + 1 / len(draws)))
    assert one.p == pytest.approx(2 * stats.t.sf(statistic, len(draws) - 1))


def test_what_is_exact_of_one_model_decides_nothing() -> None:
    found = rotation(*tables(1))
    exact = [
        f for f in found if "less than 1 %" in f.statement or "before subtracting" in f.statement
    ]
    assert len(exact) == 3
    for one in exact:
        assert not math.isnan(one.estimate)
        assert math.isnan(one.low)
        assert math.isnan(one.high)
        assert one.test == "exact; of this model"
        assert one.verdict == "described"
    again = rotation(*tables(3))
    assert all(one.low < one.high for one in again)


def test_a_turn_that_is_planted_is_found_against_each_null() -> None:
    drift, nulls = tables(3)
    planted = (drift["region"] == "top") & (drift["measure"] == "mean_angle")
    drift.loc[planted, "observed"] += 30.0
    found = [f for f in rotation(drift, nulls) if "largest 20 %" in f.statement]
    assert [f.verdict for f in found] == ["holds"] * 3


def test_a_null_that_was_not_drawn_has_no_statement() -> None:
    drift, nulls = tables(1)
    found = rotation(drift, nulls.drop(columns=["inputs_kept", "signs_randomised"]))
    assert len(found) == 7
    assert not [f for f in found if "inputs" in f.statement or "signs" in f.statement]


def test_with_two_windows_there_is_no_middle() -> None:
    drift, nulls = tables(1)
    windows = drift["measure"] == "window_angle"
    halves = drift[~windows | (drift["start"] == 0) | (drift["stop"] == 1)]
    assert len(rotation(halves, nulls)) == len(rotation(drift, nulls)) - 3


def test_without_the_pair_there_is_no_rotation() -> None:
    drift, nulls = tables(1)
    assert rotation(drift[drift["pair"] != "anchor-to-last"], nulls) == []


def test_several_seeds_vary_by_their_spread_and_no_less_than_by_their_draws() -> None:
    drift, nulls = tables(3)
    place = "pair == 'anchor-to-last' and layer.notna() and measure == 'mean_angle'"
    place += " and region == 'top' and stop < 0.3"
    draws = nulls.query(place).groupby(["seed", "draw"])["isotropic"].mean().unstack()
    differences = drift.query(place).groupby("seed")["observed"].mean() - draws.mean(axis=1)
    half = stats.t.isf(0.025, 1) * np.sqrt(1.5) * draws.std(axis=1, ddof=1)  # two draws
    between = stats.t.isf(0.025, 2) * differences.std(ddof=1) / np.sqrt(3)
    one = by_start(rotation(drift, nulls), "largest 20 %", "isotropic noise")
    assert one.each == pytest.approx(differences.tolist())
    assert one.high - one.estimate == pytest.approx(
        max(between, np.sqrt(np.square(half).sum()) / 3)
    )
