"""No policy earns more by not solving, unless the published reward of unfinished ones is set."""

from itertools import product

import pytest
import torch
from pydantic import ValidationError

from svdrift.tasks import make_task
from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.game import Hand
from svdrift.tasks.general_points.settings import PlaySettings
from svdrift.training.ppo.math import gae
from svdrift.training.rollout import Episode, paid_faults

HAND = Hand(("3", "J", "5", "A"), (10, 10, 10), 24)
SOLVED = "3 10 5 1 : ( 3 * 5 ) + ( 10 - 1 )"
UNSOLVED = {
    "wrong_number": "3 10 5 1 : ( 3 * 5 ) + ( 10 - 1 ) + 2",
    "overused": "3 10 5 1 : ( 3 * 5 ) + ( 10 - 1 ) * 1",
    "unused": "3 10 5 1 : ( 3 * 5 ) + 10",
    "wrong_value": "3 10 5 1 : ( 3 * 5 ) + ( 10 + 1 )",
    "partial": "3 10 5 1 : ( 3 * 5 ) + ( 10 -",
    "illegal_formula": "3 10 5 1 : ( 3 + + 5 )",
    "unreadable": "3 10 5 1",
}


def rewards_of(settings: PlaySettings) -> dict[str, float]:
    task = make_task(settings)
    verdicts = {kind: task.verify(HAND, reply) for kind, reply in UNSOLVED.items()}
    assert all(kind == verdict.fault for kind, verdict in verdicts.items())
    solved = task.verify(HAND, SOLVED)
    assert solved.solved
    return {kind: verdict.reward for kind, verdict in verdicts.items()} | {"none": solved.reward}


def episodes(rewards: dict[str, float], tries: int) -> tuple[list[tuple[str, ...]], torch.Tensor]:
    """All episodes of up to so many tries that do not solve at the first one, and their rewards."""
    kinds = [
        (*failed, *end)
        for stalls in range(1, tries + 1)
        for failed in product(UNSOLVED, repeat=stalls)
        for end in (([], ["none"]) if stalls < tries else ([],))
    ]
    padded = [[rewards[kind] for kind in row] + [0.0] * (tries - len(row)) for row in kinds]
    return kinds, torch.tensor(padded)


def returns(rewards: torch.Tensor, gamma: float) -> torch.Tensor:
    """Of each episode from its first try, as PPO estimates it without a value."""
    nothing, everywhere = torch.zeros_like(rewards), torch.ones_like(rewards, dtype=torch.bool)
    return gae(rewards, nothing, everywhere, gamma, 1.0)[0][:, 0]


def test_the_faults_are_all_of_the_task_s() -> None:
    assert set(UNSOLVED) == set(prompts.FAULTS)


@pytest.mark.parametrize("gamma", [0.75, 0.9, 1.0])  # 1: the sum over tries, GRPO's reward
@pytest.mark.parametrize("tries", [1, 2, 5])
def test_no_policy_earns_more_by_not_solving(gamma: float, tries: int) -> None:
    rewards = rewards_of(PlaySettings())
    kinds, table = episodes(rewards, tries)
    assert len(kinds) == {1: 7, 2: 63, 5: 22_407}[tries]
    assert returns(table, gamma).max() < rewards["none"]
    # Nor is it worth giving up: every try that does not solve costs.
    assert all(rewards[kind] < 0 for kind in UNSOLVED)
    assert rewards["partial"] <= rewards["wrong_value"]
    # And each further one: stalling once more before the solution earns less.
    stalled = torch.tensor(
        [[rewards["partial"]] * n + [rewards["none"]] + [0.0] * (4 - n) for n in range(5)]
    )
    assert (returns(stalled, gamma).diff() < 0).all()


def test_the_published_reward_pays_for_stalling() -> None:
    rewards = rewards_of(PlaySettings(partial_reward=1.0))
    kinds, table = episodes(rewards, 5)
    found = returns(table, 0.9)
    assert kinds[int(found.argmax())] == ("partial",) * 4 + ("none",)
    assert (rewards["none"], round(float(found.max()), 2)) == (5.0, 6.72)
    assert returns(table, 1.0).max() == 9
    assert returns(table, 0.75).max() < 5


@pytest.mark.parametrize(("reward", "paid"), [(-1.0, set()), (1.0, {"partial"})])
def test_only_the_published_reward_pays_a_fault(reward: float, paid: set[str]) -> None:
    rewards = rewards_of(PlaySettings(partial_reward=reward))
    played = [Episode([], rewards=[rewards[kind]], faults=[kind]) for kind in rewards]
    assert paid_faults(played) == paid


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_the_reward_is_finite(reward: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        PlaySettings(partial_reward=reward)
