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
from tests.evaluation.episode_tables import tries

HANDS = 60
# Solved hands out of 60, of which the first ones are solved, by checkpoint: fit, ID, OOD.
SOLVED = {
    "sft-8": (54, 30, 40),
    "sft-64": (60, 24, 12),
    "sft-16": (57, 28, 30),
    "ppo-from-16": (57, 30, 39),
    "continued-from-16": (58, 26, 21),
    "ppo-from-64": (60, 30, 18),
    "continued-from-64": (60, 24, 15),
    "directions-top0.2": (56, 30, 36),
    "interpolate-weight0.25": (60, 27, 20),
    "interpolate-weight0.75": (58, 29, 30),
}


def played(shift: int = 0) -> Played:
    episodes = {}
    for name, counts in SOLVED.items():
        for split, solved in zip((FIT, ID, OOD), counts, strict=True):
            hands = (np.arange(HANDS) + shift) % HANDS
            episodes[name, split] = tries(hands < solved, np.arange(HANDS) // 2, name, split)
    return Played("sft-8", "sft-64", episodes)


def value(rows: pd.DataFrame, split: str = OOD) -> float:
    (found,) = rows.loc[(rows["split"] == split) & (rows["seed"] == 0), "value"]
    return float(found) * HANDS


def test_a_contrast_of_two_is_the_paired_difference() -> None:
    rng = np.random.default_rng(0)
    multisets = np.arange(200) // 5
    a, b = (tries(rng.random(200) < share, multisets, str(share)) for share in (0.6, 0.3))
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
    assert (rows["n"] == HANDS).all()


def test_the_window_compares_effects() -> None:
    rows = window({0: played()}, "ppo", 16, 64)
    assert value(rows) == pytest.approx((39 - 21) - (18 - 15))
    assert list(rows["contrast"]) == ["window-16-64"]


def test_restored_is_the_share_of_the_loss_up_to_the_start() -> None:
    study = {0: played(), 1: played(7)}
    rows = restored(study, "ppo", 64)
    assert list(rows["value"]) == pytest.approx([6 / 28] * 3)
    assert rows["seed"].isna().sum() == 1
    one = study[0]
    share = recovered_share([(one("ppo-from-64", OOD), one("sft-64", OOD), one("sft-8", OOD))])
    assert (rows["low"].iloc[0], rows["high"].iloc[0]) == (share.low, share.high)
    assert restored({0: played()}, "ppo", 16)["value"].notna().all()


def test_nothing_is_restored_where_nothing_was_lost() -> None:
    one = played()
    at_peak = Played("sft-64", "sft-64", one.episodes)
    assert restored({0: at_peak}, "ppo", 64)["value"].isna().all()


def test_equal_id_meets_interpolation_where_it_costs_as_much() -> None:
    path = {0.75: "interpolate-weight0.75", 0.25: "interpolate-weight0.25"}
    rows = equal_id({0: played()}, "directions-top0.2", path)
    # ID on demonstrated hands along the path is 60, 60, 58, 54: 56 lies halfway along the last leg.
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
    ood = rows[rows["split"] == OOD]
    assert list(ood["seed"].fillna(-1)) == [0, 3, -1]
    assert ood["n"].iloc[-1] == 2 * HANDS
    assert ood["value"].iloc[-1] == pytest.approx(28 / HANDS)
