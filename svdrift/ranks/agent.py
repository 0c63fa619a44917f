"""A deep Q-network that chooses the matrices' ranks one after the other (after PuRL, 2007.04756).

PuRL rewards every step of an episode, not its end alone. Its state, network and hyperparameters are
published nowhere; those here are ours. An episode visits the matrices in their order; its action is
a choice of the space that leaves enough of the budget for the others (as in AMC, arXiv 1802.03494,
algorithm 1). The reward of step t of T, after the form of a predecessor of PuRL's, is

    r_t = min(s_t - s*, 0) + LAMBDA min(v_t - v*_t, 0)

with the score s_t of the model as it is after that step, s* the score of the goal (everything
repaired, or nothing compressed), v_t = 1 - cost what is saved, and v*_t the way in a straight line
from what is saved at the beginning to the budget (a constant target would punish early steps
whatever they do). A sum of running scores also pays for gaining early, so that its best policy need
not lead to the best ranks. With `dense` false the last step alone has a reward, and costs an
evaluation. Double Q-learning (arXiv 1509.06461), no discount; for each evaluation as many updates
as there are matrices, so that both kinds of reward learn from as many.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from svdrift.ranks.search import Evaluations
from svdrift.ranks.space import Ranks, Space

LAMBDA = 1.0
HIDDEN = 64
LEARNING_RATE = 1e-3
BATCH = 64
REPLAY = 10_000
COPY_EVERY = 200  # updates, after which the target network is the network
EPSILON = (1.0, 0.05)  # from, to, over the first half of the evaluations
ENERGY_AT = (0.1, 0.25, 0.5)  # shares of the ranks


class Step(NamedTuple):
    """A step of an episode."""

    state: np.ndarray
    action: int
    reward: float
    following: np.ndarray  # state
    allowed: np.ndarray  # actions there; none after the last step


def play(space: Space, score: Evaluations, rng: np.random.Generator, *, dense: bool) -> Ranks:
    """Learn until all evaluations are spent; the best ranks that were evaluated and fit.

    Args:
        space: what is chosen.
        score: judges; the goal's score costs one evaluation.
        rng: of exploration, replay and the network's weights.
        dense: whether each step is rewarded, at an evaluation each, or the last one alone.

    Raises:
        UserError: see `Evaluations.best`.
    """
    agent = _Agent(features(space).shape[1] + 3, len(space.choices), rng)
    wanted = score(space.goal)
    while score.left:
        _episode(space, score, wanted, agent, dense)
    return score.best(space)


def _episode(space: Space, score: Evaluations, wanted: float, agent: _Agent, dense: bool) -> None:
    known, rows, size = features(space), np.arange(len(space.subjects)), len(space.subjects)
    picked = np.full(size, space.first)
    saved_first, cost = 1 - space.costs[rows, picked].sum(), space.costs[rows, picked].sum()
    reached, last = 0.0, 1.0
    state = np.append(known[0], [cost, reached, last])
    for t in range(size):
        if not score.left:
            return
        allowed = _allowed(space, picked, t)
        explored = (score.limit - score.left) / (score.limit / 2)
        action = agent.act(state, allowed, max(EPSILON[1], EPSILON[0] * (1 - explored)))
        picked[t] = action
        cost, last = space.costs[rows, picked].sum(), space.choices[action]
        reward = 0.0
        if dense or t == size - 1:
            reached = score(space.ranks(picked))
            line = saved_first + (1 - space.budget - saved_first) * (t + 1) / size
            reward = min(reached - wanted, 0) + LAMBDA * min(1 - cost - line, 0)
        following = np.append(known[min(t + 1, size - 1)], [cost, reached, last])
        after = _allowed(space, picked, t + 1) if t + 1 < size else np.zeros_like(allowed)
        agent.remember(Step(state, action, reward, following, after))
        for _ in range(size if dense else 1):
            agent.learn()
        state = following


def _allowed(space: Space, picked: np.ndarray, t: int) -> np.ndarray:
    """Choices of matrix t after which the others still fit at their lowest ones."""
    rows = np.arange(len(picked))
    spent = space.costs[rows[:t], picked[:t]].sum() + space.costs[t + 1 :, 0].sum()
    return np.array([space.affords(spent + cost) for cost in space.costs[t]])


def features(space: Space) -> np.ndarray:
    """What the state tells of each matrix, shape (matrices, features).

    Layer over the number of layers (-1 outside), kind of module (one-hot), log(m / n), energy in
    the first 10, 25 and 50 % of ranks, stable rank over rank, angle to the anchor over 90 degrees.
    """
    modules = list(dict.fromkeys(one.module for one in space.subjects))
    depth = 1 + max((one.layer for one in space.subjects if one.layer is not None), default=0)
    rows = []
    for one in space.subjects:
        squares = one.values.astype(float) ** 2
        total = squares.sum() or 1.0
        held = [squares[: max(1, round(at * one.rank))].sum() / total for at in ENERGY_AT]
        rows.append(
            [
                -1.0 if one.layer is None else one.layer / depth,
                *(float(one.module == module) for module in modules),
                np.log(one.shape[0] / one.shape[1]),
                *held,
                total / max(squares.max(), np.finfo(float).tiny) / one.rank,
                one.angle / (np.pi / 2),
            ]
        )
    return np.array(rows)


class _Agent:
    """Q-network, its slower copy, and a memory of steps."""

    def __init__(self, inputs: int, actions: int, rng: np.random.Generator) -> None:
        self._rng = rng
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        self._network = _network(inputs, actions, generator)
        self._target = deepcopy(self._network)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=LEARNING_RATE)
        self._memory: deque[Step] = deque(maxlen=REPLAY)
        self._updates = 0

    def act(self, state: np.ndarray, allowed: np.ndarray, epsilon: float) -> int:
        """The allowed action of the highest value, or with chance epsilon any of them."""
        if self._rng.random() < epsilon:
            return int(self._rng.choice(np.flatnonzero(allowed)))
        with torch.inference_mode():
            values: Tensor = self._network(torch.tensor(state, dtype=torch.float32))
        return int(np.where(allowed, values.numpy(), -np.inf).argmax())

    def remember(self, step: Step) -> None:
        """Keep a step; the oldest goes where the memory is full."""
        self._memory.append(step)

    def learn(self) -> None:
        """Make one update from a batch of remembered steps, once there are enough."""
        if len(self._memory) < BATCH:
            return
        drawn = [self._memory[i] for i in self._rng.integers(len(self._memory), size=BATCH)]
        state, following = (
            torch.tensor(np.array([getattr(one, part) for one in drawn]), dtype=torch.float32)
            for part in ("state", "following")
        )
        action = torch.tensor([one.action for one in drawn])
        reward = torch.tensor([one.reward for one in drawn], dtype=torch.float32)
        allowed = torch.tensor(np.array([one.allowed for one in drawn]))
        with torch.no_grad():
            best = self._network(following).masked_fill(~allowed, -torch.inf).argmax(1)
            later = self._target(following).gather(1, best[:, None]).squeeze(1)
            wanted = reward + later * allowed.any(1)
        value = self._network(state).gather(1, action[:, None]).squeeze(1)
        loss = nn.functional.smooth_l1_loss(value, wanted)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._updates += 1
        if self._updates % COPY_EVERY == 0:
            self._target.load_state_dict(self._network.state_dict())


def _network(inputs: int, actions: int, generator: torch.Generator) -> nn.Sequential:
    network = nn.Sequential(
        nn.Linear(inputs, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, actions),
    )
    for layer in (one for one in network if isinstance(one, nn.Linear)):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
    return network
