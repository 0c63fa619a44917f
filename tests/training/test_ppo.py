"""PPO from rollout to snapshot, with a small task of its own and a model of a few weights.

Run as a program, this file trains once and writes what came out: the tests with several processes
start it under `accelerate launch`.
"""

import json
import os
import shutil
import signal
import sys
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from torch.profiler import profile

from svdrift.errors import UserError
from svdrift.live import FILE, OFF, LiveMetrics, last_row
from svdrift.models.chat import prompt_tokens
from svdrift.models.generation import generate
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks.base import Verdict
from svdrift.training import draws
from svdrift.training.ppo import train as ppo
from svdrift.training.ppo.network import ActorCritic
from svdrift.training.ppo.settings import Settings
from svdrift.training.processes import leave
from svdrift.training.rollout import Episode, as_tensors, play_episodes

LETTERS = ("a", "b", "c", "d")
FEW = {
    "updates": 4,
    "episodes": 10,
    "minibatch_size": 5,
    "micro_batch_size": 3,
    "learning_rate": 1e-2,
    "tries": 2,
}


class Echo:
    """Say the letter again; a reply may be of any length."""

    faults = ("other",)
    words = (*LETTERS, "say", "again", "formula")

    def read(self, table):
        return list(table["letter"])

    def first_turn(self, problem):
        return f"say {problem}"

    def gold_reply(self, problem):
        return f"{problem} again say again"

    def verify(self, problem, reply):
        if reply.split() == [problem]:
            return Verdict(True, 1.0, "none", "", True)
        return Verdict(False, -1.0, "other", "again", False)


PROBLEMS = pd.DataFrame({"letter": [*LETTERS, "a", "b", "c"]})


def make_start(folder, tied=False):
    tokenizer = make_tokenizer(Echo.words)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 24, "positions": 64}
    model = make_model(len(tokenizer), ArchitectureSettings(**shape))
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    save_checkpoint(model, tokenizer, folder)


def train(
    start,
    work,
    settings,
    progress=lambda updates, *_: updates,
    key="a run",
    problems=PROBLEMS,
    generate=generate,
    keep=None,
    live=OFF,
):
    chosen = Settings(**settings)
    return ppo.train_ppo(
        start,
        Echo(),
        problems,
        chosen,
        keep=keep or sorted({min(2, chosen.updates), chosen.updates}),
        seed=3,
        max_new_tokens=3,
        accelerator=ppo.make_accelerator(),
        work=work,
        key=key,
        progress=progress,
        generate=generate,
        live=live,
    )


