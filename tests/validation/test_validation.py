"""The simulations of `make validate` at reduced size: how often statements are wrong.

So few studies tell a rate of 5 % from one of some 15 %; those of the page tell it from 7 %.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from svdrift.evaluation.comparisons import (
    mean_over_seeds,
    paired_difference,
    recovered_share,
    weighted_sum,
)
from tests.validation import forgetting, shares
from tests.validation.checks import Said, Simulation, Statement, outcome, rates
from tests.validation.episodes import Deal, Design
from tests.validation.kinds import KINDS
from tests.validation.page import PAGE, place

SIMULATIONS = [simulation for kind in KINDS for simulation in kind.SIMULATIONS]


@pytest.mark.parametrize(
    "simulation", SIMULATIONS, ids=lambda one: f"{one.statements[0].name}: {one.simulated}"
)
def test_intervals_miss_the_truth_no_more_often_than_stated(simulation: Simulation) -> None:
    for statement, found in simulation.rates(simulation.short):
        assert found.given >= simulation.short / 4
        assert not found.surely_above(statement.limit), (statement.name, found)
        assert not found.surely_below(statement.least), (statement.name, "is the note still due?")


def test_what_does_not_keep_five_percent_says_why() -> None:
    for simulation in SIMULATIONS:
        assert all(one.note for one in simulation.statements if one.limit != 0.05 or one.least)


def test_the_page_has_every_statement_once() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [place(one.simulated, statement) for one in SIMULATIONS for statement in one.statements]
    assert [page.count(f"{row} |") for row in rows] == [1] * len(rows), "run: make validate"


# ---------------------------------------------------------------------- what is simulated


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_simulated_checkpoints_have_their_share_and_groups_their_likeness(share: float) -> None:
    rng, design = np.random.default_rng(0), Design(20000, 2.0, clustering=0.3)
    deal = Deal(rng, design)
    one, two = (deal.solved(share).astype(float) for _ in range(2))
    assert one.mean() == pytest.approx(share, abs=0.01)
    first = np.flatnonzero(deal.group[1:] == deal.group[:-1])
    within = np.corrcoef(one[first], one[first + 1])[0, 1]
    assert within == pytest.approx(0.3, abs=0.03)
    assert 0.2 < np.corrcoef(one, two)[0, 1] < 0.6  # checkpoints are alike
    assert deal.table(one > 0, "a")["group"].nunique() == design.groups


def test_sums_by_group_stand_for_tables_of_episodes() -> None:
    """Simulations leave out the tables, for speed; what a study computes from them is the same."""
    rng = np.random.default_rng(1)
    deal = Deal(rng, Design(40, 3.0, uneven=True))
    one, two, three = (deal.solved(share) for share in (0.5, 0.2, 0.4))
    a, b, c = (deal.table(solved, name) for solved, name in ((one, "a"), (two, "b"), (three, "c")))
    sums = deal.weighted((1.0, one), (-1.0, two))
    assert sums == pytest.approx(weighted_sum([(1.0, a), (-1.0, b)]))
    found, table = mean_over_seeds([sums]), paired_difference(a, b)
    assert (found.value, found.low, found.high) == pytest.approx(
        (table.difference, table.low, table.high)
    )
    gain, loss = three * 1.0 - two, one * 1.0 - two
    clusters = (deal.by_group(gain), deal.by_group(loss), deal.sizes)
    share = shares.share_over_clusters([clusters])
    assert tuple(vars(share).values()) == pytest.approx(
        tuple(vars(recovered_share([(c, b, a)])).values())
    )


def test_one_peak_is_the_highest_on_selection_problems_and_another_that_of_other_seeds() -> None:
    """The steps of a study in which one seed's curve differs from all others'."""
    rng = np.random.default_rng(0)
    said = forgetting.over_seeds(5, 0.06)(rng)
    assert set(said) == {forgetting.NAMED_STEP, forgetting.OTHER_SEEDS, forgetting.OWN_PEAK}
    middle = {name: (one.low + one.high) / 2 for name, one in said.items()}
    assert middle[forgetting.OWN_PEAK] > middle[forgetting.NAMED_STEP]


# ---------------------------------------------------------------------- how it is counted


def test_rates_count_what_lies_above_and_below() -> None:
    studies = [
        outcome(Said(-1, 1, 0)),
        outcome(Said(1, 2, 0)),
        outcome([Said(-2, -1, 0), Said(-1, 1, 0)]),  # two quantities of one study
        outcome(Said(math.nan, math.nan, 0)),  # says nothing
    ]
    found = rates(studies)
    assert (found.studies, found.given) == (4, 3)
    assert (found.above, found.below) == pytest.approx((1 / 3, 1 / 6))
    assert found.missed == pytest.approx(0.5)


def normal(half: float) -> Simulation:
    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        value = rng.standard_normal()
        return {"x": Said(value - half, value + half)}

    return Simulation("normal", [Statement("x")], simulate, 1000, 20)


def test_intervals_that_are_too_narrow_are_found() -> None:
    ((_, narrow),) = normal(1.0).rates(200)
    assert narrow.surely_above(0.05)
    assert not narrow.surely_below(0.05)
    assert narrow.missed == pytest.approx(0.32, abs=0.1)
    ((_, exact),) = normal(1.96).rates(1000)
    assert not exact.surely_above(0.05)
    assert exact.surely_below(0.2)
    assert normal(1.0).rates(20) == normal(1.0).rates(20)  # the same studies for the same seed
