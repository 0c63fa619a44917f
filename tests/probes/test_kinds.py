"""Each kind against slow ways to find the same, on a model with random weights."""

import json

import numpy as np
import pandas as pd
import pytest

from svdrift.models.chat import conversation_tokens, prompt_tokens
from svdrift.models.losses import tokenise
from svdrift.probes.kinds import given, losses, samples, scores
from svdrift.probes.probe import load, record, settings_class
from svdrift.probes.scoring import score
from svdrift.tasks.general_points.probing import Probing
from svdrift.tasks.general_points.settings import PlaySettings
from svdrift.tasks.general_points.solver import solutions
from tests.probes.conftest import random_model

KINDS = ["function_space", "given", "losses", "sample_effect", "samples", "scores"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_what_the_workflow_reads(kind):
    assert record(kind).label
    assert settings_class(kind).__doc__
    assert callable(load(kind).measure)


# ------------------------------------------------------------------------------------ losses


def test_losses_are_those_of_each_reply_alone(probed, hands, tokenizer):
    given_ = probed("losses")
    found = losses.measure(given_)
    task, probing = given_.task, Probing(PlaySettings())
    for row, problem in zip(found.to_dict("records"), task.read(hands), strict=True):
        turn = task.first_turn(problem)
        (own,) = score(given_.model, tokenise(tokenizer, [(turn, task.gold_reply(problem))]))
        assert row["loss"] == pytest.approx(-own.log_probs.sum(), rel=1e-4)
        assert row["tokens"] == len(own.log_probs)
        assert row["loss_translation"] + row["loss_formula"] == pytest.approx(row["loss"])
        # Four numbers and the colon are the translation.
        assert row["loss_translation"] == pytest.approx(-own.log_probs[:5].sum(), rel=1e-4)
        every = [
            float(score(given_.model, tokenise(tokenizer, [(turn, reply)]))[0].log_probs.sum())
            for reply in probing.replies(problem)
        ]
        assert row["set_loss"] == pytest.approx(-np.log(np.sum(np.exp(every))), rel=1e-4)
        assert row["set_size"] == len(solutions(problem.numbers, problem.target))
        assert row["set_loss"] <= row["loss"] + 1e-6


def test_a_token_belongs_to_the_part_in_which_it_ends():
    parts = {"head": (0, 4), "tail": (4, 9)}
    found = losses.by_part(-np.array([1.0, 2.0, 4.0, 8.0]), [2, 4, 6, 10], parts)
    assert found == {"loss_head": 3.0, "loss_tail": 12.0}  # what closes the turn is the last's


def test_a_template_that_changes_the_reply_is_refused(tokenizer):
    with pytest.raises(ValueError, match="5 tokens alone and 3"):
        losses.token_ends(tokenizer, "3 10 5 1 :", 3)


# ------------------------------------------------------------------------------------ samples


def test_samples_do_not_depend_on_the_batch_or_on_other_problems(probed, hands):
    settings = {"samples": 5}
    whole = samples.measure(probed("samples", settings=settings))
    again = samples.measure(probed("samples", settings=settings, batch_size=7))
    fewer = samples.measure(probed("samples", settings=settings, problems=hands.iloc[3:6]))
    numbers = ["entropy", "log_prob", "confidence"]
    pd.testing.assert_frame_equal(whole.drop(columns=numbers), again.drop(columns=numbers))
    np.testing.assert_allclose(whole[numbers], again[numbers], rtol=1e-5)
    assert list(fewer["rewards"]) == list(whole["rewards"].iloc[3:6])


def test_samples_count_right_replies_and_different_ones(probed, hands, tokenizer):
    """With a model that is replaced by a script: right twice alike, right otherwise, wrong."""
    task = probed("samples").task
    problems = task.read(hands)
    replies = [Probing(PlaySettings()).replies(problem) for problem in problems]
    script = [[own[0], own[0], own[-1], "1 1 1 1 : 1"] for own in replies]

    def scripted(model, prompts, temperature, **_):
        turns = [[task.first_turn(problem)] for problem in problems]
        count = 4 if temperature else 1  # the first one is the greedy one, too
        texts = [text for four in script for text in four[:count]]
        pairs = zip([turn for turn in turns for _ in range(count)], texts, strict=True)
        whole = conversation_tokens(tokenizer, [[*turn, text] for turn, text in pairs])
        return [list(one[len(p) :]) for one, p in zip(whole, prompts, strict=True)]

    given_ = probed("samples", settings={"samples": 4}, generate=scripted)
    found = samples.measure(given_)
    assert list(found["samples"]) == [4] * len(hands)
    assert list(found["correct"]) == [3] * len(hands)
    assert list(found["distinct"]) == [len({own[0], own[-1]}) for own in replies]
    assert all(rewards[:3] == [5.0] * 3 and rewards[3] < 0 for rewards in found["rewards"])
    assert list(found["translated"]) == [0.75] * len(hands)
    assert found["greedy_solved"].all()
    assert set(found["greedy_fault"]) == {"none"}
    same = [np.mean([text == own[0] for text in own]) for own in script]
    assert list(found["agreement"]) == same
    pairs = [(task.first_turn(one), own[0]) for one, own in zip(problems, script, strict=True)]
    alone = [score(given_.model, [one])[0] for one in tokenise(tokenizer, pairs)]
    assert found["confidence"].to_list() == pytest.approx(
        [np.exp(one.log_probs.mean()) for one in alone], rel=1e-4
    )


# ------------------------------------------------------------------------------------ given


def test_what_is_given_is_a_part_of_the_reply(probed, hands, tokenizer):
    """A script that goes on as the gold reply does solves with every help but the values."""
    task = probed("given").task
    problems = task.read(hands)
    whole = conversation_tokens(
        tokenizer, [[task.first_turn(one), task.gold_reply(one)] for one in problems]
    )

    def gold(model, prompts, **_):
        starts = [one[: len(prompt)] for one, prompt in zip(whole, prompts, strict=True)]
        return [
            one[len(prompt) :] if start == prompt else []
            for one, start, prompt in zip(whole, starts, prompts, strict=True)
        ]

    found = given.measure(probed("given", generate=gold))
    solved = found.groupby("given")["solved"].mean()
    assert dict(solved) == {
        "nothing": 1.0,
        "values": 0.0,  # another prompt
        "translation": 1.0,
        "one_operation": 1.0,
        "two_operations": 1.0,
    }
    assert found["n_forms"].min() >= 1


def test_nothing_given_is_the_usual_prompt(probed, hands, tokenizer):
    helps = [Probing(PlaySettings()).helped(one) for one in probed("given").task.read(hands)]
    prompts, starts = given.begin(tokenizer, [help["nothing"] for help in helps])
    assert prompts == prompt_tokens(tokenizer, [[help["nothing"].turn] for help in helps])
    assert starts == [len(prompt) for prompt in prompts]


# ------------------------------------------------------------------------------------ scores


def test_scores_tell_right_replies_by_another_rule(probed, hands):
    task, probing = probed("scores").task, Probing(PlaySettings())
    problems = task.read(hands)
    others = [probing.under_other_rules(one)["tens"] for one in problems]
    solvable = [bool(solutions(other.numbers, 24)) for other in others]
    assert any(solvable)
    replies = [
        task.gold_reply(other) if can else "" for other, can in zip(others, solvable, strict=True)
    ]
    episodes = pd.DataFrame({"problem": hands["problem"], "reply": replies}).iloc[::-1]
    found = scores.measure(probed("scores", model=None, episodes=episodes))
    assert list(found["problem"]) == list(hands["problem"])
    assert list(found["has_other_rule"]) == solvable
    assert list(found["other_rule"]) == solvable
    assert not found["valid"].any()
    right = episodes.assign(reply=hands["gold"].to_numpy()[::-1])
    found = scores.measure(probed("scores", model=None, episodes=right))
    assert found[["valid", "expert_match", "same_form"]].all(axis=None)
    assert not found["other_rule"].any()


# ------------------------------------------------------------------------------------ space


def test_going_all_the_way_back_is_seen_by_every_metric(probed, tokenizer, tmp_path):
    from svdrift.models.loading import save_checkpoint
    from svdrift.probes.kinds import function_space

    peak, start = random_model(tokenizer, 0), random_model(tokenizer, 1)
    for name, model in {"peak": peak, "start": start}.items():
        save_checkpoint(model, tokenizer, tmp_path / name, None)
    found = function_space.measure(
        probed(
            "function_space",
            settings={"peak": "sft@4", "draws": 2},
            others={name: tmp_path / name for name in ("peak", "start")},
        )
    )
    own, noise = found[found["change"] == "own"], found[found["change"] == "noise"]
    assert len(own) == 9
    assert len(noise) == 18
    assert (own["back"] > 0).all(), own
    assert own.set_index("metric").loc[["cosine", "Jaccard", "linear CKA"], "at_end"].to_list() == (
        pytest.approx([1, 1, 1])
    )
    far = own.loc[own["metric"].isin(["Jensen-Shannon", "Hellinger", "entropy"]), "at_end"]
    assert far.to_list() == pytest.approx([0, 0, 0], abs=1e-6)
    assert set(own["wins"].dropna()) == {1.0}
    json.dumps(noise["back"].mean())  # a number