@pytest.fixture(scope="module", autouse=True)
def on_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setenv("ACCELERATE_MIXED_PRECISION", "no")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # more only get in each other's way in a model this small
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start") / "model"
    make_start(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(start):
    return load_tokenizer(start)


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def play(start, tokenizer, count=6, generate=generate, **settings):
    """Episodes of the untrained model."""
    chosen = Settings(**settings)
    uniforms = [
        torch.from_numpy(draws.generator(1, number).random((count, 4)))
        for number in range(chosen.tries)
    ]
    problems = [LETTERS[i % 4] for i in range(count)]
    model = load_model(start)
    episodes = play_episodes(
        model,
        tokenizer,
        Echo(),
        problems,
        temperature=chosen.temperature,
        uniforms=uniforms,
        weigh=partial(ppo.reply_weights, settings=chosen),
        generate=generate,
    )
    rollouts = as_tensors(
        episodes, by_turn=chosen.granularity == "turn", reward_scale=chosen.reward_scale
    )
    return episodes, rollouts, chosen


# --------------------------------------------------------------------------------------
# Rollout


def test_an_episode_is_prompt_sampled_tokens_and_template(start, tokenizer):
    scripted = iter(
        [["b <eos>", "d <eos>", "c c"], ["a <eos>", "c c", "<unk> <eos>"], ["d d", "c <eos>"]]
    )
    asked = []

    def scripted_generate(model, prompts, **_):
        asked.append([list(prompt) for prompt in prompts])
        return [ids(tokenizer, text) for text in next(scripted)]

    # a, b, c are to be said
    episodes, _, _ = play(start, tokenizer, count=3, generate=scripted_generate, tries=3)
    # Who stops gets no second <eos>; who is cut off gets the template's.
    told = [
        "<user> say a <reply> b <eos> <user> again <reply> a <eos>",
        "<user> say b <reply> d <eos> <user> again <reply> c c <eos> <user> again <reply> d d",
        "<user> say c <reply> c c <eos> <user> again <reply> <unk> <eos> <user> again <reply> "
        "c <eos>",
    ]
    assert [episode.tokens for episode in episodes] == [ids(tokenizer, text) for text in told]
    assert episodes[1].replies == [(4, 6), (9, 11), (15, 17)]
    assert [episode.rewards for episode in episodes] == [[-1, 1], [-1, -1, -1], [-1, -1, 1]]
    assert [episode.solved for episode in episodes] == [True, False, True]
    # The prompt of the second try is what evaluation renders from the turns.
    assert asked[1] == prompt_tokens(
        tokenizer, [["say a", "b", "again"], ["say b", "d", "again"], ["say c", "c c", "again"]]
    )
    assert len(asked[2]) == 2
    for episode in episodes:
        sampled = [t for first, last in episode.replies for t in range(first, last)]
        assert [t for t, weight in enumerate(episode.weights) if weight == 1] == sampled


def test_as_tensors_by_turn_and_by_token(tokenizer):
    episodes = [
        Episode(
            tokens=[5, 6, 7, 8, 9, 5, 6],
            replies=[(1, 3), (5, 7)],
            weights=[0, 1, 1, 0, 0, 1, 1],
            rewards=[-1.0, 1.0],
            solved=True,
        ),
        Episode(tokens=[5, 6, 7], replies=[(2, 3)], weights=[0, 0, 1], rewards=[-3.0]),
    ]
    turns = as_tensors(episodes, reward_scale=0.5)
    assert turns.tokens.tolist() == [[5, 6, 7, 8, 9, 5, 6], [5, 6, 7, 0, 0, 0, 0]]
    assert turns.actions.tolist() == [[-1, 0, 0, -1, -1, 1, 1], [-1, -1, 0, -1, -1, -1, -1]]
    assert turns.states.tolist() == [[0, 4], [1, 0]]
    assert turns.mask.tolist() == [[True, True], [True, False]]
    assert turns.rewards.tolist() == [[-0.5, 0.5], [-1.5, 0.0]]
    tokens = as_tensors(episodes, by_turn=False)
    assert tokens.actions[0].tolist() == [-1, 0, 1, -1, -1, 2, 3]
    assert tokens.states[0].tolist() == [0, 1, 4, 5]
    assert tokens.rewards.tolist() == [[0, -1, 0, 1], [-3, 0, 0, 0]]
    one = turns.select(torch.tensor([1]))
    assert one.tokens.tolist() == [[5, 6, 7]]
    assert one.mask.tolist() == [[True]]


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({}, [1, 1, 1, 1]),
        ({"skip_first_token": True}, [0, 1, 1, 1]),
        ({"reasoning_weight": 0.5, "formula_marker": "formula"}, [0.5, 0.5, 1, 1]),
        ({"reasoning_weight": 0.5, "formula_marker": "nowhere"}, [0.5] * 4),
    ],
)
def test_weights_of_a_reply(tokenizer, settings, weights):
    reply = ids(tokenizer, "a b formula c")
    assert ppo.reply_weights(tokenizer, reply, Settings(**settings)) == weights


def test_problems_are_drawn_to_the_end_before_any_is_drawn_again():
    dealt = np.concatenate([draws.draw_problems(7, 5, seed=0, update=u) for u in range(1, 8)])
    assert Counter(dealt.tolist()) == dict.fromkeys(range(7), 5)
    assert all(sorted(dealt[i : i + 7]) == list(range(7)) for i in range(0, 35, 7))
    assert not np.array_equal(dealt[:7], dealt[7:14])
    assert not np.array_equal(dealt[:5], draws.draw_problems(7, 5, seed=1, update=1))


@pytest.mark.parametrize(("count", "processes"), [(5, 1), (6, 2), (5, 3), (2, 4)])
def test_shares_are_even_and_cover_everything_once(count, processes):
    rows = torch.arange(10, 10 + count)
    shares = [draws.share(rows, processes, rank) for rank in range(processes)]
    assert len({len(mine) for mine, _ in shares}) == 1
    assert torch.cat([mine[real] for mine, real in shares]).tolist() == rows.tolist()


# --------------------------------------------------------------------------------------
# Forward and gradients, against one episode at a time without padding


