"""GRPO through TRL, with a small task of its own and a model of a few weights.

Run as a program, this file trains once: the test with several processes starts it under
`accelerate launch`.
"""

import json
import math
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import PartialState
from pydantic import ValidationError
from transformers import TrainerCallback

from svdrift import tracking
from svdrift.errors import UserError
from svdrift.live import FILE, OFF, LiveMetrics
from svdrift.models.chat import prompt_tokens
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks.base import Verdict
from svdrift.training import draws
from svdrift.training.grpo import game, sampler
from svdrift.training.grpo import train as grpo
from svdrift.training.grpo.settings import Settings
from svdrift.training.processes import leave
from tests.study.studies import study

LETTERS = ("a", "b", "c", "d")
PROBLEMS = pd.DataFrame({"letter": [*LETTERS, "a", "b", "c"]})
FEW = {
    "updates": 4,
    "episodes": 12,
    "group_size": 4,
    "minibatch_size": 6,
    "micro_batch_size": 3,
    "learning_rate": 1e-2,
    "tries": 2,
}


class Echo:
    """Say the letter again; a longer reply that begins with it earns less and is not right."""

    faults = ("other",)
    words = (*LETTERS, "say", "again")

    def read(self, table):
        return list(table["letter"])

    def first_turn(self, problem):
        return f"say {problem}"

    def gold_reply(self, problem):
        return f"{problem} again say again"

    def verify(self, problem, reply):
        if reply.split() == [problem]:
            return Verdict(True, 1.0, "none", "", True)
        reward = -0.5 if reply.split()[:1] == [problem] else -1.0
        return Verdict(False, reward, "other", "again", False)


class Killed(Exception):
    """Stands in for a job that is cut off."""


@pytest.fixture(scope="module", autouse=True)
def on_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # more only get in each other's way in a model this small
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start") / "model"
    tokenizer = make_tokenizer(Echo.words)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 24, "positions": 64}
    save_checkpoint(make_model(len(tokenizer), ArchitectureSettings(**shape)), tokenizer, folder)
    return folder


def train(
    start,
    work,
    settings=FEW,
    seed=3,
    problems=PROBLEMS,
    progress=lambda updates, *_: updates,
    processes=1,
    keep=None,
    live=OFF,
):
    chosen = Settings(**settings)
    return grpo.train_grpo(
        start,
        Echo(),
        problems,
        chosen,
        keep=keep or sorted({min(2, chosen.updates), chosen.updates}),
        processes=processes,
        seed=seed,
        max_new_tokens=3,
        work=work,
        progress=progress,
        live=live,
    )


@pytest.fixture(scope="module")
def run(start, tmp_path_factory):
    work = tmp_path_factory.mktemp("grpo")
    return train(start, work, live=LiveMetrics(work))


@pytest.fixture
def played(monkeypatch):
    """Collects the episodes of each update while training runs."""
    batches, play = [], game.play_episodes

    def record(model, tokenizer, task, problems, *rest, **options):
        episodes = play(model, tokenizer, task, problems, *rest, **options)
        batches.append(list(zip(problems, episodes, strict=True)))
        return episodes

    monkeypatch.setattr(game, "play_episodes", record)
    return batches


