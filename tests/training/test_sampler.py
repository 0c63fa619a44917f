"""Which episodes of an update train, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from svdrift.training.grpo.sampler import (
    advantages,
    best_with_worst,
    draw_episodes,
    measures,
    weighted_rounds,
)
from svdrift.training.grpo.settings import SamplerSettings, Settings

# Two groups of four: places 0 to 3 and 4 to 7.
REWARDS = np.array([0.0, 3.0, -1.0, 2.0, 5.0, 5.0, -1.0, 5.0])
FLAT = np.full(4, 0.1)


def drawn(rewards=REWARDS, group_size=4, seed=0, update=1, **sampler):
    return draw_episodes(rewards, group_size, SamplerSettings(**sampler), seed, update)


def random():
    return np.random.default_rng(0)


def test_advantages() -> None:
    # Mean 1, deviations -1, 2, -2, 1, variance 10 / 3.
    wanted = np.array([-1, 2, -2, 1]) / ((10 / 3) ** 0.5 + 1e-4)
    assert advantages(REWARDS, 4)[:4] == pytest.approx(wanted)
    # Rounding alone makes no advantage: the mean of ten 0.1 is not 0.1.
    assert (advantages(np.full(10, 0.1), 10) == 0).all()


def test_the_best_is_paired_with_the_worst_within_a_group() -> None:
    both = best_with_worst(REWARDS, 4, 2)
    assert both.tolist() == [[1, 2], [3, 0], [4, 6], [5, 7]]
    assert best_with_worst(REWARDS, 4, 1).tolist() == [[1, 2], [4, 6]]
    # One solved in a group: one mixed pair comes first, the others are failures.
    assert best_with_worst(np.array([0.0, 0, 0, 1]), 4, 2).tolist() == [[3, 2], [0, 1]]


def test_a_round_draws_no_pair_twice_and_the_likelier_more_often() -> None:
    weights = np.array([1.0, 1.0, 1.0, 5.0] * 2)
    places = weighted_rounds(weights, 4, random()).reshape(4, 2)
    assert all(len(set(places_of)) == 2 for places_of in places.tolist())
    one_each = [
        weighted_rounds(np.array([1.0, 3.0]), 2, np.random.default_rng(i)) for i in range(999)
    ]
    assert np.mean(one_each) == pytest.approx(0.75, abs=0.03)


def test_a_round_with_few_weights_takes_all_of_them_and_others_fill_it_up() -> None:
    places = weighted_rounds(np.array([0, 0, 2.0, 0, 0, 0]), 2, random()).reshape(2, 3)
    for round_ in places.tolist():
        assert 2 in round_
        assert len(set(round_)) == 3


def test_without_any_weight_pairs_are_drawn_uniformly() -> None:
    places = np.concatenate(
        [weighted_rounds(np.zeros(4), 2, np.random.default_rng(i)) for i in range(500)]
    )
    assert np.bincount(places) / len(places) == pytest.approx(np.full(4, 0.25), abs=0.03)


def test_at_random_each_comes_once() -> None:
    half = drawn(select="random", count=4)
    assert len(set(half.tolist())) == 4
    assert sorted(drawn(select="random", count=8)) == list(range(8))


def test_groups_whose_rewards_are_equal_are_left_out() -> None:
    rewards = np.concatenate([FLAT, REWARDS[:4], FLAT])
    places = drawn(rewards, select="mixed_groups", count=6)
    # All four before any comes again.
    assert sorted(places[:4]) == [4, 5, 6, 7]
    assert set(places[4:]) < {4, 5, 6, 7}
    assert len(set(places[4:])) == 2
    everywhere = drawn(np.concatenate([FLAT, FLAT]), select="mixed_groups", count=8)
    assert sorted(everywhere) == list(range(8))  # none differs: any


def test_the_largest_advantages_need_no_pair() -> None:
    # Rewards in standard deviations of their group: 0.55, 1.1, 1.1, 0.55 and 0.5, 0.5, 1.5, 0.5.
    assert sorted(drawn(select="top", count=1)) == [6]
    assert sorted(drawn(select="top", count=3)) == [1, 2, 6]
    assert sorted(drawn(select="top", count=5)) == [0, 1, 2, 3, 6]
    # Of equal ones the first: three have 0.5 and one is wanted.
    assert sorted(drawn(select="top", count=6)) == [0, 1, 2, 3, 4, 6]
    # A group that pairs would share equally gets nothing where its rewards hardly differ.
    flat = np.concatenate([FLAT, REWARDS[:4]])
    assert sorted(drawn(flat, select="top", count=4)) == [4, 5, 6, 7]
    assert sorted(drawn(flat, select="pairs", count=4)) == [0, 3, 5, 6]


def test_pairs_stay_together() -> None:
    once = drawn(select="pairs", count=4).reshape(-1, 2).tolist()
    assert sorted(once) == [[1, 2], [4, 6]]
    known = best_with_worst(REWARDS, 4, 2).tolist()
    often = [
        known.index(pair)
        for update in range(1, 301)
        for pair in drawn(count=8, rounds=4, update=update).reshape(-1, 2).tolist()
    ]
    # Absolute deviations from the mean, in standard deviations: 2 + 2 and 1 + 1 from 1 in the first
    # group, 1.5 + 4.5 and 1.5 + 1.5 from 3.5 in the second.
    sums = np.array([4 / (10 / 3) ** 0.5, 2 / (10 / 3) ** 0.5, 6 / 3, 3 / 3])
    assert np.bincount(often) / len(often) == pytest.approx(sums / sums.sum(), abs=0.04)


def test_flat_rewards_do_not_stop_any_sampler() -> None:
    rewards = np.concatenate([FLAT, FLAT])
    for given in (
        {"select": "pairs", "count": 8, "rounds": 2},
        {"select": "pairs", "count": 4},
        {"select": "mixed_groups", "count": 4},
        {"select": "top", "count": 4},
    ):
        assert len(drawn(rewards, **given)) == given["count"]
    assert measures(np.arange(8), rewards, 4)["small_advantage_share"] == 1


def test_seed_and_update_decide() -> None:
    for given in (
        {"select": "random", "count": 8},
        {"select": "mixed_groups", "count": 8},
        {"select": "top", "count": 8},
        {"select": "pairs", "count": 8, "rounds": 4},
    ):
        first = drawn(**given).tolist()
        assert drawn(**given).tolist() == first
        others = [drawn(seed=seed, **given).tolist() for seed in range(1, 5)]
        others += [drawn(update=update, **given).tolist() for update in range(2, 6)]
        assert any(other != first for other in others)


def test_measures() -> None:
    found = measures(np.array([1, 2, 1, 2, 1, 0]), np.concatenate([REWARDS[:4], FLAT]), 4)
    assert found == {
        "distinct_episodes": 3.0,
        "most_repeats": 3.0,
        "small_advantage_share": 0.5,
    }


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        ({"count": 5}, "sampler.count: 5 does not divide episodes 12"),
        ({"count": 3}, "minibatch_size: 2 does not divide sampler.count 3"),
        ({"count": 4}, "sampler.count: 4 does not give 3 groups equally many pairs"),
        ({"count": 6, "rounds": 2}, "rounds: 2 does not divide 3 pairs"),
        (
            {"count": 6, "select": "random", "rounds": 1},
            "rounds: draws pairs, and select is 'random'",
        ),
        ({"count": 6, "select": "top", "rounds": 1}, "and select is 'top'"),
        ({"select": "best"}, "'random', 'mixed_groups', 'top' or 'pairs'"),
    ],
)
def test_what_does_not_divide_is_refused(sampler, said) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(episodes=12, group_size=4, minibatch_size=2, sampler=sampler)


def test_pairs_need_groups_of_even_size() -> None:
    with pytest.raises(ValidationError, match="group_size: 3 is odd"):
        Settings(episodes=12, group_size=3, minibatch_size=2, sampler={"count": 6})


def test_steps_are_those_of_the_episodes_that_train() -> None:
    settings = Settings(episodes=16, group_size=4, minibatch_size=2, sampler={"count": 8}, epochs=3)
    assert settings.steps_per_update == 12
    assert settings.work.samples == settings.updates * 24
    assert settings.work.episodes == settings.updates * 16
    assert settings.budget.steps == settings.updates * 12
    assert Settings.matching(settings)["sampler"]["count"] == 8
