"""Single angles and their mean beside skewed noise: closed forms, and how often it stands out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdrift.findings.finding import holm
from svdrift.spectra.single import chances, mean_beside

NULLS = ("isotropic", "inputs_kept")


def tables(angles: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drift and draws of angles (matrices, nulls, 1 + draws), observed under the first null.

    The last matrix lies outside the layers. Both sides are as far from their mean.
    """
    rows, drawn = [], []
    for layer, (own, other) in enumerate(angles):
        place = {"layer": layer if layer + 1 < len(angles) else pd.NA, "module": "q"}
        for side, off in (("left", 0.5), ("right", 1.5)):
            name = place | {"measure": "mean_angle", "side": side, "region": "top", "start": 0.0}
            rows.append(name | {"observed": own[0] * off})
            drawn += [
                name | {"draw": i, NULLS[0]: one * off, NULLS[1]: two * off}
                for i, (one, two) in enumerate(zip(own[1:], other[1:], strict=True))
            ]
    drift, nulls = (pd.DataFrame(table).astype({"layer": "Int64"}) for table in (rows, drawn))
    return drift, nulls


def test_closed_forms() -> None:
    """An angle e² above the least of draws 1, e and e, beside others that do not vary."""
    e = np.e
    drift, nulls = tables(np.array([[[e**2, 1, e, e], [0, 2, 2, 2]]]))
    row = chances(drift, nulls, NULLS).iloc[0]
    # S is 2, c is 1, and there are 2 (3 - 1) degrees of freedom.
    assert row["p_isotropic"] == pytest.approx(2 * 3 / 4 * 2**-4)
    assert row["isotropic"] == pytest.approx((1 + 2 * e) / 3)
    drift, nulls = tables(np.array([[[e**-2, 1, e, e], [0, 2, 2, 2]]]))
    deviation = np.sqrt((1 / 3) / 2 * (4 / 3))
    expected = 2 * stats.t.cdf((-2 - 2 / 3) / deviation, 4)
    assert chances(drift, nulls, NULLS)["p_isotropic"][0] == pytest.approx(expected)


def test_what_did_not_turn_turned_less_than_any_noise() -> None:
    drift, nulls = tables(np.array([[[0.0, 1, 2, 3], [0, 1, 2, 3]]]))
    assert chances(drift, nulls, NULLS)["p_isotropic"][0] == 0


def skewed(rng: np.random.Generator, matrices: int, draws: int) -> np.ndarray:
    """Angles skewed as those of small matrices are (1.3), of spreads that differ tenfold."""
    spread = 0.2 * 10 ** -rng.uniform(0, 1, (matrices, 1, 1))
    noise = rng.chisquare(5, (matrices, 2, draws + 1)) / np.sqrt(10)
    return np.exp(spread * noise)


@pytest.mark.parametrize("draws", [3, 10])
def test_no_single_matrix_of_noise_stands_out_more_often_than_it_says(draws: int) -> None:
    """Holm's correction at 2.5 %. Student's t of logarithms, 5 draws: 9 % of comparisons."""
    cases, matrices = 150, 28
    rng = np.random.default_rng(0)
    found, students = 0, 0
    for _ in range(cases):
        angles = skewed(rng, matrices, draws)
        p = chances(*tables(angles), NULLS)["p_isotropic"]
        found += min(holm(p.tolist())) < 0.025
        logs = np.log(angles[:, 0])
        gap = (logs[:, 0] - logs[:, 1:].mean(1)) / np.sqrt(logs[:, 1:].var(1, ddof=1))
        t = 2 * stats.t.sf(np.abs(gap) / np.sqrt(1 + 1 / draws), draws - 1)
        students += min(holm(t.tolist())) < 0.025
    assert found <= stats.binom.ppf(0.999, cases, 0.025)
    if draws == 10:
        assert students > stats.binom.ppf(0.999, cases, 0.025)  # what is mended


@pytest.mark.parametrize("draws", [2, 3, 10])
def test_a_mean_of_noise_lies_outside_in_one_case_of_twenty(draws: int) -> None:
    cases = 150
    rng = np.random.default_rng(1)
    outside = 0
    for _ in range(cases):
        row = mean_beside(*tables(skewed(rng, 28, draws)), NULLS).iloc[0]
        outside += not row["low"] <= 0 <= row["high"]
        assert (row["p"] < 0.05) == (not row["low"] <= 0 <= row["high"])
    assert outside / cases < 0.05 + 0.054  # three standard errors
