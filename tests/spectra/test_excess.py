"""Averages of drift minus a null: one interval over draws, of the right width."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from svdrift.spectra.excess import NULL_NAMES, draws_of, excess
from svdrift.spectra.nulls import NULLS, minus_null

LAYERS, MODULES, SIDES = 4, ("q", "up"), ("left", "right")


def noise(cases: int, draws: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Angles of updates that are noise themselves: skewed, sides correlated at 0.96.

    `seed` is the case. `nulls` has rows of another measure too.
    """
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [range(cases), range(LAYERS), MODULES, SIDES], names=["seed", "layer", "module", "side"]
    )
    shape = (cases * LAYERS * len(MODULES), 1, draws + 1)
    logarithms = rng.standard_normal(shape) + 0.2 * rng.standard_normal((shape[0], 2, draws + 1))
    angles = (3 * np.exp(0.3 * logarithms)).reshape(-1, draws + 1)
    drift = index.to_frame(index=False).assign(measure="mean_angle", region="top", start=0.0)
    drift = drift.assign(stop=0.1).astype({"layer": "Int64"})
    drift.loc[drift["layer"] == LAYERS - 1, "layer"] = pd.NA  # such as the head
    nulls = [drift.assign(draw=draw, isotropic=angles[:, draw + 1]) for draw in range(draws)]
    other = nulls[0].assign(measure="max_angle", isotropic=90.0)
    return drift.assign(observed=angles[:, 0], mine=1), pd.concat([*nulls, other])


def test_sides_and_matrices_are_averaged_within_a_draw() -> None:
    drift, nulls = noise(2, 5, 0)
    found = excess(drift, nulls, "isotropic", ["seed"])
    for case, row in zip(range(2), found.itertuples(), strict=True):
        own = nulls[(nulls["seed"] == case) & (nulls["measure"] == "mean_angle")]
        draws = own.groupby("draw")["isotropic"].mean().tolist()
        observed = drift.loc[drift["seed"] == case, "observed"].mean()
        expected = minus_null(observed, draws)
        assert (row.observed, row.null) == pytest.approx((observed, np.mean(draws)))
        assert (row.difference, row.low, row.high) == pytest.approx(expected[1:])


def test_draws_of_rows_alone() -> None:
    drift, nulls = noise(2, 3, 0)
    few = draws_of(drift[drift["module"] == "q"], nulls)
    assert len(few) == 3 * len(drift) / 2
    assert set(few["module"]) == {"q"}
    assert few["mine"].eq(1).all()


@pytest.mark.parametrize("draws", [2, 3, 5, 10])
def test_noise_is_told_from_its_null_in_one_case_of_twenty(draws: int) -> None:
    """Where rows count as independent this happens in 0.1, 2, 7 and 10 % of cases."""
    cases = 1500
    found = excess(*noise(cases, draws, 1), "isotropic", ["seed"])
    told = ((found["low"] > 0) | (found["high"] < 0)).mean()
    assert told == pytest.approx(0.05, abs=0.02)  # 3.5 standard errors


def test_every_null_has_a_name() -> None:
    assert list(NULL_NAMES) == [name for name in NULL_NAMES if name in NULLS]
    assert set(NULL_NAMES) == set(NULLS)