def plain_loss(policy, reference, episodes, settings, rows=None):
    """Mean over reply tokens of ratio times relative reward, ratio 1; and the KL penalty.

    Of some `rows` of the episodes, if they are given; one that comes twice counts twice.
    """
    size, total, tokens = settings.group_size, 0.0, 0
    rewards = torch.tensor([float(sum(episode.rewards)) for episode in episodes])
    for row in range(len(episodes)) if rows is None else rows:
        episode = episodes[row]
        group = rewards[row // size * size :][:size]
        advantage = (rewards[row] - group.mean()) / (group.std() + 1e-4)
        ids = torch.tensor([episode.tokens])
        now, then = (
            (model(ids).logits[0, :-1] / settings.temperature)
            .log_softmax(-1)
            .gather(1, ids[0, 1:, None])
            .squeeze(1)
            for model in (policy, reference)
        )
        for begin, end in episode.replies:
            place = slice(begin - 1, end - 1)
            log_ratio = then[place].detach() - now[place]
            kl = log_ratio.exp() - log_ratio - 1
            ratio = (now[place] - now[place].detach()).exp()
            total = total - (ratio * advantage - settings.kl_coefficient * kl).sum()
            tokens += end - begin
    return total / tokens


@pytest.mark.parametrize(
    "others", [{}, {"gradient_checkpointing": True}, {"prefix_quarters": [1, 2, 3]}]
)
def test_the_gradient_is_that_of_the_formula(start, tmp_path, played, monkeypatch, others):
    """With several tries: what the verifier says between replies, and what is given, is not
    learned.
    """
    gradients = {}

    def keep(self, args, state, control, model, **_):
        gradients[state.global_step] = {n: p.grad.clone() for n, p in model.named_parameters()}

    monkeypatch.setattr(TrainerCallback, "on_pre_optimizer_step", keep)
    given = {
        "updates": 2,
        "epochs": 1,
        "minibatch_size": 12,
        "temperature": 0.7,
        "kl_coefficient": 0.5,
        "max_grad_norm": 1e6,
        "freeze_embeddings": False,
        **others,
    }
    run = train(start, tmp_path, FEW | given, keep=(1, 2))
    settings, reference = Settings(**FEW | given), load_model(start)
    for update, policy in enumerate([load_model(start), load_model(run.checkpoints[1])]):
        episodes = [episode for _, episode in played[update]]
        assert any(len(episode.replies) == 2 for episode in episodes)
        plain_loss(policy, reference, episodes, settings).backward()
        for name, parameter in policy.named_parameters():
            torch.testing.assert_close(
                gradients[update][name], parameter.grad, rtol=1e-3, atol=1e-6
            )


SAMPLERS = [
    {"select": "random", "count": 6},
    {"select": "mixed_groups", "count": 12},
    {"select": "top", "count": 6},
    {"select": "pairs", "count": 6},
    {"select": "pairs", "count": 12, "rounds": 3},
]


@pytest.mark.parametrize("given", SAMPLERS)
def test_the_gradient_is_that_of_the_episodes_that_the_sampler_drew(
    start, tmp_path, played, monkeypatch, given
):
    """Step by step, in the order in which they were drawn."""
    gradients = {}

    def keep(self, args, state, control, model, **_):
        gradients[state.global_step] = {n: p.grad.clone() for n, p in model.named_parameters()}

    monkeypatch.setattr(TrainerCallback, "on_pre_optimizer_step", keep)
    changes = {
        "updates": 1,
        "epochs": 2,
        "kl_coefficient": 0.5,
        "learning_rate": 1e-9,  # the policy stays: its ratios are 1 in every step
        "max_grad_norm": 1e6,
        "freeze_embeddings": False,
        "sampler": given,
    }
    settings = Settings(**FEW | changes)
    metrics = train(start, tmp_path, FEW | changes).metrics.iloc[0]
    episodes = [episode for _, episode in played[0]]
    rewards = np.array([float(sum(episode.rewards)) for episode in episodes])
    assert len(set(rewards)) > 1
    places = sampler.draw_episodes(rewards, 4, settings.sampler, 3, 1)
    assert metrics["distinct_episodes"] == len(set(places.tolist()))
    assert metrics["small_advantage_share"] >= metrics["flat_group_share"]
    policy, reference = load_model(start), load_model(start)
    minibatches = np.tile(places.reshape(-1, 6), (2, 1))  # in each epoch
    assert len(gradients) == len(minibatches) == settings.steps_per_update
    # TRL takes the tokens of all minibatches, an equal share each, for those of one.
    tokens = [
        sum(end - begin for row in rows for begin, end in episodes[row].replies)
        for rows in minibatches
    ]
    for found, rows, count in zip(gradients.values(), minibatches, tokens, strict=True):
        policy.zero_grad()
        loss = plain_loss(policy, reference, episodes, settings, rows)
        (loss * count / np.mean(tokens)).backward()
        for name, parameter in policy.named_parameters():
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-6)


def test_a_group_begins_with_the_same_part_of_the_gold_reply(start, tmp_path, played):
    given = {"prefix_quarters": [0, 1, 2], "updates": 2, "tries": 1}
    metrics = train(start, tmp_path, FEW | given).metrics
    plain = len(prompt_tokens(load_tokenizer(start), [["say a"]])[0])
    for batch in played:
        lengths = [episode.replies[0][0] - plain for _, episode in batch]
        groups = [set(lengths[i : i + 4]) for i in (0, 4, 8)]
        assert sorted(map(min, groups)) == [0, 1, 2]  # words of four
        assert all(len(group) == 1 for group in groups)
    solved = metrics[[f"solved_after_{number}_quarters" for number in (0, 1, 2)]]
    assert solved.mean(axis=1).to_numpy() == pytest.approx(metrics["solved_by_try_1"].to_numpy())


