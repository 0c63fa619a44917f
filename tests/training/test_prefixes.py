"""Replies that begin with a part of the gold reply, with a task of a few words."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks.base import Verdict
from svdrift.training.grpo import settings as grpo
from svdrift.training.ppo import settings as ppo
from svdrift.training.prefixes import begin_replies, draw_quarters, solved_by_quarters
from svdrift.training.rollout import Episode, as_tensors, play_episodes

GOLD = "a b c d e f g h i"  # nine words: quarters end after 2, 4 and 6


class Alphabet:
    """Say the letters."""

    words = (*GOLD.split(), "say", "again")

    def __init__(self):
        self.heard = []

    def first_turn(self, problem):
        return "say"

    def gold_reply(self, problem):
        return GOLD

    def verify(self, problem, reply):
        self.heard.append(reply)
        solved = reply == GOLD
        return Verdict(solved, float(solved), "none" if solved else "other", "again", False)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(Alphabet.words)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 24, "positions": 64}
    return make_model(len(tokenizer), ArchitectureSettings(**shape)).eval()


def test_each_number_of_quarters_comes_equally_often_and_by_seed_and_update() -> None:
    first = draw_quarters((0, 1, 2, 3), 10, 0, 1)
    assert sorted(Counter(first.tolist()).values()) == [2, 2, 3, 3]
    assert draw_quarters((0, 1, 2, 3), 10, 0, 1).tolist() == first.tolist()
    others = [draw_quarters((0, 1, 2, 3), 10, 0, update).tolist() for update in range(2, 6)]
    assert all(other != first.tolist() for other in others)
    assert draw_quarters((0, 1, 2, 3), 10, 1, 1).tolist() != first.tolist()
    assert draw_quarters((2,), 3, 0, 1).tolist() == [2, 2, 2]


def test_quarters_are_rounded_down_to_whole_tokens(tokenizer) -> None:
    begun = begin_replies(tokenizer, Alphabet(), [None] * 4, np.array([0, 1, 2, 3]))
    texts = [tokenizer.decode(tokens) for tokens in begun]
    assert texts == ["", "a b", "a b c d", "a b c d e f"]


def test_a_whole_reply_is_verified_and_only_what_was_sampled_counts(tokenizer, model) -> None:
    task, end = Alphabet(), tokenizer.eos_token_id
    words = {word: tokenizer.convert_tokens_to_ids(word) for word in GOLD.split()}
    rest = [words[word] for word in GOLD.split()[6:]] + [end]
    asked = []

    def reply(model, prompts, **options):
        asked.append([list(prompt) for prompt in prompts])
        return [rest for _ in prompts]

    problems = [None] * 2
    begun = begin_replies(tokenizer, task, problems, np.array([3, 0]))
    noise = [torch.zeros(2, 4) for _ in range(2)]
    episodes = play_episodes(
        model, tokenizer, task, problems, temperature=1.0, uniforms=noise, begun=begun,
        generate=reply,
    )  # fmt: skip
    # The second episode has another try, which begins with nothing.
    assert task.heard == [GOLD, "g h i", "g h i"]
    assert [len(prompts) for prompts in asked] == [2, 1]
    whole, alone = episodes
    assert (whole.solved, alone.solved) == (True, False)
    assert asked[0][0] == asked[0][1] + begun[0]  # one prompt, and what it was given
    start = len(asked[0][0])
    assert whole.replies == [(start, start + 4)]
    assert whole.tokens[start:] == rest
    rollouts = as_tensors(episodes)
    assert rollouts.weights[0].nonzero().flatten().tolist() == list(range(start, start + 4))
    assert (rollouts.actions[0] >= 0).nonzero().flatten().tolist() == list(range(start, start + 4))
    assert rollouts.states[0, 0] == start - 1


def test_solved_by_quarters() -> None:
    episodes = [Episode([], solved=solved) for solved in (True, False, True, True)]
    quarters = np.array([0, 0, 2, 2])
    found = solved_by_quarters(episodes, quarters, (0, 2, 3))
    assert list(found) == [f"solved_after_{number}_quarters" for number in (0, 2, 3)]
    assert list(found.values()) == pytest.approx([0.5, 1.0, np.nan], nan_ok=True)
    assert solved_by_quarters(episodes, quarters * 0, (0,)) == {}


@pytest.mark.parametrize("method", [ppo, grpo])
@pytest.mark.parametrize("given", [[4], [-1], [], [0.5], 2])
def test_other_numbers_of_quarters_are_refused(method, given) -> None:
    with pytest.raises(ValidationError, match="prefix_quarters"):
        method.Settings(prefix_quarters=given)


@pytest.mark.parametrize("key", [{"reasoning_weight": 0.5}, {"skip_first_token": True}])
def test_weights_of_a_whole_reply_exclude_a_prefix(key) -> None:
    with pytest.raises(ValidationError, match="prefix_quarters is not"):
        ppo.Settings(prefix_quarters=[0, 1], **key)
