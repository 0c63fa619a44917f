"""What is logged of an update's episodes, and the warning about faults that are paid."""

from __future__ import annotations

import numpy as np
import pytest

from svdrift.training.rollout import (
    Episode,
    outcomes,
    paid_faults,
    warnings_of,
    with_permuted_rewards,
)

KINDS = ("partial", "wrong")


def episode(*tries: tuple[str, float]) -> Episode:
    faults, rewards = zip(*tries, strict=True)
    return Episode([], rewards=list(rewards), faults=list(faults), solved=faults[-1] == "none")


EPISODES = [
    episode(("partial", 1.0), ("none", 5.0)),
    episode(("none", 5.0)),
    episode(("wrong", -1.0), ("wrong", -1.0)),
]


def test_outcomes() -> None:
    found = outcomes(EPISODES, 2, KINDS)
    totals = [6, 5, -2]
    assert found["reward_mean"] == pytest.approx(np.mean(totals))
    assert found["reward_std"] == pytest.approx(np.std(totals))
    assert found["solved_by_try_1"] == pytest.approx(1 / 3)
    assert found["solved_by_try_2"] == pytest.approx(2 / 3)
    # Shares of the five replies; a fault that did not occur has a column too.
    assert found["fault_partial"] == pytest.approx(1 / 5)
    assert found["fault_wrong"] == pytest.approx(2 / 5)
    assert outcomes(EPISODES[1:2], 2, KINDS)["fault_partial"] == 0
    assert outcomes([EPISODES[1]] * 3, 2, KINDS)["reward_std"] == 0


def test_paid_faults() -> None:
    assert paid_faults(EPISODES) == {"partial"}  # not the solution, nor what costs
    assert paid_faults(EPISODES[1:]) == set()


def warned(shares: list[float]) -> list[int]:
    """The updates (from 1) that warn, if a paid fault has these shares."""
    metrics = [{"fault_partial": share} for share in shares]
    return [
        update
        for update in range(1, len(shares) + 1)
        if warnings_of(metrics[:update], {"partial"} if shares[update - 1] else set())
    ]


def test_a_paid_fault_that_rises_warns_once() -> None:
    assert warned([0.02] * 5 + [0.03, 0.1, 0.2, 0.3, 0.4, 0.5]) == [8]
    assert warned([0.02] * 5 + [0.6] + [0.0] * 5 + [0.9] * 5) == [6]  # again: not told twice
    assert warned([0.0] * 5 + [0.26, 0.0]) == [6]


def test_a_steady_share_or_one_that_falls_does_not_warn() -> None:
    assert warned([0.3] * 20) == []
    assert warned([0.9, 0.7, 0.5, 0.3, 0.2] + [0.1] * 10) == []
    assert warned([0.1, 0.2, 0.1, 0.2, 0.1] + [0.15, 0.2, 0.19, 0.17] * 3) == []
    assert warned([0.0, 0.9, 0.9]) == []  # too early to tell
    metrics = [{"fault_partial": share} for share in (0, 0, 0, 0, 0, 1)]
    assert warnings_of(metrics, set()) == []  # it is not paid


def test_the_warning_names_fault_and_shares() -> None:
    metrics = [{"fault_partial": share} for share in (0, 0, 0, 0.02, 0, 0.5)]
    (line,) = warnings_of(metrics, {"partial"})
    assert "'partial'" in line
    assert "from 0.4% to 10.4%" in line
    assert "\n" not in line


def test_permuted_rewards_stay_and_lose_their_meaning() -> None:
    episodes = [
        Episode([0], rewards=[-1.0] * (tries - 1) + [float(reward)], replies=[(0, 1)] * tries)
        for reward, tries in enumerate([1, 2, 3, 1, 2, 3, 1, 2])
    ]
    totals = [sum(episode.rewards) for episode in episodes]
    found = with_permuted_rewards(episodes, 0, 1)
    new = [sum(episode.rewards) for episode in found]
    assert sorted(new) == sorted(totals)
    assert new != totals
    assert [episode.rewards[:-1] for episode in found] == [
        [0.0] * (len(episode.rewards) - 1) for episode in episodes
    ]
    assert [sum(episode.rewards) for episode in episodes] == totals  # those are left alone
    again = [sum(episode.rewards) for episode in with_permuted_rewards(episodes, 0, 1)]
    assert again == new
    other = [sum(episode.rewards) for episode in with_permuted_rewards(episodes, 0, 2)]
    assert other != new
