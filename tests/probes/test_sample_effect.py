"""Sample effects against one backward pass a reply, and against small steps."""

import numpy as np
import pandas as pd
import pytest
import torch

from svdrift.models.chat import conversation_tokens, prompt_tokens
from svdrift.models.losses import tokenise
from svdrift.probes.gradients import along, as_adam_steps, weighted_gradient
from svdrift.probes.kinds import sample_effect
from svdrift.tasks.general_points.probing import Probing
from svdrift.tasks.general_points.settings import PlaySettings
from svdrift.training.parameters import freeze
from tests.probes.conftest import random_model

TURN = "J= 10 Q= 10 K= 10 target 24 cards 3 J 5 A answer"
PAIRS = [
    (TURN, "3 10 5 1 : ( ( 3 * 5 ) + 10 ) - 1"),
    (TURN, "3 10"),
    ("target 24", "3 10 5 1"),
    (TURN, "1 1 1 1 : 1"),
]


def log_prob(model, example, temperature=1.0):
    """Of a reply, by a pass of its own."""
    tokens, start = example
    logits = model(torch.tensor([tokens])).logits[0] / temperature
    found = torch.log_softmax(logits, dim=-1)
    return sum(found[at - 1, tokens[at]] for at in range(start, len(tokens)))


def gradient(model, example, temperature=1.0):
    """Of a reply's log-probability, by a backward pass of its own."""
    model.zero_grad()
    log_prob(model, example, temperature).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def dot(one, two):
    assert one.keys() == two.keys()
    return float(sum((one[name] * two[name]).sum() for name in one))


def summed(gradients, weights):
    return {
        name: sum(w * one[name] for one, w in zip(gradients, weights, strict=True))
        for name in gradients[0]
    }


@pytest.fixture
def model(tokenizer):
    """One whose embedding and head stay, as in training."""
    found = random_model(tokenizer, 0)
    freeze(found, embeddings=True)
    return found