def plain_loss(model, value_head, episodes, old_log_probs, old_values, advantages, targets, c):
    """The loss of PPO, written for one unpadded episode at a time."""
    losses, regular = [], []
    for n, episode in enumerate(episodes):
        output = model(torch.tensor([episode.tokens]), output_hidden_states=True)
        log_softmax = torch.log_softmax(output.logits[0] / c.temperature, dim=-1)
        values = value_head(output.hidden_states[-1][0])[:, 0]
        actions = [
            list(range(first, last)) if c.granularity == "turn" else [t]
            for first, last in episode.replies
            for t in ([first] if c.granularity == "turn" else range(first, last))
        ]
        for a, tokens in enumerate(actions):
            log_prob = sum(log_softmax[t - 1, episode.tokens[t]] for t in tokens)
            ratio = torch.exp(log_prob - old_log_probs[n][a])
            clipped = torch.clamp(ratio, 1 - c.clip, 1 + c.clip)
            gain = torch.min(ratio * advantages[n][a], clipped * advantages[n][a])
            value = values[tokens[0] - 1]
            near = old_values[n][a] + torch.clamp(
                value - old_values[n][a], -c.value_clip, c.value_clip
            )
            error = torch.max((value - targets[n][a]) ** 2, (near - targets[n][a]) ** 2)
            losses.append(-gain + c.value_coefficient * error / 2)
        for tokens in actions:
            for t in tokens:
                distribution = log_softmax[t - 1]
                regular.append(c.entropy_coefficient * (distribution.exp() * distribution).sum())
    return sum(losses) / len(losses) + sum(regular) / len(regular)


@pytest.mark.parametrize("granularity", ["turn", "token"])
@pytest.mark.parametrize("micro_batch_size", [1, 4, 6])
def test_gradient_is_that_of_single_episodes(start, tokenizer, granularity, micro_batch_size):
    episodes, rollouts, settings = play(
        start,
        tokenizer,
        tries=3,
        granularity=granularity,
        micro_batch_size=micro_batch_size,
        temperature=0.7,
        entropy_coefficient=0.1,
        freeze_embeddings=False,
    )
    accelerator = ppo.make_accelerator()
    actor = ActorCritic(load_model(start), settings, seed=0)
    behaviour = ppo.evaluate(actor, load_model(start), rollouts, settings, accelerator)
    rng = torch.Generator().manual_seed(0)
    advantages, targets = (torch.randn(rollouts.mask.shape, generator=rng) for _ in range(2))
    noise = 0.2 * torch.randn(rollouts.mask.shape, generator=rng)
    behaviour = behaviour._replace(  # a policy some way off, so that some ratios are clipped
        action_log_probs=behaviour.action_log_probs + noise, values=behaviour.values + noise
    )
    found = ppo.accumulate_gradients(
        actor, rollouts, behaviour, advantages, targets, torch.arange(6), settings, accelerator
    )
    gradients = {name: p.grad.clone() for name, p in actor.named_parameters()}
    assert 0 < found["clip_share"] < 1
    actor.zero_grad()
    old = (behaviour.action_log_probs, behaviour.values, advantages, targets)
    plain_loss(actor.policy, actor.value_head, episodes, *old, settings).backward()
    for name, parameter in actor.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_padding_rows_do_not_count(start, tokenizer):
    """What processes 0 to 3 of four add up to is what one process finds."""
    _, rollouts, settings = play(start, tokenizer, count=5, tries=2)
    one = ppo.make_accelerator()
    actor = ActorCritic(load_model(start), settings, seed=0)
    behaviour = ppo.evaluate(actor, load_model(start), rollouts, settings, one)
    arguments = (behaviour, torch.ones_like(rollouts.rewards), rollouts.rewards)
    rows = torch.arange(5)
    ppo.accumulate_gradients(actor, rollouts, *arguments, rows, settings, one)
    alone = actor.value_head[0].weight.grad.clone()
    actor.zero_grad()

    class OneOfFour:
        num_processes, process_index = 4, 0
        backward = staticmethod(lambda loss: (loss / 4).backward())  # as DDP averages
        gather = staticmethod(lambda tensor: tensor)

    for OneOfFour.process_index in range(4):
        ppo.accumulate_gradients(actor, rollouts, *arguments, rows, settings, OneOfFour())
    torch.testing.assert_close(actor.value_head[0].weight.grad, alone)


