"""Costs, levels and budgets against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svdrift.errors import UserError
from svdrift.ranks.search import Evaluations
from svdrift.ranks.space import Space
from svdrift.ranks.tables import best_so_far, chosen_rows, tried_rows
from tests.ranks.spaces import knapsack, matrix

SUBJECTS = (matrix([1.0] * 10), matrix([1.0] * 20, (20, 60)))
CHOICES = (0.0, 0.25, 0.5, 1.0)


def test_repair_costs_ranks() -> None:
    space = Space("repair", SUBJECTS, 0.5, CHOICES)
    assert space.cost((10, 5)) == 0.5
    assert space.levels.tolist() == [[0, 3, 5, 10], [0, 5, 10, 20]]
    assert space.costs[:, 2].sum() == pytest.approx(0.5)
    assert space.first == 0


def test_keep_costs_parameters() -> None:
    space = Space("keep", SUBJECTS, 0.5, CHOICES)
    # 10 x 10 costs 20 a rank of 100, 20 x 60 costs 80 a rank of 1,200.
    assert space.cost((2, 5)) == (40 + 400) / 1300
    assert space.cost((10, 20)) == 1
    assert space.levels.tolist() == [[1, 1, 2, 10], [1, 3, 7, 20]]
    assert space.usable(SUBJECTS[0], 5) == 10  # which would cost all that the matrix does
    assert space.usable(SUBJECTS[0], 4) == 4
    assert space.usable(SUBJECTS[0], 0) == 1
    assert space.first == 3


def test_too_small_a_budget_is_refused() -> None:
    with pytest.raises(UserError, match=r"cost: 0.05 is below that of the lowest choices, 0.0769"):
        Space("keep", SUBJECTS, 0.05, CHOICES)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=4), st.integers(0, 99))
def test_what_is_fitted_fits_and_leaves_no_room(picked: list[int], seed: int) -> None:
    space, rng = knapsack("repair"), np.random.default_rng(seed)
    found = space.fit(np.array(picked), rng)
    assert space.fits(space.ranks(found))
    for i in np.flatnonzero(found < 2):
        more = found.copy()
        more[i] += 1
        assert not space.fits(space.ranks(more)) or (found == picked).all() or more[i] > 1


def test_tables() -> None:
    space = Space("repair", SUBJECTS, 0.5, CHOICES)
    score = Evaluations(lambda ranks: float(sum(ranks)) if ranks[0] else -1.0, 5)
    for ranks in [(10, 20), (0, 1), (5, 0), (3, 0), (10, 5)]:
        score(ranks)
    tried = tried_rows(space, score)
    assert tried["evaluation"].to_list() == [1, 2, 3, 4, 5]
    assert tried["fits"].to_list() == [False, True, True, True, True]
    found = best_so_far(tried.assign(choice="a", method="b", seed=0))
    assert found["evaluation"].to_list() == [2, 3, 4, 5]
    assert found["best"].to_list() == [-1, 5, 5, 15]
    assert score.best(space) == (10, 5)
    chosen = chosen_rows(space, (10, 5))
    expected = pd.DataFrame(
        {"layer": [0, 0], "module": ["q", "q"], "rank": [10, 5], "share": [1.0, 0.25]}
    )
    pd.testing.assert_frame_equal(chosen, expected)
