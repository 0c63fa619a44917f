"""Contrasts against hand-worked cases, and against the paired difference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from svdrift.evaluation.comparisons import contrast, paired_difference, recovered_share
from svdrift.evaluation.contrasts import (
    FIT,
    ID,
    OOD,
    Played,
    equal_id,
    forgetting,
    furthest,
    restored,
    window,
)
from svdrift.findings.estimates import at
from tests.evaluation.episode_tables import tries

PROBLEMS = 60
SPLITS = {FIT: "fitted", ID: "id_test", OOD: "ood_test"}
# Solved problems out of 60, of which the first ones are solved, by checkpoint: fit, ID, OOD.
SOLVED = {
    "sft-8": (54, 30, 40),
    "sft-64": (60, 24, 12),
    "sft-16": (57, 28, 30),
    "sft-16.ppo-60": (57, 30, 39),
    "sft-16.continued-60": (58, 26, 21),
    "sft-64.ppo-60": (60, 30, 18),
    "sft-64.continued-60": (60, 24, 15),
    "directions-top0.2": (56, 30, 36),
    "interpolate-weight0.25": (60, 27, 20),
    "interpolate-weight0.75": (58, 29, 30),
}


def played(shift: int = 0) -> Played:
    episodes = {}
    for name, counts in SOLVED.items():
        for place, solved in zip((FIT, ID, OOD), counts, strict=True):
            problems = (np.arange(PROBLEMS) + shift) % PROBLEMS
            groups = np.arange(PROBLEMS) // 2
            episodes[name, place] = tries(problems < solved, groups, name, SPLITS[place])
    return Played("sft-8", "sft-64", episodes)


def value(rows: pd.DataFrame, place: tuple[str, str] = OOD) -> float:
    (found,) = at(rows, place).query("seed == 0")["value"]
    return float(found) * PROBLEMS


def test_a_contrast_of_two_is_the_paired_difference() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(200) // 5
    a, b = (tries(rng.random(200) < share, groups, str(share)) for share in (0.6, 0.3))
    pair, both = paired_difference(a, b), contrast([[(1.0, a), (-1.0, b)]])
    assert (both.value, both.low, both.high) == pytest.approx(
        (pair.difference, pair.low, pair.high)
    )
    assert (both.n, both.seeds) == (200, 1)


def test_forgetting_is_peak_minus_end_on_every_split() -> None:
    rows = forgetting({0: played()})
    assert value(rows, OOD) == pytest.approx(28)
    assert value(rows, ID) == pytest.approx(6)
    assert value(rows, FIT) == pytest.approx(-6)
    assert (rows["n"] == PROBLEMS).all()
    assert list(rows["split"]) == ["fitted", "id_test", "ood_test"]


def test_the_window_compares_effects() -> None:
    results, control = (
        {f"sft-{step}": f"sft-{step}.{stage}-60" for step in (16, 64)}
        for stage in ("ppo", "continued")
    )
    rows = window({0: played()}, "sft-16", "sft-64", results, control)
    assert value(rows) == pytest.approx((39 - 21) - (18 - 15))
    assert list(rows["contrast"]) == ["window-sft-16-sft-64"]


def test_restored_is_the_share_of_the_loss_up_to_the_start() -> None:
    study = {0: played(), 1: played(7)}
    rows = restored(study, "sft-64", "sft-64.ppo-60")
    assert list(rows["value"]) == pytest.approx([6 / 28] * 3)
    assert rows["seed"].isna().sum() == 1
    one = study[0]
    share = recovered_share([(one("sft-64.ppo-60", OOD), one("sft-64", OOD), one("sft-8", OOD))])
    assert (rows["low"].iloc[0], rows["high"].iloc[0]) == (share.low, share.high)
    assert restored({0: played()}, "sft-16", "sft-16.ppo-60")["value"].notna().all()


def test_nothing_is_restored_where_nothing_was_lost() -> None:
    one = played()
    at_peak = Played("sft-64", "sft-64", one.episodes)
    assert restored({0: at_peak}, "sft-64", "sft-64.ppo-60")["value"].isna().all()


def test_equal_id_meets_interpolation_where_it_costs_as_much() -> None:
    path = {0.75: "interpolate-weight0.75", 0.25: "interpolate-weight0.25"}
    rows = equal_id({0: played()}, "directions-top0.2", path)
    # ID on fitted problems along the path is 60, 60, 58, 54: 56 lies halfway along the last leg.
    assert value(rows) == pytest.approx(36 - (30 + 40) / 2)


@pytest.mark.parametrize(
    ("level", "place"),
    [(1.0, (1, 0.0)), (0.9, (1, 0.5)), (0.8, (2, 0.0)), (0.5, (3, 0.0)), (1.2, (0, 0.0))],
)
def test_the_last_place_on_a_curve(level: float, place: tuple[int, float]) -> None:
    at, share = furthest(np.array([0.9, 1.0, 0.8, 0.6]), level)
    assert (at, share) == (place[0], pytest.approx(place[1]))


def test_several_seeds_have_a_row_of_their_own() -> None:
    rows = forgetting({0: played(), 3: played(11)})
    ood = at(rows, OOD)
    assert list(ood["seed"].fillna(-1)) == [0, 3, -1]
    assert ood["n"].iloc[-1] == 2 * PROBLEMS
    assert ood["value"].iloc[-1] == pytest.approx(28 / PROBLEMS)
