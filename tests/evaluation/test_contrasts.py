"""Contrasts against hand-worked cases and the paired difference; coverage by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from svdrift.evaluation.comparisons import (
    contrast,
    half_width,
    half_width_over_seeds,
    paired_difference,
    recovered_share,
)
from svdrift.evaluation.contrasts import (
    FIT,
    ID,
    NAMED,
    OOD,
    OTHER_SEEDS,
    SAME_SEED,
    SELECTION,
    Played,
    at_equal_cost,
    best_of_others,
    equal_id,
    forgetting,
    furthest,
    restored,
    window,
)
from svdrift.findings.estimates import at
from tests.evaluation.episode_tables import tries

PROBLEMS = 60
SPLITS = {FIT: "fitted", ID: "id_test", OOD: "ood_test", SELECTION: "ood_selection"}
PATH = ("base", "sft-8", "sft-16", "sft-64")
# Solved problems out of 60, of which the first ones are solved, by checkpoint: fit, ID, OOD.
SOLVED = {
    "base": (5, 5, 5),
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


def played(shift: int = 0, best: str = "sft-8") -> Played:
    """One seed; `best` solves most OOD selection problems, apart from the end of the path."""
    episodes = {}
    for name in PATH:
        solved = np.arange(PROBLEMS) < {best: 50, "sft-64": 55}.get(name, 10)
        episodes[name, SELECTION] = tries(solved, np.arange(PROBLEMS) // 2, name, SPLITS[SELECTION])
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
    assert both.p == pytest.approx(pair.p)
    assert (both.n, both.groups, both.seeds) == (200, 40, 1)


def test_forgetting_is_peak_minus_end_on_every_split() -> None:
    rows = forgetting({0: played()}, PATH, "sft-8")
    assert value(rows, OOD) == pytest.approx(28)
    assert value(rows, ID) == pytest.approx(6)
    assert value(rows, FIT) == pytest.approx(-6)
    assert (rows["n"] == PROBLEMS).all()
    assert (rows["groups"] == PROBLEMS // 2).all()
    assert ((rows["p"] < 0.05) == (rows["low"] * rows["high"] > 0)).all()
    assert list(rows["split"]) == ["fitted", "id_test", "ood_test"]


def test_a_peak_named_in_advance_is_the_reference_of_every_seed() -> None:
    rows = forgetting({0: played(), 3: played(11)}, PATH, "sft-16")
    assert set(rows["contrast"]) == {"forgetting"}
    assert set(rows["reference"]) == {NAMED}
    assert list(at(rows, OOD)["value"] * PROBLEMS) == pytest.approx([18, 18, 18])


def test_without_a_named_peak_each_seed_takes_that_of_the_others() -> None:
    rows = forgetting({0: played(), 3: played(11, best="sft-16")}, PATH, None)
    kinds = dict(list(at(rows, OOD).groupby("contrast")))
    assert list(kinds["forgetting"]["value"] * PROBLEMS) == pytest.approx([18, 28, 23])
    assert set(kinds["forgetting"]["reference"]) == {OTHER_SEEDS}
    # Both seeds' anchor is sft-8 here.
    assert list(kinds["own-peak"]["value"] * PROBLEMS) == pytest.approx([28, 28, 28])
    assert set(kinds["own-peak"]["reference"]) == {SAME_SEED}


def test_one_seed_that_names_no_peak_has_only_its_own() -> None:
    rows = forgetting({0: played()}, PATH, None)
    assert set(rows["contrast"]) == {"own-peak"}
    assert value(rows) == pytest.approx(28)


def test_the_best_of_other_seeds() -> None:
    curves = np.array([[0.1, 0.9, 0.2], [0.1, 0.2, 0.4], [0.1, 0.2, 0.5]])
    assert best_of_others(curves) == [2, 1, 1]
    assert best_of_others(np.array([[0.5, 0.5], [0.1, 0.1]])) == [0, 0]  # the first of equals


def test_a_fall_from_the_peak_is_seldom_found_where_checkpoints_only_fluctuate() -> None:
    """Five seeds whose six checkpoints differ at random: the peak of the seed itself "falls"."""
    rng = np.random.default_rng(16)
    others, own = [], []
    for _ in range(1000):
        curves = rng.normal(0, 1, (5, 6))
        selection, test = (curves + rng.normal(0, 0.3, curves.shape) for _ in range(2))
        for falls, peaks in (
            (others, best_of_others(selection[:, :-1])),
            (own, selection[:, :-1].argmax(axis=1)),
        ):
            lost = test[np.arange(5), peaks] - test[:, -1]
            falls.append(lost.mean() > half_width_over_seeds(lost, np.full(5, 0.3 * 2**0.5)))
    assert np.mean(own) > 0.25
    assert np.mean(others) < 0.06  # more than 0.025: seeds that choose for each other share choices


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
    assert list(rows["p_at_50"] < 0.05) == list(rows["high"] < 0.5)
    assert list(rows["p"] < 0.05) == list(rows["low"] > 0)
    assert restored({0: played()}, "sft-16", "sft-16.ppo-60")["value"].notna().all()


def test_nothing_is_restored_where_nothing_was_lost() -> None:
    one = played()
    at_peak = Played("sft-64", "sft-64", one.episodes)
    rows = restored({0: at_peak}, "sft-64", "sft-64.ppo-60")
    assert rows[["value", "low", "high", "p", "p_at_50"]].isna().all(axis=None)


def test_equal_id_meets_interpolation_where_it_costs_as_much() -> None:
    path = {0.75: "interpolate-weight0.75", 0.25: "interpolate-weight0.25"}
    rows = equal_id({0: played()}, "directions-top0.2", path)
    # ID on fitted problems along the path is 60, 60, 58, 54: 56 lies halfway along the last leg.
    assert value(rows) == pytest.approx(36 - (30 + 40) / 2)


def test_equal_id_is_as_uncertain_as_its_matched_weight() -> None:
    """Interpolation halfway; the true difference is 0. A weight taken as known is too sure."""
    rng = np.random.default_rng(17)
    shares = {"target": (0.9, 0.2), "anchor": (0.5, 0.6), "repair": (0.7, 0.4)}
    problems = 120
    covered, as_known = [], []
    for _ in range(200):
        solved = {
            (name, place): rng.random(problems) < share
            for name, both in shares.items()
            for place, share in zip((FIT, OOD), both, strict=True)
        }
        episodes = {
            (name, place): tries(outcomes, np.arange(problems), name, SPLITS[place])
            for (name, place), outcomes in solved.items()
        }
        seed = Played("anchor", "target", episodes)
        found = at_equal_cost(seed, "repair", ["target", "anchor"])
        covered.append(abs(found.value) <= half_width(found.error, found.freedom))
        curve = np.array([solved[name, FIT].mean() for name in ("target", "anchor")])
        _, share = furthest(curve, solved["repair", FIT].mean())
        weights = {"repair": 1.0, "target": (share or 0.0) - 1.0, "anchor": -(share or 0.0)}
        apart = sum(weight * solved[name, OOD] for name, weight in weights.items())
        error = np.std(apart, ddof=1) / problems**0.5
        as_known.append(abs(found.value) <= half_width(error, problems - 1))
    assert 0.93 <= np.mean(covered) <= 0.97
    assert np.mean(as_known) < 0.9


def test_equal_id_has_the_error_of_ood_alone_where_no_weight_is_matched() -> None:
    one = played()
    found = at_equal_cost(one, "base", ["sft-64", "sft-8"])  # the anchor keeps more than the base
    pair = paired_difference(one("base", OOD), one("sft-8", OOD))
    assert found.value == pytest.approx(pair.difference)
    assert half_width(found.error, found.freedom) == pytest.approx(pair.high - pair.difference)


@pytest.mark.parametrize(
    ("level", "place"),
    [(1.0, (1, 0.0)), (0.9, (1, 0.5)), (0.8, (2, 0.0)), (0.5, (3, None)), (1.2, (0, None))],
)
def test_the_last_place_on_a_curve(level: float, place: tuple[int, float | None]) -> None:
    at, share = furthest(np.array([0.9, 1.0, 0.8, 0.6]), level)
    assert (at, share) == (place[0], None if place[1] is None else pytest.approx(place[1]))


def test_several_seeds_have_a_row_of_their_own() -> None:
    rows = forgetting({0: played(), 3: played(11)}, PATH, "sft-8")
    ood = at(rows, OOD)
    assert list(ood["seed"].fillna(-1)) == [0, 3, -1]
    assert ood["n"].iloc[-1] == 2 * PROBLEMS
    assert ood["groups"].iloc[-1] == PROBLEMS
    assert ood["value"].iloc[-1] == pytest.approx(28 / PROBLEMS)