def test_the_kl_penalty_pulls_back_to_the_start(start, tokenizer):
    _, rollouts, settings = play(start, tokenizer, kl_coefficient=1.0, value_coefficient=0.0)
    accelerator = ppo.make_accelerator()
    actor = ActorCritic(load_model(start), settings, seed=0)
    with torch.no_grad():
        actor.policy.base_model.layers[0].mlp.down_proj.weight.mul_(20)
    reference = load_model(start)
    rows = torch.arange(6)
    nothing = torch.zeros_like(rollouts.rewards)
    optimizer = torch.optim.Adam(actor.parameters(), lr=1e-3)
    distances = []
    for _ in range(15):
        behaviour = ppo.evaluate(actor, reference, rollouts, settings, accelerator)
        log_ratio = (behaviour.start_log_probs - behaviour.log_probs)[rollouts.actions >= 0]
        distances.append((log_ratio.exp() - 1 - log_ratio).mean().item())
        ppo.accumulate_gradients(
            actor, rollouts, behaviour, nothing, nothing, rows, settings, accelerator
        )
        optimizer.step()
        optimizer.zero_grad()
    assert distances[-1] < 0.7 * distances[0]


def test_gradient_checkpointing_recomputes_and_changes_nothing(start, tokenizer):
    gradients, calls = {}, Counter()
    for checkpointing in (False, True):
        _, rollouts, settings = play(start, tokenizer, gradient_checkpointing=checkpointing)
        accelerator = ppo.make_accelerator()
        actor = ActorCritic(load_model(start), settings, seed=0)
        behaviour = ppo.evaluate(actor, load_model(start), rollouts, settings, accelerator)
        mlp = actor.policy.base_model.layers[1].mlp
        mlp.register_forward_pre_hook(lambda *_, on=checkpointing: calls.update([on]))
        ones = torch.ones_like(rollouts.rewards)
        ppo.accumulate_gradients(
            actor, rollouts, behaviour, ones, ones, torch.arange(6), settings, accelerator
        )
        gradients[checkpointing] = mlp.up_proj.weight.grad
    # Once in the forward and once in the backward pass.
    assert calls[True] == 2
    torch.testing.assert_close(gradients[True], gradients[False])


def test_a_separate_value_model_leaves_the_policy_alone(start, tokenizer):
    _, rollouts, settings = play(start, tokenizer, value_model="separate")
    accelerator = ppo.make_accelerator()
    actor = ActorCritic(load_model(start), settings, seed=0)
    behaviour = ppo.evaluate(actor, load_model(start), rollouts, settings, accelerator)
    none, targets = torch.zeros_like(rollouts.rewards), rollouts.rewards
    ppo.accumulate_gradients(
        actor, rollouts, behaviour, none, targets, torch.arange(6), settings, accelerator
    )
    assert not any(p.grad.any() for p in actor.policy.parameters() if p.grad is not None)
    assert actor.critic.layers[0].mlp.up_proj.weight.grad.any()


# --------------------------------------------------------------------------------------
# The whole


@pytest.mark.parametrize("granularity", ["turn", "token"])
def test_it_learns(start, tmp_path, granularity):
    settings = {
        "granularity": granularity,
        "updates": 25,
        "episodes": 32,
        "minibatch_size": 32,
        "epochs": 4,
        "learning_rate": 1e-2,
        "reward_scale": 1.0,
        "freeze_embeddings": False,
    }
    one_letter = PROBLEMS[:1]
    metrics = train(start, tmp_path, settings, problems=one_letter).metrics
    assert metrics["solved_by_try_1"].iloc[0] < 0.2
    assert metrics["solved_by_try_1"].iloc[-3:].mean() > 0.8


def test_with_permuted_rewards_it_does_not_learn(start, tmp_path):
    settings = {
        "updates": 25,
        "episodes": 32,
        "minibatch_size": 32,
        "epochs": 4,
        "learning_rate": 1e-2,
        "reward_scale": 1.0,
        "freeze_embeddings": False,
    }
    one_letter, first = PROBLEMS[:1], []
    for permuted in (False, True):
        changed = settings | {"permute_rewards": permuted, "updates": 25 if permuted else 1}
        work = tmp_path / str(permuted)
        metrics = train(start, work, changed, problems=one_letter).metrics
        first.append(metrics[["reward_mean", "reward_std", "solved_by_try_1"]].iloc[0].to_list())
    assert first[0] == first[1]  # metrics tell the true rewards
    assert metrics["solved_by_try_1"].iloc[-3:].mean() < 0.5