def direction(model):
    torch.manual_seed(1)
    return {n: torch.randn_like(p) for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("batch_size", [1, 256])
def test_forward_mode_is_the_gradients_inner_product(tokenizer, model, batch_size):
    examples, toward = tokenise(tokenizer, PAIRS), direction(model)
    log_probs, slopes = along(model, examples, toward, batch_size=batch_size)
    for example, own, slope in zip(examples, log_probs, slopes, strict=True):
        assert len(own) == len(slope) == len(example[0]) - example[1]
        assert own.sum() == pytest.approx(log_prob(model, example).item(), rel=1e-4)
        assert slope.sum() == pytest.approx(dot(gradient(model, example), toward), rel=1e-3)


def test_forward_mode_is_what_a_small_step_does(tokenizer, model):
    examples, toward = tokenise(tokenizer, PAIRS), direction(model)
    model.double()
    _, slopes = along(model, examples, toward)
    step = 1e-4

    def moved(by):
        with torch.no_grad():
            for name, part in toward.items():
                model.get_parameter(name).add_(by * part)
            return np.array([log_prob(model, example).item() for example in examples])

    up, down = moved(step), moved(-2 * step)
    expected = (up - down) / (2 * step)
    assert [slope.sum() for slope in slopes] == pytest.approx(expected.tolist(), rel=1e-3, abs=5e-3)
    assert np.abs(expected).min() > 0.1  # of the size of what the step is tested for


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_the_weighted_gradient_is_that_of_each_reply_alone(tokenizer, model, batch_size):
    examples, weights = tokenise(tokenizer, PAIRS), [0.5, -1.0, 0.0, 2.0]
    found = weighted_gradient(model, examples, weights, temperature=0.7, batch_size=batch_size)
    expected = summed([gradient(model, one, 0.7) for one in examples], weights)
    assert found.keys() == expected.keys()
    assert not any("embed" in name or "lm_head" in name for name in found)
    for name, part in expected.items():
        torch.testing.assert_close(found[name], part, rtol=1e-3, atol=1e-5)


def test_adam_divides_by_the_root_of_the_mean_square_of_minibatches(tokenizer, model):
    examples, toward = tokenise(tokenizer, PAIRS), direction(model)
    found = as_adam_steps(model, toward, examples, minibatch_size=2)
    each = [gradient(model, one) for one in examples]
    tokens = [len(own) - start for own, start in examples]
    first, second = (summed(each[i : i + 2], [1 / (tokens[i] + tokens[i + 1])] * 2) for i in (0, 2))
    for name, part in toward.items():
        moment = (first[name] ** 2 + second[name] ** 2) / 2
        expected = torch.where(moment > 0, part / (moment.sqrt() + 1e-8), 0.0)
        torch.testing.assert_close(found[name], expected, rtol=1e-2, atol=1e-3)
    # One that is left over at the end is left out, and all of fewer are one minibatch.
    three = as_adam_steps(model, toward, examples[:3], minibatch_size=2)
    two = as_adam_steps(model, toward, examples[:2], minibatch_size=9)
    for name, part in two.items():
        torch.testing.assert_close(three[name], part)


def test_what_no_minibatch_reaches_does_not_move(tokenizer):
    whole = random_model(tokenizer, 0)
    found = as_adam_steps(whole, direction(whole), tokenise(tokenizer, PAIRS), minibatch_size=4)
    embedding = found["model.embed_tokens.weight"]
    unseen = tokenizer.convert_tokens_to_ids("7")
    assert (embedding[unseen] == 0).all()
    assert all(part.isfinite().all() and part.any() for part in found.values())


@pytest.fixture
def measured(probed, hands, tokenizer):
    """A table, and the replies of a script: of each problem two right ones and two wrong ones."""
    task = probed("samples").task
    problems = task.read(hands)
    right = [Probing(PlaySettings()).replies(problem)[0] for problem in problems]
    script = [[own, "1 1 1 1 : 1", own, "1 1"] for own in right]
    turns = [task.first_turn(problem) for problem in problems]
    whole = {
        turn: conversation_tokens(tokenizer, [[turn, text] for text in texts])
        for turn, texts in zip(turns, script, strict=True)
    }

    def scripted(model, prompts, **_):
        ids = [one for turn in turns for one in whole[turn]]
        return [list(one[len(p) :]) for one, p in zip(ids, prompts, strict=True)]

    wrong = pd.DataFrame(hands).assign(reply="1 1 1 1 : 1")
    settings = {"samples": 4, "minibatch_size": 4, "data": {"gold": "a", "wrong": "b"}}

    def make(**changed):
        given = {
            "settings": settings,
            "generate": scripted,
            "data": {"gold": hands, "wrong": wrong},
        }
        return sample_effect.measure(probed("sample_effect", **given | changed))

    return make, task, turns, script, settings


def test_effects_are_those_by_hand(measured, hands, tokenizer):
    make, task, turns, script, _ = measured
    found = make()
    assert list(found["data"]) == ["gold"] * len(hands) + ["wrong"] * len(hands)
    assert list(found["problem"]) == list(hands["problem"]) * 2
    model = random_model(tokenizer, 0)
    freeze(model, embeddings=True)
    problems = task.read(hands)
    gradients, weights = [], []
    for turn, problem, texts in zip(turns, problems, script, strict=True):
        rewards = [task.verify(problem, text).reward for text in texts]
        assert len(set(rewards)) > 1
        gradients += [
            gradient(model, one) for one in tokenise(tokenizer, [(turn, t) for t in texts])
        ]
        weights += [(r - np.mean(rewards)) / (4 * len(hands)) for r in rewards]
    toward = summed(gradients, weights)
    assert found["gradient_norm"].to_list() == pytest.approx(
        [dot(toward, toward) ** 0.5] * len(found), rel=1e-3
    )
    gold = [(turn, task.gold_reply(one)) for turn, one in zip(turns, problems, strict=True)]
    pairs = gold + [(turn, "1 1 1 1 : 1") for turn in turns]
    examples = tokenise(tokenizer, pairs)
    for row, example in zip(found.to_dict("records"), examples, strict=True):
        expected = dot(gradient(model, example), toward)
        assert row["effect"] == pytest.approx(expected, rel=1e-2, abs=1e-3)
        assert row["tokens"] == len(example[0]) - example[1]
        assert row["log_prob"] == pytest.approx(log_prob(model, example).item(), rel=1e-4)
    for data, own in found.groupby("data"):
        mine = examples[: len(hands)] if data == "gold" else examples[len(hands) :]
        steps = as_adam_steps(model, toward, mine, minibatch_size=4)
        expected = [dot(gradient(model, one), steps) for one in mine]
        by_adam = own["adam_effect"]
        np.testing.assert_allclose(by_adam, expected, rtol=2e-2, atol=np.abs(expected).max() / 100)
    # What is rewarded in the samples is what it pays to learn.
    means = found.groupby("data")[["effect", "adam_effect"]].mean()
    assert (means.loc["gold"] > means.loc["wrong"]).all()


def test_batches_do_not_matter_and_rows_are_the_first(measured, hands):
    make, *_, settings = measured
    whole, again = make(), make(batch_size=7)
    numbers = ["log_prob", "effect", "adam_effect", "gradient_norm"]
    pd.testing.assert_frame_equal(whole.drop(columns=numbers), again.drop(columns=numbers))
    np.testing.assert_allclose(whole[numbers], again[numbers], rtol=1e-3, atol=1e-4)
    few = make(settings=settings | {"rows": 3})
    assert len(few) == 6
    first = whole.groupby("data", sort=False).head(3).reset_index(drop=True)
    same = ["log_prob", "effect"]  # of the rows alone, unlike Adam's moment
    np.testing.assert_allclose(few[same], first[same], rtol=1e-3, atol=1e-4)


def test_problems_whose_samples_earn_alike_teach_nothing(measured, hands, tokenizer):
    make, _, turns, *_ = measured
    prompts = prompt_tokens(tokenizer, [[turn] for turn in turns for _ in range(4)])
    whole = conversation_tokens(tokenizer, [[turn, "1 1"] for turn in turns for _ in range(4)])

    def always(model, given, **_):
        assert list(map(list, given)) == list(map(list, prompts))
        return [list(one[len(p) :]) for one, p in zip(whole, prompts, strict=True)]

    found = make(generate=always)
    assert (found[["effect", "adam_effect", "gradient_norm"]] == 0).all(axis=None)
    assert (found["log_prob"] < 0).all()
