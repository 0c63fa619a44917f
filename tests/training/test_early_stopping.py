"""Early stopping of SFT: when it ends, what is held, that runs go on, and what is refused."""

import pytest
import torch
from transformers import TrainerCallback

from svdrift.compute import ComputeSettings
from svdrift.errors import UserError
from svdrift.study.early_stopping import check_early_stopping, selection_splits
from svdrift.training.sft.early_stopping import (
    StopEarly,
    best_step,
    first_try_accuracy,
    has_stalled,
    held,
)
from tests.study.studies import study
from tests.training import test_ppo as ppo
from tests.training import test_sft as sft

KEEP = (1, 2, 3, 4, 5, 6)
FOUND = {1: 0.1, 2: 0.5, 3: 0.5, 4: 0.4, 5: 0.9, 6: 0.9}  # step 5 is not reached


@pytest.fixture(scope="module", autouse=True)
def on_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        yield


@pytest.mark.parametrize(
    ("accuracies", "best", "stalled_at"),
    [  # the greatest patience with which training has ended
        ([0.1], 10, 0),
        ([0.1, 0.2], 20, 0),
        ([0.2, 0.2], 10, 1),
        ([0.2, 0.1, 0.2], 10, 2),
        ([0.0, 0.0, 0.0, 0.0], 10, 3),
        ([0.3, 0.1, 0.4, 0.2], 30, 1),
    ],
)
def test_training_has_stalled_when_nothing_rose_for_so_many_kept_steps(
    accuracies, best, stalled_at
):
    by_step = dict(zip(range(10, 100, 10), accuracies, strict=False))
    assert best_step(by_step) == best
    assert [p for p in range(1, 6) if has_stalled(by_step, p)] == list(range(1, stalled_at + 1))


def test_later_steps_hold_the_best_and_earlier_ones_their_own():
    assert held((1, 2, 3, 4, 8), {1: 0.1, 2: 0.5, 3: 0.5}) == {1: 1, 2: 2, 3: 3, 4: 2, 8: 2}
    assert held((1, 2), {1: 0.5, 2: 0.1}) == {1: 1, 2: 2}
    assert not has_stalled({}, 1)


def stopping(patience=2):
    """A rule that finds what the table says at the steps that it is asked about."""
    asked = []

    def accuracy():
        asked.append(KEEP[len(rule.accuracies)])
        return FOUND[asked[-1]]

    rule = StopEarly(KEEP, patience, accuracy)
    rule.asked = asked
    return rule


def train(work, stop=None):
    model, tokenizer = sft.pico()
    return sft.train_sft(
        model,
        tokenizer,
        sft.PAIRS,
        sft.SETTINGS,
        keep=KEEP,
        processes=1,
        seed=3,
        work=work,
        progress=lambda steps, *_: steps,
        stop=stop,
    )


def kept(work):
    return {folder.name: (folder / "model.safetensors").read_bytes() for folder in work.glob("st*")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    work = tmp_path_factory.mktemp("whole")
    train(work)
    return kept(work)


def test_training_ends_at_the_step_and_was_the_same_up_to_there(whole, tmp_path):
    rule = stopping()
    losses = train(tmp_path, rule)
    assert rule.accuracies == {step: FOUND[step] for step in (1, 2, 3, 4)}
    assert kept(tmp_path) == {
        name: whole[name] for name in ("step-1", "step-2", "step-3", "step-4")
    }
    assert list(losses["step"]) == [4]


def test_with_more_patience_it_trains_to_the_end(whole, tmp_path):
    rule = stopping(patience=3)
    train(tmp_path, rule)
    assert rule.accuracies == FOUND
    assert kept(tmp_path) == whole


def test_a_run_that_was_stopped_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainerCallback, "on_step_begin", sft.be_told_to_end_in_step_3)
    with pytest.raises(UserError, match="stopped by SIGTERM after step 3 of 6"):
        train(tmp_path / "cut", stopping())
    monkeypatch.undo()
    rule = stopping()
    losses = train(tmp_path / "cut", rule)
    assert rule.asked == [4]
    undisturbed = stopping()
    assert losses.equals(train(tmp_path / "one", undisturbed))
    assert rule.accuracies == undisturbed.accuracies
    assert kept(tmp_path / "cut") == kept(tmp_path / "one")
    # A run that had ended, and was cut off before its checkpoints were handed over.
    again = stopping()
    assert train(tmp_path / "cut", again).equals(losses)
    assert again.asked == []
    assert again.accuracies == rule.accuracies
    assert kept(tmp_path / "cut") == kept(tmp_path / "one")


def test_the_accuracy_is_the_share_that_greedy_replies_solve(tmp_path):
    ppo.make_start(tmp_path / "start")
    model, tokenizer = (load(tmp_path / "start") for load in (ppo.load_model, ppo.load_tokenizer))
    asked = []

    def always_a(model, prompts, **options):
        asked.append((tokenizer.batch_decode(prompts), options))
        return [ppo.ids(tokenizer, "a <eos>") for _ in prompts]

    problems = ppo.Echo().read(ppo.PROBLEMS)  # a b c d a b c
    options = {"max_new_tokens": 3, "half": False}
    found = first_try_accuracy(model, tokenizer, ppo.Echo(), problems, generate=always_a, **options)
    assert found == pytest.approx(2 / 7)
    ((prompts, given),) = asked
    assert [prompt.split()[2] for prompt in prompts] == problems
    assert given["max_new_tokens"] == 3
    assert "temperature" not in given  # greedy
    # In earnest it draws nothing and leaves the model in its mode, so that training goes on alike.
    before = torch.get_rng_state()
    model.train()
    first_try_accuracy(model, tokenizer, ppo.Echo(), problems, generate=ppo.generate, **options)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)


# --------------------------------------------------------------------------------------
# The setting


STOPPING = {"sft": {"early_stopping": {"patience": 2}}}


def test_only_id_problems_for_selection_are_read_and_only_where_it_is_on():
    made = study(
        {"stages": STOPPING | {"continued": None, "wide": None}, "story": {"controls": []}}
    )
    splits = made.task.splits
    assert selection_splits(made.graph.stages["sft"], splits) == ("id_selection",)
    for name in ("base", "ppo"):
        assert selection_splits(made.graph.stages[name], splits) == ()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sft": {"early_stopping": {}}}, "key 'stages.sft.early_stopping.patience' is missing"),
        (
            {"sft": {"early_stopping": {"patience": 0}}},
            "key 'stages.sft.early_stopping.patience' must be above 0, not 0",
        ),
        ({"ppo": {"early_stopping": {"patience": 2}}}, "unknown key 'stages.ppo.early_stopping'"),
        (
            STOPPING
            | {"more": {"method": "sft", "from": "base", "on": "practice", "matches": "sft"}},
            "stages.more.matches: sft: it has no samples or steps that could be matched",
        ),
    ],
)
def test_what_cannot_work_is_refused(changes, line):
    with pytest.raises(UserError) as caught:
        study({"stages": changes})
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_needs_problems_and_whole_models():
    stage = study({"stages": STOPPING}).graph.stages["sft"]
    splits = study().task.splits
    check_early_stopping(stage, splits, ComputeSettings())
    with pytest.raises(UserError, match=r"stages\.sft\.early_stopping: the task has no split of"):
        check_early_stopping(
            stage, [s for s in splits if s.name != "id_selection"], ComputeSettings()
        )
    sharded = ComputeSettings(gpus=2, processes=2, sharding="fsdp2")
    with pytest.raises(UserError, match=r"early_stopping: sharded models .* \(allowed: 'none'\)"):
        check_early_stopping(stage, splits, sharded)
