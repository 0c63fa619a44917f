"""Rotation in one study minus that in another, against the claim's own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from svdrift.findings.drift_between import rotation_differences
from svdrift.findings.rotation import rotation
from tests.figures.figure_tables import spectral_tables

PAIRS = {"anchor-to-last": ("anchor-to-last", "anchor-to-last")}


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_study_that_turns_further_differs_by_as_much_beyond_every_null(seeds: int) -> None:
    found = spectral_tables(seeds)
    drift, nulls = found["drift"].copy(), found["nulls"].copy()
    further = drift.assign(observed=drift["observed"] + 2.0)
    table = rotation_differences((further, nulls), (drift, nulls), PAIRS)
    assert table["difference"].to_numpy() == pytest.approx(2.0)
    assert len(table) == table["null"].nunique() * (seeds + (seeds > 1))
    claims = {
        null: next(one for one in rotation(drift, nulls) if words in one.statement)
        for null, words in (
            ("isotropic", "largest 20 % of singular values turn further than isotropic"),
            ("inputs_kept", "largest 20 % of singular values turn further than noise that keeps"),
        )
    }
    for null, claim in claims.items():
        own = table[(table["null"] == null) & table["seed"].isna().eq(seeds > 1)].iloc[0]
        assert own["value_b"] == pytest.approx(claim.estimate)
        if seeds == 1:  # two independent intervals of the claim's width
            half = (claim.high - claim.low) / 2
            assert own["high"] - own["difference"] == pytest.approx(np.sqrt(2) * half)


def test_pairs_that_did_not_move_and_nulls_of_one_study_have_no_row() -> None:
    found = spectral_tables(1)
    drift, nulls = found["drift"].copy(), found["nulls"].copy()
    fewer = nulls.drop(columns="inputs_kept")
    table = rotation_differences((drift, nulls), (drift, fewer), PAIRS)
    assert "isotropic" in set(table["null"])
    assert "inputs_kept" not in set(table["null"])
    still = drift.assign(observed=drift["observed"].where(drift["measure"] != "update_norm", 0.0))
    assert rotation_differences((drift, nulls), (still, nulls), PAIRS).empty
