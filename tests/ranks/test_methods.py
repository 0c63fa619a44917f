"""Searches find the known best ranks of a toy; rules give what was computed by hand."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from svdrift import plugins
from svdrift.errors import UserError
from svdrift.ranks.agent import features
from svdrift.ranks.search import ROOM, Evaluations, load, method
from svdrift.ranks.settings import RanksSettings
from svdrift.ranks.space import Space
from tests.ranks.spaces import evaluations, knapsack, matrix, worth

METHODS = plugins.names(ROOM)
SEARCHES = [name for name in METHODS if method(name).searches]
RULES = [name for name in METHODS if not method(name).searches]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def best(space: Space) -> float:
    every = product(range(len(space.choices)), repeat=len(space.subjects))
    fitting = [ranks for picked in every if space.fits(ranks := space.ranks(picked))]
    return max(worth(space, ranks) for ranks in fitting)


@pytest.mark.parametrize("task", ["repair", "keep"])
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_finds_the_best_ranks_of_a_toy(name: str, task: str) -> None:
    space = knapsack(task)
    limit = 400 * (len(space.subjects) if name == "dqn" else 1)  # it spends one on each matrix
    chosen = load(name).choose(space, evaluations(space, limit), rng())
    assert space.fits(chosen)
    assert worth(space, chosen) == pytest.approx(best(space))
    if task == "repair":
        assert chosen == (10, 0, 10, 0)


def test_greedy_needs_no_luck() -> None:
    """Where gains do not depend on one another, one pass and few evaluations are enough."""
    space = knapsack("repair")
    assert load("greedy").choose(space, evaluations(space, 12), rng()) == (10, 0, 10, 0)


@pytest.mark.parametrize("limit", [25, 60])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("task", ["repair", "keep"])
def test_all_searches_spend_the_same_evaluations(name: str, task: str, limit: int) -> None:
    space = knapsack(task)
    asked = []
    score = Evaluations(lambda ranks: asked.append(ranks) or worth(space, ranks), limit)
    load(name).choose(space, score, rng())
    assert len(asked) == len(score.tried) == (limit if name in SEARCHES else 0)
    assert score.left == limit - len(asked)


def test_nobody_asks_more_often() -> None:
    score = evaluations(knapsack("repair"), 1)
    score((0, 0, 0, 0))
    with pytest.raises(ValueError, match="all 1 evaluations are spent"):
        score((0, 0, 0, 0))


def test_where_nothing_fits_nothing_is_chosen() -> None:
    space = knapsack("keep")
    with pytest.raises(UserError, match="evaluations: none of 3 led to ranks that fit"):
        load("dqn").choose(space, evaluations(space, 3), rng())


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_decides_the_choice(name: str) -> None:
    space = knapsack("repair")
    one, two = (load(name).choose(space, evaluations(space, 40), rng()) for _ in range(2))
    assert one == two


ENERGY = (matrix([3.0, 1.0, 1.0, 1.0]), matrix([1.0] * 4))


@pytest.mark.parametrize(
    ("name", "budget", "chosen"),
    [
        ("uniform", 0.5, (2, 2)),
        ("uniform", 0.7, (2, 2)),  # three each would be 6 of 8 ranks
        ("energy", 0.5, (1, 3)),  # 9 of 12, and 3 of 4
        ("energy", 0.75, (2, 4)),  # 10 of 12 is more than 3 of 4
        ("threshold", 0.5, (1, 0)),  # 0.87, 0.29 three times; 0.5 four times: five ranks come next
        ("threshold", 0.625, (1, 4)),
    ],
)
def test_rules_by_hand(name: str, budget: float, chosen: tuple[int, ...]) -> None:
    space = Space("repair", ENERGY, budget, (0.0, 1.0))
    assert load(name).choose(space, evaluations(space, 1), rng()) == chosen


@pytest.mark.parametrize("name", RULES)
def test_rules_keep_a_rank_of_every_matrix(name: str) -> None:
    space = Space("keep", (matrix([9.0] + [0.1] * 9), matrix([1.0] * 10)), 0.55, (0.0, 1.0))
    chosen = load(name).choose(space, evaluations(space, 1), rng())
    assert min(chosen) >= 1
    assert space.fits(chosen)


def test_the_reward_of_every_step_pays_for_early_gains() -> None:
    """Where a light matrix comes first and the heaviest last, the largest return is elsewhere.

    A limit of PuRL's reward, not of the search: the same agent rewarded at the end finds them.
    """
    space = knapsack("repair")

    def score(ranks: tuple[int, ...]) -> float:
        return float(np.dot((1.0, 4.0, 1.5, 3.0), ranks)) / 10

    best_ranks, early = (0, 10, 0, 10), (10, 10, 0, 0)
    assert score(best_ranks) > score(early)
    assert returned(space, score, early) > returned(space, score, best_ranks)
    found = load("dqn_at_end").choose(space, Evaluations(score, 400), rng())
    assert found == best_ranks


def returned(
    space: Space, score: Callable[[tuple[int, ...]], float], ranks: tuple[int, ...]
) -> float:
    """The sum of an episode's rewards, as the formula of `svdrift.ranks.agent` says."""
    total, size = 0.0, len(ranks)
    for t in range(1, size + 1):
        now = (*ranks[:t], *[0] * (size - t))
        line = 1 - space.budget * t / size
        total += min(score(now) - score(space.goal), 0) + min(1 - space.cost(now) - line, 0)
    return total


def test_what_the_agent_sees() -> None:
    seen = features(Space("repair", (*ENERGY, matrix([2.0] * 4, (8, 4), 1)), 0.5, (0.0, 1.0)))
    layer, module, shape, *held, stable, angle = seen.T
    assert list(layer) == [0, 0, 0.5]
    assert list(module) == [1, 1, 1]
    assert shape == pytest.approx([0, 0, np.log(2)])
    assert held[0] == pytest.approx([9 / 12, 0.25, 0.25])  # at least one rank
    assert held[2] == pytest.approx([10 / 12, 0.5, 0.5])
    assert stable == pytest.approx([12 / 9 / 4, 1, 1])
    assert list(angle) == [0, 0, 0]


OWN = """
from svdrift.ranks.search import Method

METHOD = Method(label="all of the first")


def choose(space, score, rng):
    return (space.subjects[0].rank, *[0] * (len(space.subjects) - 1))
"""


def test_a_method_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "first.py"
    file.write_text(OWN)
    settings = RanksSettings(task="keep", target="last", cost=0.5, methods=("uniform", str(file)))
    space = knapsack("repair")
    chosen = load(settings.methods[1]).choose(space, evaluations(space, 1), rng())
    assert chosen == (10, 0, 0, 0)


def test_every_method_is_tried_by_default() -> None:
    settings = RanksSettings(task="keep", target="last", cost=0.5)
    assert sorted(settings.methods) == sorted(METHODS)
    assert len({method(name).label for name in METHODS}) == len(METHODS)