GUIDANCE = {"rollouts": [2, 1, 1], "shares": [0, 0.5, 1], "below": [0, 1, 1]}


@pytest.mark.parametrize("loss", ["none", "nll", "trsft"])
def test_the_gradient_with_guidance_adds_what_was_given(start, tmp_path, played, monkeypatch, loss):
    """Sampled tokens learn from rewards; what was given, from a loss of its own, over as many."""
    gradients = {}

    def keep(self, args, state, control, model, **_):
        gradients[state.global_step] = {n: p.grad.clone() for n, p in model.named_parameters()}

    monkeypatch.setattr(TrainerCallback, "on_pre_optimizer_step", keep)
    changes = {
        "updates": 1,
        "epochs": 1,
        "minibatch_size": 12,
        "max_grad_norm": 1e6,
        "freeze_embeddings": False,
        "guidance": GUIDANCE | {"loss": loss},
    }
    metrics = train(start, tmp_path, FEW | changes, keep=(1,)).metrics.iloc[0]
    free, half, whole = ([episode for _, episode in batch] for batch in played)  # micro-groups
    plain = len(prompt_tokens(load_tokenizer(start), [["say a"]])[0])
    begins = [[episode.replies[0][0] - plain for episode in batch] for batch in (free, half, whole)]
    assert begins[0] == [0] * 6
    assert set(begins[1]) <= {0, 2}
    assert set(begins[2]) <= {0, 4}
    assert metrics["guided_share"] == np.mean(np.concatenate(begins) > 0) > 0
    assert metrics["given_tokens"] == sum(begins[1]) + sum(begins[2])
    groups = [[*free[2 * i : 2 * i + 2], half[i], whole[i]] for i in range(3)]
    for i, group in enumerate(groups):  # half and whole where one of those before failed
        assert (begins[1][i] == 2) == (not all(episode.solved for episode in group[:2]))
        assert (begins[2][i] == 4) == (not all(episode.solved for episode in group[:3]))
    policy = load_model(start)
    episodes = [episode for group in groups for episode in group]
    settings = Settings(**FEW | changes)
    total = plain_loss(policy, load_model(start), episodes, settings)
    sampled = sum(end - begin for episode in episodes for begin, end in episode.replies)
    for episode in [*half, *whole] if loss != "none" else []:
        ids = torch.tensor([episode.tokens[: episode.replies[0][0]]])
        given = slice(plain - 1, ids.shape[1] - 1)
        log_probs = policy(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[given, 0]
        if loss == "trsft":  # its gradient: min(1, p / 0.1) times that of -log p
            log_probs = (log_probs.detach().exp() / 0.1).clamp(max=1) * log_probs
        total = total - log_probs.sum() / sampled
    total.backward()
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(gradients[0][name], parameter.grad, rtol=1e-3, atol=1e-6)


def test_a_sampler_of_all_trains_as_none_does_but_for_the_order(start, tmp_path):
    whole = FEW | {"minibatch_size": 12, "micro_batch_size": 12, "updates": 2}
    everything = whole | {"sampler": {"select": "random", "count": 12}}
    ours, theirs = (
        train(start, tmp_path / str(i), given) for i, given in enumerate([everything, whole])
    )
    own = ["distinct_episodes", "most_repeats", "small_advantage_share"]
    assert set(ours.metrics) - set(theirs.metrics) == set(own)
    assert (ours.metrics[own[:2]] == [12, 1]).all(axis=None)
    pd.testing.assert_frame_equal(
        ours.metrics.drop(columns=own), theirs.metrics, rtol=1e-3, atol=1e-5
    )


def test_a_group_shares_a_problem_and_tries_are_honoured(start, tmp_path, played):
    for tries in (1, 3):
        played.clear()
        run = train(start, tmp_path / str(tries), FEW | {"tries": tries, "updates": 2})
        assert f"solved_by_try_{tries}" in run.metrics
        assert max(len(e.replies) for batch in played for _, e in batch) == tries
        letters = [[problem for problem, _ in batch] for batch in played]
        for update in letters:
            groups = [set(update[i : i + 4]) for i in (0, 4, 8)]
            assert all(len(group) == 1 for group in groups)
        # Drawn as PPO draws its problems: all of them before any comes again.
        drawn = np.concatenate(
            [draws.draw_problems(len(PROBLEMS), 3, 3, update) for update in (1, 2)]
        )
        assert [letter for update in letters for letter in update[::4]] == [
            PROBLEMS["letter"][place] for place in drawn
        ]
        batch = [episode for _, episode in played[0]]
        mean = sum(sum(episode.rewards) for episode in batch) / 12
        assert run.metrics["reward_mean"].iloc[0] == pytest.approx(mean)


def test_it_learns(start, tmp_path):
    settings = {
        "updates": 25,
        "episodes": 32,
        "minibatch_size": 32,
        "epochs": 4,
        "learning_rate": 1e-2,
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


def test_tables_and_checkpoints(start, run):
    metrics = run.metrics
    assert list(metrics["update"]) == [1, 2, 3, 4]
    assert metrics["kl_to_start"].iloc[0] == pytest.approx(0, abs=1e-6)
    assert (metrics["kl_to_start"].iloc[1:] > 1e-4).all()
    assert metrics["entropy"].between(0, 3).all()
    assert (metrics["solved_by_try_1"] <= metrics["solved_by_try_2"]).all()
    assert (metrics["clip_share"] > 0).any()
    assert metrics.notna().all(axis=None)
    # Frozen by default: embedding and head are still those of the start.
    before, after = load_model(start), run.policy
    assert torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)
    assert torch.equal(before.lm_head.weight, after.lm_head.weight)
    assert list(run.checkpoints) == [2, 4]
    kept = load_model(run.checkpoints[2])
    assert not torch.equal(kept.model.norm.weight, after.model.norm.weight)
    assert same_weights(load_model(run.checkpoints[4]), after)
    assert load_tokenizer(run.checkpoints[2]).get_vocab() == load_tokenizer(start).get_vocab()


def test_which_checkpoints_are_kept_changes_none_of_them(start, tmp_path, run):
    few = train(start, tmp_path, keep=(1, 2))
    ours, theirs = (found.checkpoints[2] / "model.safetensors" for found in (few, run))
    assert ours.read_bytes() == theirs.read_bytes()
    assert [folder.name for folder in few.checkpoints.values()] == ["step-1", "step-2"]
    pd.testing.assert_frame_equal(few.metrics, run.metrics[:2], check_exact=True)


def test_it_imports_nothing_of_ppo():
    """An edit of PPO must not train again by GRPO."""
    room = Path(grpo.__file__).parents[1]
    imported = tracking.imported_modules(room / "grpo" / "train.py")
    assert room / "rollout.py" in imported
    assert not [path for path in imported if path.is_relative_to(room / "ppo")]


def die_in_update_3(self, args, state, control, **_):
    if state.global_step == 3 * args.logging_steps - 1:  # which are those of an update
        raise Killed


def same_weights(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_seeds(start, tmp_path, run):
    again, other = train(start, tmp_path / "again"), train(start, tmp_path / "other", seed=4)
    pd.testing.assert_frame_equal(again.metrics, run.metrics, check_exact=True)
    assert same_weights(again.policy, run.policy)
    assert not same_weights(other.policy, run.policy)


def test_a_cut_off_run_goes_on_and_ends_the_same(start, tmp_path, run, monkeypatch):
    monkeypatch.setattr(TrainerCallback, "on_step_begin", die_in_update_3)
    with pytest.raises(Killed):
        train(start, tmp_path, live=LiveMetrics(tmp_path))
    monkeypatch.undo()
    updates = []
    resumed = train(
        start,
        tmp_path,
        progress=lambda left, *_: updates.extend(left) or left,
        live=LiveMetrics(tmp_path),
    )
    assert updates == [3, 4]
    undisturbed = run.checkpoints[2].parent
    assert (tmp_path / FILE).read_text() == (undisturbed / FILE).read_text()
    assert list(pd.read_csv(tmp_path / FILE)) == list(run.metrics)
    assert list(run.metrics)[:2] == ["update", "reward_mean"]
    pd.testing.assert_frame_equal(resumed.metrics, run.metrics, check_exact=True)
    assert same_weights(resumed.policy, run.policy)
    assert same_weights(load_model(resumed.checkpoints[2]), load_model(run.checkpoints[2]))


@pytest.mark.parametrize("given", [{"sampler": SAMPLERS[-1]}, {"guidance": GUIDANCE}])
def test_a_cut_off_run_with_more_than_the_plain_ends_the_same(start, tmp_path, monkeypatch, given):
    settings = FEW | given
    whole = train(start, tmp_path / "whole", settings)
    monkeypatch.setattr(TrainerCallback, "on_step_begin", die_in_update_3)
    with pytest.raises(Killed):
        train(start, tmp_path / "cut", settings)
    monkeypatch.undo()
    updates = []
    resumed = train(
        start,
        tmp_path / "cut",
        settings,
        progress=lambda left, *_: updates.extend(left) or left,
    )
    assert updates == [3, 4]
    pd.testing.assert_frame_equal(resumed.metrics, whole.metrics, check_exact=True)
    assert same_weights(resumed.policy, whole.policy)


def test_a_run_that_is_told_to_end_does_so_between_updates(start, tmp_path, run, monkeypatch):
    def be_told(self, args, state, control, **kwargs):
        if state.global_step == 1:  # in the first of several steps of an update
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TrainerCallback, "on_step_begin", be_told)
    with pytest.raises(UserError, match="stopped by SIGTERM after step"):
        train(start, tmp_path)
    monkeypatch.undo()
    updates = []
    resumed = train(start, tmp_path, progress=lambda left, *_: updates.extend(left) or left)
    assert updates in ([2, 3, 4], [3, 4])
    pd.testing.assert_frame_equal(resumed.metrics, run.metrics, check_exact=True)
    assert same_weights(resumed.policy, run.policy)


def test_settings_that_do_not_divide_are_refused():
    for key in ("group_size", "minibatch_size"):
        with pytest.raises(ValidationError, match=f"{key}: 5 does not divide episodes 12"):
            Settings(**FEW | {key: 5})
    with pytest.raises(UserError, match=r"stages\.ppo\.minibatch_size: 6 is not divisible by 4"):
        study({"stages": {"ppo": {"method": "grpo", **FEW}}, "compute": {"processes": 4}})


WHOLE = FEW | {"minibatch_size": 12, "kl_coefficient": 0.5, "freeze_embeddings": False}


DRAWN = WHOLE | {"minibatch_size": 6, "sampler": {"select": "pairs", "count": 12, "rounds": 2}}


GUIDED = WHOLE | {"group_size": 6, "guidance": GUIDANCE | {"rollouts": [3, 2, 1]}}


@pytest.mark.long
@pytest.mark.parametrize("given", [WHOLE, DRAWN, GUIDED], ids=["all", "sampler", "guidance"])
def test_sharded_training_gives_the_curve_of_one_process_though_cut_off(
    start, tmp_path, accelerate, given
):
    """With a sampler, whose pairs were played by either process, and with guidance, too."""
    done = accelerate("cpus-fsdp2", __file__, start, tmp_path, json.dumps(given), "die")
    assert "Killed" in done.stderr
    done = accelerate("cpus-fsdp2", __file__, start, tmp_path, json.dumps(given))
    assert done.returncode == 0, done.stderr
    alone = train(start, tmp_path / "alone", given)
    together = pd.read_parquet(tmp_path / "metrics.parquet")
    # Means of the processes' means, whose tokens differ in number.
    by_process = ["kl_to_start", "entropy", "clip_share"]
    found, wanted = (table.drop(columns=by_process) for table in (together, alone.metrics))
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-3, atol=1e-5)
    found, wanted = (table[by_process] for table in (together, alone.metrics))
    pd.testing.assert_frame_equal(found, wanted, rtol=0.05)
    for folder, wanted in (
        (tmp_path / "model", alone.policy),
        (tmp_path / "work" / "step-2", load_model(alone.checkpoints[2])),
    ):
        weights = load_model(folder).state_dict()
        assert weights.keys() == wanted.state_dict().keys()
        for name, tensor in wanted.state_dict().items():
            torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_number_that_trl_logs_as_none_is_nan() -> None:
    found = game.own({f"{game.OWN}given_tokens": None, f"{game.OWN}kl": 0.5, "loss": 1.0})
    assert math.isnan(found["given_tokens"])
    assert found["kl"] == 0.5
    assert set(found) == {"given_tokens", "kl"}


def main(start, out, settings, *then):
    """What a process does in the test above."""
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    if then:
        TrainerCallback.on_step_begin = die_in_update_3
    run = train(start, out / "work", json.loads(settings), processes=2)
    if state.is_main_process:
        save_checkpoint(run.policy, load_tokenizer(start), out / "model")
        run.metrics.to_parquet(out / "metrics.parquet")
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
