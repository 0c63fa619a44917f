"""The mathematics of PPO against hand-worked cases, numpy and scipy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import entropy as scipy_entropy

from svdrift.training import likelihood
from svdrift.training.ppo import math as ppo_math

UNIT = st.floats(0, 1)


def test_log_probs_and_entropy_are_those_of_the_tempered_softmax():
    rng = np.random.default_rng(0)
    logits, tokens = rng.normal(size=(2, 3, 7)) * 4, rng.integers(7, size=(2, 3))
    expected = log_softmax(logits / 0.2, axis=-1)
    log_probs, entropy = likelihood.sampled_log_probs(
        torch.tensor(logits), torch.tensor(tokens), temperature=0.2
    )
    wanted = np.take_along_axis(expected, tokens[..., None], -1)[..., 0]
    np.testing.assert_allclose(log_probs, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(entropy, scipy_entropy(np.exp(expected), axis=-1), atol=1e-5)


def test_sum_by_action_leaves_out_what_belongs_to_no_action():
    values = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0], [1.0, 2.0, 4.0, 8.0, 16.0]])
    actions = torch.tensor([[-1, 0, 0, -1, 1], [0, -1, -1, -1, -1]])
    assert ppo_math.sum_by_action(values, actions, 2).tolist() == [[6.0, 16.0], [1.0, 0.0]]


def test_gae_of_a_hand_worked_episode():
    # Last action: 1 - 0.25 = 0.75. First: delta = 0 + 0.5 * 0.25 - 0.5 = -0.375,
    # advantage = -0.375 + 0.5 * 0.8 * 0.75 = -0.075.
    advantages, returns = ppo_math.gae(
        torch.tensor([[0.0, 1.0]]),
        torch.tensor([[0.5, 0.25]]),
        torch.tensor([[True, True]]),
        gamma=0.5,
        lam=0.8,
    )
    torch.testing.assert_close(advantages, torch.tensor([[-0.075, 0.75]]))
    torch.testing.assert_close(returns, torch.tensor([[0.425, 1.0]]))


def plain_gae(rewards, values, gamma, lam):
    """The definition: advantage t is the sum over l of (gamma lambda)^l delta (t + l)."""
    following = [*values[1:], 0.0]
    deltas = [r + gamma * n - v for r, n, v in zip(rewards, following, values, strict=True)]
    return [
        sum((gamma * lam) ** k * delta for k, delta in enumerate(deltas[t:]))
        for t in range(len(deltas))
    ]


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), gamma=UNIT, lam=UNIT)
def test_gae_of_a_ragged_batch_is_that_of_each_episode_alone(lengths, gamma, lam):
    rng = np.random.default_rng(sum(lengths))
    size = (len(lengths), max(lengths))
    rewards, values = rng.normal(size=size), rng.normal(size=size)  # padding holds noise as well
    mask = np.arange(size[1]) < np.array(lengths)[:, None]
    advantages, returns = ppo_math.gae(
        torch.tensor(rewards), torch.tensor(values), torch.tensor(mask), gamma, lam
    )
    for row, length in enumerate(lengths):
        expected = plain_gae(rewards[row, :length], values[row, :length], gamma, lam)
        np.testing.assert_allclose(advantages[row, :length], expected, atol=1e-12)
        np.testing.assert_allclose(returns[row, :length], expected + values[row, :length])
    assert not advantages[~torch.tensor(mask)].any()
    assert not returns[~torch.tensor(mask)].any()


def test_whitening_looks_only_at_the_mask():
    values = torch.tensor([[1.0, 3.0], [5.0, 999.0]])
    mask = torch.tensor([[True, True], [True, False]])
    expected = (np.array([1, 3, 5]) - 3) / np.std([1, 3, 5])
    white = ppo_math.whiten(values, mask)
    np.testing.assert_allclose(white[mask], expected, rtol=1e-6)
    assert white[1, 1] == 0


def test_whitening_equal_values_gives_zero():
    assert not ppo_math.whiten(torch.full((2, 2), 0.7), torch.ones(2, 2, dtype=torch.bool)).any()


@pytest.mark.parametrize(
    ("ratio", "advantage", "above", "loss", "slope"),
    [
        (1.0, 2.0, None, -2.0, -2.0),
        (1.5, 2.0, None, -2.2, 0.0),  # gain is clipped at 1.1
        (1.5, -2.0, None, 3.0, 2.0),  # loss is not
        (0.5, -2.0, None, 1.8, 0.0),
        (0.5, 2.0, None, -1.0, -2.0),
        (11.0, -2.0, None, 22.0, 2.0),
        (11.0, -2.0, 10.0, 2.2, 0.0),  # as published: the unclipped branch is dropped
        (9.0, -2.0, 10.0, 18.0, 2.0),
    ],
)
def test_clipped_policy_loss(ratio, advantage, above, loss, slope):
    ratios = torch.tensor([ratio], requires_grad=True)
    losses = ppo_math.policy_losses(ratios, torch.tensor([advantage]), 0.1, above)
    losses.sum().backward()
    assert losses.item() == pytest.approx(loss)
    assert ratios.grad.item() == pytest.approx(slope)


@pytest.mark.parametrize(
    ("value", "old", "target", "clip", "loss"),
    [
        (1.0, 0.0, 2.0, None, 0.5),
        (1.0, 0.0, 2.0, 0.1, 0.5 * 1.9**2),  # came nearer by more than the clip
        (-1.0, 0.0, 2.0, 0.1, 0.5 * 9),  # went away: the larger error counts
        (0.05, 0.0, 2.0, 0.1, 0.5 * 1.95**2),
    ],
)
def test_clipped_value_loss(value, old, target, clip, loss):
    tensors = (torch.tensor([x]) for x in (value, old, target))
    assert ppo_math.value_losses(*tensors, clip).item() == pytest.approx(loss)


def test_k3_is_positive_and_right_on_average():
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    samples = likelihood.k3(torch.tensor(np.log(p)), torch.tensor(np.log(q)))
    assert (samples >= 0).all()
    assert (p * samples.numpy()).sum() == pytest.approx(scipy_entropy(p, q))


def test_explained_variance():
    returns = torch.tensor([0.0, 1.0, 2.0])
    assert ppo_math.explained_variance(returns, returns) == 1
    assert ppo_math.explained_variance(torch.full((3,), 9.0), returns) == 0
    assert ppo_math.explained_variance(-returns, returns) == pytest.approx(-3)
    nearly = torch.tensor([0.6, 0.6 + 1e-7, 0.6])
    assert math.isnan(ppo_math.explained_variance(returns, nearly))


def test_learning_rate_is_torchs_cosine():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7, eta_min=1e-5)
    for update in range(7):
        ours = ppo_math.cosine_learning_rate(update, 7, 1e-3, 1e-5)
        assert ours == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert ppo_math.cosine_learning_rate(5, 7, 1e-3, None) == 1e-3


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=50))
def test_histogram_counts_as_numpy_does(values):
    bins = ppo_math.histogram(torch.tensor(values), 0.25)
    lows, highs, counts = zip(*bins, strict=True)
    assert lows[1:] == highs[:-1]
    assert counts[0] > 0
    assert counts[-1] > 0
    inside = [(np.array(values) >= low) & (np.array(values) < high) for low, high, _ in bins]
    assert tuple(int(i.sum()) for i in inside) == counts