def test_the_null_of_a_stage_is_not_matched():
    null = Settings(permute_rewards=True, updates=7)
    assert Settings(**Settings.matching(null)) == Settings(updates=7)
    assert "permute_rewards" not in Settings.matching(Settings())


def test_a_fault_that_pays_is_logged_and_warned_of_once(start, tmp_path, monkeypatch, capfd):
    def verify(self, problem, reply):
        if reply.split()[:1] == ["b"]:
            return Verdict(False, 1.0, "paid", "again", False)
        return Verdict(False, -1.0, "other", "again", False)

    monkeypatch.setattr(Echo, "verify", verify)
    monkeypatch.setattr(Echo, "faults", ("other", "paid"))
    settings = {
        "updates": 14,
        "episodes": 32,
        "minibatch_size": 32,
        "epochs": 4,
        "learning_rate": 1e-2,
        "freeze_embeddings": False,
    }
    metrics = train(start, tmp_path, settings, problems=PROBLEMS[:1]).metrics
    assert metrics["fault_paid"].iloc[-1] > metrics["fault_paid"].iloc[0] + 0.2
    assert (metrics["fault_paid"] + metrics["fault_other"]).to_numpy() == pytest.approx(1)
    # One try: an episode's reward is 1 or -1.
    share = metrics["fault_paid"]
    assert metrics["reward_std"].to_numpy() == pytest.approx(2 * (share * (1 - share)) ** 0.5)
    assert capfd.readouterr().out.count("warning: replies with the fault 'paid'") == 1


def test_whatever_writes_the_replies_is_given_the_policy_of_the_update(start, tmp_path):
    heads = []

    def other(model, prompts, **options):
        heads.append(model.lm_head.weight.detach().clone())
        return generate(model, prompts, **options)

    settings = FEW | {"tries": 1, "freeze_embeddings": False}
    made = train(start, tmp_path / "other", settings, generate=other)
    assert len(heads) == 4  # one batch an update
    assert torch.equal(heads[0], load_model(start).lm_head.weight)
    assert all(not torch.equal(a, b) for a, b in pairwise(heads))
    own = train(start, tmp_path / "own", settings)
    pd.testing.assert_frame_equal(made.metrics, own.metrics)


def test_tables(start, tmp_path):
    run = train(start, tmp_path, FEW)
    first = run.metrics.iloc[0]
    assert list(run.metrics["update"]) == [1, 2, 3, 4]
    assert first["kl_to_start"] == 0
    assert first["solved_by_try_1"] <= first["solved_by_try_2"]
    assert (run.metrics["kl_to_start"].iloc[1:] > 0).all()
    assert (run.metrics["ratio_max"] >= run.metrics["ratio_mean"]).all()
    counts = run.advantages.groupby("update")["count"].sum()
    assert ((counts >= 10) & (counts <= 20)).all()  # one or two turns an episode
    assert (run.timing["tokens_per_second"] > 0).all()
    # Frozen by default: embedding and head are still those of the start.
    before, after = load_model(start), run.policy
    assert torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)
    assert torch.equal(before.lm_head.weight, after.lm_head.weight)
    # What training leaves can be loaded by anybody.
    assert list(run.checkpoints) == [2, 4]
    kept, end = (load_model(folder).state_dict() for folder in run.checkpoints.values())
    last = after.state_dict()
    assert not torch.equal(kept["model.norm.weight"], last["model.norm.weight"])
    assert all(torch.equal(end[name], value) for name, value in last.items())


def test_which_checkpoints_are_kept_changes_none_of_them(start, tmp_path):
    """Although the learning rate falls along the whole run, which ends at the last of them."""
    falling = FEW | {"final_learning_rate": 1e-4}
    every = train(start, tmp_path / "every", falling, keep=(1, 2, 3, 4))
    few = train(start, tmp_path / "few", falling, keep=(1, 3))
    assert list(few.checkpoints) == [1, 3]
    for update, folder in few.checkpoints.items():
        theirs = every.checkpoints[update] / "model.safetensors"
        assert (folder / "model.safetensors").read_bytes() == theirs.read_bytes()
    pd.testing.assert_frame_equal(few.metrics, every.metrics[:3], check_exact=True)


