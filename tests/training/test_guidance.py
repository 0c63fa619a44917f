"""What groups that fail are given, and what is learned of it, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from svdrift.errors import UserError
from svdrift.models.tiny import make_tokenizer
from svdrift.training.grpo.guidance import (
    beginning,
    beginning_losses,
    learned,
    mask_of,
    measures,
    micro_groups,
    needs,
)
from svdrift.training.grpo.settings import GuidanceSettings, Settings
from svdrift.training.rollout import Episode

P = torch.tensor([[0.5, 0.05, 0.1, 0.2], [0.01, 0.9, 0.3, 0.4]], dtype=torch.float64)
MASK = torch.tensor([[True, True, False, False], [True, False, False, False]])


class Spell:
    """The gold reply of any problem is six words, of which a colon is the second."""

    def gold_reply(self, problem):
        return f"{problem} : a b a b"


def test_micro_groups_share_out_each_group_in_turn() -> None:
    first, second, third = micro_groups((2, 1, 1), 2)
    assert first.tolist() == [[0, 1], [4, 5]]
    assert second.tolist() == [[2], [6]]
    assert third.tolist() == [[3], [7]]


@pytest.mark.parametrize(
    ("share", "after", "words"),
    [
        (0.0, ":", ""),
        (0.2, ":", "b :"),  # a share of four words, rounded down
        (0.5, ":", "b : a b"),
        (1.0, ":", "b : a b a b"),
        (0.5, None, "b : a"),
        (1.0, None, "b : a b a b"),
        (0.0, None, ""),
    ],
)
def test_a_share_counts_what_follows(share, after, words) -> None:
    tokenizer = make_tokenizer(("a", "b", ":"))
    tokens = beginning(tokenizer, Spell(), "b", share, after)
    assert tokens == tokenizer(words, add_special_tokens=False)["input_ids"]


def test_a_gold_reply_without_the_text_is_named() -> None:
    tokenizer = make_tokenizer(("a", "b", ":"))
    with pytest.raises(
        UserError, match=r"^guidance\.after: no '=' in the gold reply 'b : a b a b'"
    ):
        beginning(tokenizer, Spell(), "b", 0.5, "=")


def test_who_solves_enough_is_given_nothing() -> None:
    solved = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
    assert needs(solved, 0.5).tolist() == [False, True, False]
    assert needs(solved, 0.0).tolist() == [False] * 3
    assert needs(solved, 1.0).tolist() == [True, True, False]


def test_of_equal_beginnings_of_a_group_one_is_learned() -> None:
    given = np.array([0, 3, 3, 5, 3, 0, 0, 3])
    assert learned(given, 4).tolist() == [0, 3, 0, 5, 3, 0, 0, 0]


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        ("nll", [1, 1, 1]),
        ("trsft", [1, 0.5, 0.1]),
        # TrSFT's weights, each counted by 1 - p
        ("scaled_nll", [(0.5 * 1 + 0.95 * 0.5 + 0.99 * 0.1) / (0.5 + 0.95 + 0.99)] * 3),
    ],
)
def test_the_gradient_of_each_loss(loss, weights) -> None:
    log_probs = P.log().requires_grad_()
    settings = GuidanceSettings(loss=loss)
    beginning_losses(log_probs, MASK, settings).sum().backward()
    wanted = torch.zeros_like(P)
    wanted[MASK] = -torch.tensor(weights, dtype=torch.float64)
    torch.testing.assert_close(log_probs.grad, wanted)


def test_what_is_certain_teaches_nothing() -> None:
    certain = torch.zeros(2, 4, requires_grad=True)
    beginning_losses(certain, MASK, GuidanceSettings(loss="scaled_nll")).sum().backward()
    assert (certain.grad == 0).all()


def test_where_nothing_is_given_no_loss_is_added() -> None:
    for loss in ("nll", "trsft", "scaled_nll"):
        nothing = beginning_losses(P.log(), torch.zeros_like(MASK), GuidanceSettings(loss=loss))
        assert (nothing == 0).all()


def test_mask() -> None:
    assert mask_of(np.array([0, 2, 3]), torch.zeros(3, 3)).int().tolist() == [
        [0, 0, 0],
        [1, 1, 0],
        [1, 1, 1],
    ]


def test_measures() -> None:
    episodes = [Episode([1], solved=solved) for solved in (True, False, False, True)]
    found = measures(episodes, np.array([0, 0, 2, 4]), P[MASK].log().numpy(), 0.1)
    assert found == pytest.approx(
        {
            "guided_share": 0.5,
            "solved_free": 0.5,
            "solved_guided": 0.5,
            "given_tokens": 3,
            "given_probability": 0.56 / 3,
            "given_below_alpha": 2 / 3,
            "given_weight": 1.6 / 3,
        }
    )
    nothing = measures(episodes, np.zeros(4), np.array([]), 0.1)
    assert nothing["guided_share"] == nothing["given_tokens"] == 0
    assert np.isnan([nothing["solved_guided"], nothing["given_weight"]]).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"guidance": {"rollouts": [2, 2]}}, "shares: has 4 values for 2 rollouts"),
        (
            {"guidance": {"rollouts": [4, 4], "shares": [0.5, 1], "below": [0, 1]}},
            "shares: begins with 0.5 (allowed: 0, nothing given)",
        ),
        ({"group_size": 4, "guidance": {}}, "guidance.rollouts: add up to 8, and group_size is 4"),
        ({"guidance": {}, "prefix_quarters": [0, 1]}, "prefix_quarters: does not go with guidance"),
        ({"guidance": {}, "sampler": {"count": 128}}, "sampler: does not go with guidance"),
        ({"guidance": {}, "permute_rewards": True}, "permute_rewards: does not go with guidance"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given, said) -> None:
    with pytest.raises(ValidationError) as error:
        Settings(**given)
    assert said in str(error.value)


def test_what_looks_at_a_whole_step_takes_one_pass_in_one_process() -> None:
    """Else its weight would depend on how a step is cut up, which decides nothing else."""
    scaled = GuidanceSettings(loss="scaled_nll")
    with pytest.raises(ValidationError, match=r"micro_batch_size: 32 is a part of minibatch_size"):
        Settings(guidance=scaled, minibatch_size=128, micro_batch_size=32)
    whole = Settings(guidance=scaled, minibatch_size=128, micro_batch_size=128)
    with pytest.raises(ValueError, match=r"in one process, not 2 \(allowed: compute.processes 1"):
        whole.check_processes(2)


def test_a_group_plays_in_one_process() -> None:
    with pytest.raises(ValueError, match="guidance: 16 groups are not divisible by 32 processes"):
        Settings(guidance=GuidanceSettings()).check_processes(32)
    Settings(guidance=GuidanceSettings()).check_processes(2)
