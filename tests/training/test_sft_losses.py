"""Losses and penalties of SFT against what was worked out by hand."""

import math

import pytest
import torch

from svdrift.errors import UserError
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model
from svdrift.training.parameters import freeze
from svdrift.training.sft.experts import prefix_log_probs
from svdrift.training.sft.loss_settings import (
    DFTSettings,
    PEARSettings,
    RPSFTSettings,
    TrSFTSettings,
)
from svdrift.training.sft.losses import effective_share, summary, token_losses
from svdrift.training.sft.penalties import hold, moved
from svdrift.training.trsft import trsft

# A prompt of two tokens, a reply of four, and padding; then a reply of one token.
MASK = torch.tensor([[0, 0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0, 0]]).bool()
EXPERT = torch.tensor([[0, 0, -1.0, -2.0, 0.0, -0.5, 0], [0, 0, 0, -1.0, 0, 0, 0]])
RATIOS = torch.tensor([[0, 0, 0.5, -0.5, 0.1, 0.2, 0], [0, 0, 0, 0.2, 0, 0, 0]])
LOG_PROBS = EXPERT + RATIOS  # the log-ratios are clipped to 0.3, -0.08, 0.1, 0.2
HALF = math.log(0.5)


def weights_of(**keys):
    loss = PEARSettings(**({"gamma": 0.5} | keys))
    return token_losses(loss, LOG_PROBS, EXPERT, MASK, 0, 0).weights


@pytest.mark.parametrize(
    ("keys", "logs"),
    [
        ({"level": "sequence"}, [0.52, 0.52, 0.52, 0.52]),
        ({"level": "token"}, [0.22 + 3 * HALF, 0.3 + 2 * HALF, 0.2 + HALF, 0]),
        ({"level": "block", "block": 2}, [0.3 + 2 * HALF, 0.3 + 2 * HALF, 0, 0]),
        ({"level": "block", "block": 3}, [0.2 + HALF, 0.2 + HALF, 0.2 + HALF, 0]),
        ({"level": "block", "block": 1}, [0.22 + 3 * HALF, 0.3 + 2 * HALF, 0.2 + HALF, 0]),
        ({"level": "block", "block": 9}, [0, 0, 0, 0]),
        ({"ratio_clip": (-1, 1)}, [-0.2 + 3 * HALF, 0.3 + 2 * HALF, 0.2 + HALF, 0]),
        ({"log_weight_clip": (-1, -0.1)}, [-1, -1, 0.2 + HALF, -0.1]),
    ],
)
def test_pear_weights_the_four_tokens_of_a_reply(keys, logs):
    found = weights_of(**keys)
    torch.testing.assert_close(found[0, 2:6], torch.tensor(logs).exp())
    assert (found[~MASK] == 0).all()
    alone = 0.2 if keys.get("level") == "sequence" else keys.get("log_weight_clip", (0, 0))[1]
    assert found[1, 3].item() == pytest.approx(math.exp(alone))


def test_weights_carry_no_gradient_and_multiply_the_likelihood():
    log_probs = LOG_PROBS.clone().requires_grad_()
    found = token_losses(PEARSettings(gamma=0.5), log_probs, EXPERT, MASK, 0, 0)
    assert not found.weights.requires_grad
    torch.testing.assert_close(found.losses, found.weights * -LOG_PROBS)
    found.losses.sum().backward()
    torch.testing.assert_close(log_probs.grad, -found.weights)


def test_the_controls_of_weights():
    own, permuted, mean_one = (weights_of(weights=kind) for kind in ("own", "permuted", "mean_one"))
    assert not torch.equal(permuted, own)
    assert sorted(permuted[MASK].tolist()) == sorted(own[MASK].tolist())
    assert (permuted[~MASK] == 0).all()
    assert torch.equal(permuted, weights_of(weights="permuted"))
    torch.testing.assert_close(mean_one, own / own[MASK].mean())
    loss = PEARSettings(gamma=0.5, weights="permuted")
    steps = [token_losses(loss, LOG_PROBS, EXPERT, MASK, 0, step).weights for step in range(8)]
    assert any(not torch.equal(step, permuted) for step in steps)


def test_what_is_logged_of_pear():
    loss = PEARSettings(gamma=0.5, log_weight_clip=(-1.0, 0.0))
    found = summary(token_losses(loss, LOG_PROBS, EXPERT, MASK, 0, 0), LOG_PROBS, MASK)
    assert found["nll"].item() == pytest.approx(-LOG_PROBS[MASK].mean().item())
    assert found["log_ratio_clipped"].item() == pytest.approx(2 / 5)
    assert found["log_weight_clipped"].item() == pytest.approx(2 / 5)  # the first two
    assert found["log_ratio_q50"].item() == pytest.approx(0.2)
    assert found["log_weight_q90"].item() == pytest.approx(0.0, abs=1e-6)
    assert effective_share(torch.ones(5)).item() == pytest.approx(1)
    assert effective_share(torch.tensor([1.0, 0, 0, 0])).item() == pytest.approx(1 / 4)


def test_dft_weights_by_the_models_own_probability():
    found = token_losses(DFTSettings(), LOG_PROBS, EXPERT, MASK, 0, 0)
    torch.testing.assert_close(found.losses[MASK], -(LOG_PROBS.exp() * LOG_PROBS)[MASK])
    assert (found.losses[~MASK] == 0).all()