def test_the_first_step_sees_ratios_of_one(start, tmp_path):
    metrics = train(start, tmp_path, FEW | {"epochs": 1, "minibatch_size": 10}).metrics
    assert metrics["ratio_max"].to_numpy() == pytest.approx(np.ones(4), abs=1e-4)
    assert (metrics["clip_share"] == 0).all()


def test_the_published_preset_runs(start, tmp_path):
    settings = {"preset": "paper", "updates": 1, "episodes": 4, "minibatch_size": 4}
    run = train(start, tmp_path, settings | {"formula_marker": "formula"})
    assert np.isfinite(run.metrics["policy_loss"]).all()
    assert run.metrics["learning_rate"].item() == 1e-6


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(start, tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    whole, work = tmp_path / "undisturbed", tmp_path / "work"
    undisturbed = train(start, whole, FEW, live=LiveMetrics(whole))
    with pytest.raises(UserError, match="after update 1 of 4"):
        train(start, work, FEW, stop_in_update(1), live=LiveMetrics(work))
    with pytest.raises(Killed):
        train(start, work, FEW, die_in_update(4), live=LiveMetrics(work))
    assert last_row(work / FILE)["update"] == "3"  # two more than the snapshot
    with pytest.raises(UserError, match="after update 3 of 4"):
        train(start, work, FEW, stop_in_update(3), live=LiveMetrics(work))
    assert signal.getsignal(signal.SIGTERM) == handler
    assert sorted(path.name for path in work.iterdir()) == ["metrics.csv", "snapshot-3", "step-2"]
    resumed_updates = []
    resumed = train(
        start,
        work,
        FEW,
        lambda updates, *_: resumed_updates.extend(updates) or updates,
        live=LiveMetrics(work),
    )
    assert resumed_updates == [4]
    assert (work / FILE).read_text() == (whole / FILE).read_text()
    assert list(pd.read_csv(work / FILE)) == list(undisturbed.metrics)
    assert list(undisturbed.metrics)[:2] == ["update", "reward_mean"]
    pd.testing.assert_frame_equal(resumed.metrics, undisturbed.metrics, check_exact=True)
    pd.testing.assert_frame_equal(resumed.advantages, undisturbed.advantages, check_exact=True)
    pairs = [(resumed.policy.state_dict(), undisturbed.policy.state_dict())]
    pairs += [tuple(load_model(run.checkpoints[2]).state_dict() for run in (resumed, undisturbed))]
    for ours, theirs in pairs:
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_snapshot_of_another_run_is_not_resumed(start, tmp_path):
    def stop(updates, *_):
        for update in updates:
            os.kill(os.getpid(), signal.SIGTERM)
            yield update

    with pytest.raises(UserError, match="SIGTERM"):
        train(start, tmp_path, FEW, stop)
    seen = []
    train(start, tmp_path, FEW, lambda updates, *_: seen.extend(updates) or updates, "another run")
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["state.json", "parameter-0.safetensors"])
def test_a_damaged_snapshot_is_named_with_what_mends_it(start, tmp_path, name):
    with pytest.raises(UserError, match="after update 1 of 4"):
        train(start, tmp_path, FEW, stop_in_update(1))
    file = tmp_path / "snapshot-1" / name
    file.write_bytes(file.read_bytes()[:20])
    line = rf"snapshot-1: {name} cannot be read \(.*\); delete it and run the same command again"
    with pytest.raises(UserError, match=line):
        train(start, tmp_path, FEW)


def test_deepspeed_is_refused(start, tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.DEEPSPEED)
    with pytest.raises(UserError, match="allowed: fsdp2"):
        train(start, tmp_path, FEW)


def assert_same_results(out, alone):
    """Same metrics, and a folder with the same names, types and numbers, up to rounding."""
    together = pd.read_parquet(out / "metrics.parquet")
    pd.testing.assert_frame_equal(together, alone.metrics, rtol=1e-3, atol=1e-5)
    save_checkpoint(alone.policy, load_tokenizer(out / "model"), out / "alone" / "model")
    pairs = [(out / "model", out / "alone" / "model")]
    pairs += [(out / "work" / folder.name, folder) for folder in alone.checkpoints.values()]
    for ours, theirs in pairs:
        load_model(ours)  # strictly
        for name in ("config.json", "generation_config.json"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        found, wanted = (load_file(folder / "model.safetensors") for folder in (ours, theirs))
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)


PREFIXED = FEW | {"prefix_quarters": [0, 1, 2]}


def test_a_run_with_prefixes_that_was_stopped_ends_as_if_it_had_not_been(start, tmp_path):
    undisturbed = train(start, tmp_path / "undisturbed", PREFIXED)
    work = tmp_path / "work"
    with pytest.raises(UserError, match="after update 2 of 4"):
        train(start, work, PREFIXED, stop_in_update(2))
    resumed = train(start, work, PREFIXED)
    pd.testing.assert_frame_equal(resumed.metrics, undisturbed.metrics, check_exact=True)
    ours, theirs = (run.policy.state_dict() for run in (resumed, undisturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    solved = resumed.metrics.filter(regex=r"^solved_after_[012]_quarters$")
    assert solved.shape == (4, 3)
    assert solved.notna().all(axis=None)
    plain = train(start, tmp_path / "plain", FEW | {"updates": 1})
    assert not plain.metrics.filter(regex="quarters").shape[1]


@pytest.mark.parametrize(
    "settings", [FEW, pytest.param(PREFIXED, marks=pytest.mark.long)], ids=["plain", "prefixed"]
)
def test_results_do_not_depend_on_the_number_of_processes(start, tmp_path, accelerate, settings):
    settings = settings | {"updates": 2}
    done = accelerate("cpus", __file__, start, tmp_path, json.dumps(settings))
    assert done.returncode == 0, done.stderr
    assert_same_results(tmp_path, train(start, tmp_path / "alone", settings))


@pytest.mark.parametrize(
    "others",
    [
        {},
        pytest.param(
            {
                "value_model": "separate",
                "granularity": "token",
                "gradient_checkpointing": True,
                "freeze_embeddings": False,
                "kl_coefficient": 0.1,
            },
            marks=pytest.mark.long,
        ),
    ],
    ids=["shared", "separate"],
)
def test_sharded_training_gives_the_curve_of_one_process_though_cut_off(
    start, tmp_path, accelerate, others
):
    """With weights that are tied, and a snapshot that one process can go on from, too."""
    tied = tmp_path / "tied"
    make_start(tied, tied=True)
    settings = FEW | others
    given = (__file__, tied, tmp_path, json.dumps(settings))
    done = accelerate("cpus-fsdp2", *given, "1")
    assert "stopped by SIGTERM after update 1 of 4" in done.stderr
    shutil.copytree(tmp_path / "work", tmp_path / "copy")
    done = accelerate("cpus-fsdp2", *given)
    assert done.returncode == 0, done.stderr
    alone = train(tied, tmp_path / "alone", settings)
    assert_same_results(tmp_path, alone)
    went_on = []
    resumed = train(
        tied, tmp_path / "copy", settings, lambda updates, *_: went_on.extend(updates) or updates
    )
    assert went_on == [2, 3, 4]
    pd.testing.assert_frame_equal(resumed.metrics, alone.metrics, rtol=1e-3, atol=1e-5)


def stop_in_update(stop):
    def progress(updates, *_):
        for update in updates:
            if update == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            yield update

    return progress


class Killed(Exception):
    """Stands in for a job that is cut off."""


def die_in_update(last):
    def progress(updates, *_):
        for update in updates:
            if update == last:
                raise Killed
            yield update

    return progress


def main(start, out, settings, *stop):
    """What a process does in the tests above; the first one may be told to stop in an update."""
    happened = set()

    def play(*arguments, **options):
        with profile() as profiler:
            episodes = play_episodes(*arguments, **options)
        happened.update(event.name for event in profiler.events())
        return episodes

    ppo.play_episodes = play
    accelerator = ppo.make_accelerator()
    progress = stop_in_update(int(stop[0])) if stop and accelerator.is_main_process else None
    run = train(
        Path(start),
        Path(out, "work"),
        json.loads(settings),
        progress or (lambda updates, *_: updates),
    )
    assert accelerator.num_processes == 2
    # While it plays, a process waits for no other: their replies have other lengths.
    assert any(name.startswith("aten::") for name in happened)
    assert not [name for name in happened if name.startswith(("c10d::", "FSDP::all_gather"))]
    if accelerator.is_main_process:
        save_checkpoint(run.policy, load_tokenizer(Path(start)), Path(out, "model"))
        run.metrics.to_parquet(Path(out, "metrics.parquet"))
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