@pytest.mark.parametrize("alpha", [0.03, 0.1, 0.3, 1.0])
def test_trsft_is_continuous_and_has_the_published_gradient(alpha):
    """By the public code: p over the larger of p, without gradient, and alpha."""
    places = torch.tensor([1e-4, 0.02, alpha * 0.999, alpha, 0.5, 1.0], dtype=torch.float64)
    log_probs = places.log().requires_grad_()
    losses = trsft(log_probs, alpha)
    losses.sum().backward()
    other = places.log().requires_grad_()
    (-other.exp() / other.detach().exp().clamp(min=alpha)).sum().backward()
    torch.testing.assert_close(log_probs.grad, other.grad)
    torch.testing.assert_close(log_probs.grad, -(places / alpha).clamp(max=1))
    at, below = trsft(torch.tensor([alpha, alpha * (1 - 1e-9)], dtype=torch.float64).log(), alpha)
    assert at.item() == pytest.approx(below.item(), abs=1e-8)
    assert at.item() == pytest.approx(-math.log(alpha))
    rare = trsft(torch.tensor(-50.0, dtype=torch.float64), alpha).item()
    assert rare == pytest.approx(1 - math.log(alpha))  # where SFT's loss is 50
    found = token_losses(TrSFTSettings(alpha=alpha), LOG_PROBS, EXPERT, MASK, 0, 0)
    torch.testing.assert_close(found.losses[MASK], trsft(LOG_PROBS[MASK], alpha))
    torch.testing.assert_close(found.weights[MASK], (LOG_PROBS[MASK].exp() / alpha).clamp(max=1))


def test_an_expert_who_draws_from_all_replies():
    """`7 a b`, `7 a c` and `7 d`: after the 7, two of three go on with a; then one of two."""
    replies = [(7, 1, 2), (7, 1, 3), (7, 4)]
    assert prefix_log_probs((7, 1, 3), replies) == pytest.approx([0, math.log(2 / 3), HALF])
    assert prefix_log_probs((7, 4), replies) == pytest.approx([0, math.log(1 / 3)])
    for reply in replies:  # each is as likely
        assert sum(prefix_log_probs(reply, replies)) == pytest.approx(math.log(1 / 3))
    assert prefix_log_probs((7, 4), [(7, 4)]) == [0, 0]


# --------------------------------------------------------------------------------------
# RPSFT


def small_model():
    torch.manual_seed(0)
    shape = ArchitectureSettings(hidden_size=16, layers=1, heads=2, intermediate_size=24)
    model = make_model(20, shape)
    freeze(model, embeddings=True)
    return model


def shaken(model):
    """The model after a change of all weights, and each linear weight before and after."""
    names = [name for name, _ in model.named_parameters() if "proj" in name]
    before = {name: model.get_parameter(name).detach().clone() for name in names}
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return [(before[name], model.get_parameter(name).detach()) for name in names]


def test_the_penalty_is_that_of_whole_singular_vectors():
    model = small_model()
    held = hold(model, RPSFTSettings(rank=5), seed=0)
    assert [moved(one).item() for one in held] == pytest.approx([0] * 7, abs=1e-8)
    for one, (before, after) in zip(held, shaken(model), strict=True):
        left, _, right = torch.linalg.svd(before.double())
        wanted = torch.linalg.norm(left[:, :5].T @ (after - before).double() @ right[:5].T) ** 2
        assert moved(one).item() == pytest.approx(wanted.item(), rel=1e-4)
    sum(moved(one) for one in held).backward()
    first = held[0]
    core = first.left.T @ first.weight.detach() @ first.right - first.start
    torch.testing.assert_close(first.weight.grad, 2 * first.left @ core @ first.right.T)


def test_the_controls_of_the_penalty():
    model = small_model()
    kinds = {
        "leading": RPSFTSettings(rank=5),
        "random": RPSFTSettings(rank=5, subspaces="random"),
        "full": RPSFTSettings(rank=16, subspaces="random"),
        "whole": RPSFTSettings(subspaces="whole"),
    }
    held = {name: hold(model, loss, seed=3) for name, loss in kinds.items()}
    again = hold(model, kinds["random"], seed=3)
    weights = shaken(model)
    found = {name: [moved(one).item() for one in ones] for name, ones in held.items()}
    assert found["whole"] == pytest.approx(
        [((after - before) ** 2).sum().item() for before, after in weights], rel=1e-4
    )
    square = [i for i, (before, _) in enumerate(weights) if before.shape == (16, 16)]
    assert [found["full"][i] for i in square] == pytest.approx(
        [found["whole"][i] for i in square], rel=1e-4
    )
    assert found["random"] == [moved(one).item() for one in again]
    assert all(abs(a - b) > 1e-4 for a, b in zip(found["random"], found["leading"], strict=True))
    for one in held["random"]:
        torch.testing.assert_close(one.left.T @ one.left, torch.eye(5))


def test_more_dimensions_than_a_matrix_has_are_refused():
    with pytest.raises(UserError, match=r"loss.rank: 17 is more .*q_proj \(allowed: up to 16\)"):
        hold(small_model(), RPSFTSettings(rank=17), seed=0)
