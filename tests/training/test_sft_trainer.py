"""SFT with other losses, of a model of a few weights.

Run as a program, this file trains once: the test with two processes starts it so.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from accelerate import PartialState
from transformers import TrainerCallback
from trl import SFTTrainer
from trl.trainer.utils import add_fused_lm_head

from svdrift.errors import UserError
from svdrift.models.losses import IGNORED
from svdrift.models.tiny import make_tokenizer
from svdrift.training.processes import leave
from svdrift.training.sft import train as module
from svdrift.training.sft import trainer
from svdrift.training.sft.experts import expert_log_probs
from svdrift.training.sft.forward import reply_log_probs
from svdrift.training.sft.settings import Settings
from svdrift.training.sft.train import train_sft
from svdrift.training.sft.trainer import MEASURED
from tests.training.test_sft import KEEP, SETTINGS, WORDS, Killed, die_in_step_6, pico, weights

# Replies of one to three numbers; the last of each was one of two.
ROWS = pd.DataFrame(
    [
        {
            "turn": f"{i % 10} {i * 3 % 10}",
            "reply": f"{head}{i % 10}",
            "choices": [f"{head}{i % 10}", f"{head}{(i + 1) % 10}"],
        }
        for i, head in ((i, "4 2 "[: 2 * (i % 3)]) for i in range(64))
    ]
)
PAIRS = list(zip(ROWS["turn"], ROWS["reply"], strict=True))
PEAR = {"kind": "pear", "gamma": 0.9, "ratio_clip": [-2.5, 1]}


def with_loss(loss, **keys):
    return Settings.model_validate(SETTINGS.model_dump() | {"loss": loss} | keys)


def train(work, settings, processes=1, **options):
    model, tokenizer = pico()
    return train_sft(
        model,
        tokenizer,
        PAIRS,
        settings,
        keep=KEEP,
        processes=processes,
        seed=3,
        work=work,
        progress=lambda steps, total, description: steps,
        expert=expert_log_probs(tokenizer, ROWS, PAIRS) if settings.reads_expert else None,
        **options,
    )


def file(work, step=6):
    return (work / f"step-{step}" / "model.safetensors").read_bytes()


def assert_alike(work, losses, other, others):
    """Up to rounding."""
    found, wanted = (weights(folder / "step-6") for folder in (work, other))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
    assert losses["train_loss"].item() == pytest.approx(others["train_loss"].item(), rel=1e-5)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    work = tmp_path_factory.mktemp("plain")
    return work, train(work, SETTINGS)


@pytest.fixture(scope="module")
def pear(tmp_path_factory):
    work = tmp_path_factory.mktemp("pear")
    return work, train(work, with_loss(PEAR))


@pytest.mark.parametrize(
    "loss",
    [
        {"kind": "pear", "gamma": 1, "ratio_clip": [0, 0]},
        {"kind": "pear", "gamma": 1, "ratio_clip": [0, 0], "weights": "mean_one"},
        {"kind": "trsft", "alpha": 1e-30},
    ],
    ids=str,
)
def test_weights_of_one_are_plain_sft_bit_for_bit(plain, tmp_path, loss):
    losses = train(tmp_path, with_loss(loss))
    assert file(tmp_path) == file(plain[0])
    assert losses["train_loss"].equals(plain[1]["train_loss"])
    assert losses["effective_share"].item() == pytest.approx(1)


def test_dft_is_trls_own(plain, tmp_path, monkeypatch):
    losses = train(tmp_path / "ours", with_loss({"kind": "dft"}))
    arguments = module._arguments

    def of_dft(*given, **options):
        found = arguments(*given, **options)
        found.loss_type = "dft"
        return found

    monkeypatch.setattr(module, "_arguments", of_dft)
    monkeypatch.setattr(trainer, "ReplyTrainer", SFTTrainer)
    theirs = tmp_path / "theirs"
    assert_alike(tmp_path / "ours", losses, theirs, train(theirs, SETTINGS))
    assert file(tmp_path / "ours") != file(plain[0])


@pytest.mark.parametrize("micro_batch_size", [8, 2])
def test_plain_sft_is_trls_own(plain, tmp_path, monkeypatch, micro_batch_size):
    monkeypatch.setattr(trainer, "ReplyTrainer", SFTTrainer)
    settings = SETTINGS.model_copy(update={"micro_batch_size": micro_batch_size})
    assert_alike(tmp_path, train(tmp_path, settings), *plain)


def test_a_batch_in_parts_has_the_log_probabilities_and_gradient_of_the_whole():
    """Of replies of one to three tokens behind prompts of several lengths; TRL's is the oracle."""
    found = []
    for in_parts in (True, False):
        model, tokenizer = pico()
        add_fused_lm_head(model)
        rows = [
            [1, 2, 3, 4],
            [1, 2, 3],
            [5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2],
            [4, 4, 2],
        ]
        labels = [[IGNORED] * 2 + rows[0][2:], [IGNORED, *rows[1][1:]]]
        labels += [[IGNORED] * 14 + rows[2][14:], [IGNORED] * 2 + rows[3][2:]]
        longest = max(map(len, rows))
        inputs = {
            name: torch.tensor([row + [fill] * (longest - len(row)) for row in table])
            for name, table, fill in (
                ("input_ids", rows, tokenizer.pad_token_id),
                ("labels", labels, IGNORED),
                ("attention_mask", [[1] * len(row) for row in rows], 0),
            )
        }
        log_probs, mask = reply_log_probs(model, inputs, in_parts=in_parts)
        assert not log_probs[~mask].any()
        (log_probs * torch.arange(1, log_probs.numel() + 1).view_as(log_probs)).sum().backward()
        found.append((log_probs.detach(), mask, model.get_input_embeddings().weight.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_other_inputs_than_text_are_not_taken_apart():
    seen = []

    def model(**inputs):
        seen.append(set(inputs))
        return SimpleNamespace(log_probs=1, label_mask=2)

    inputs = {name: torch.zeros(1, 2) for name in ("input_ids", "labels", "attention_mask", "more")}
    assert reply_log_probs(model, inputs, in_parts=True) == (1, 2)
    assert seen == [{*inputs, "use_cache", "fused_lm_head"}]


def test_pear_trains_otherwise_and_says_how(plain, pear):
    work, losses = pear
    assert file(work) != file(plain[0])
    own = set(losses) - {"step", "train_loss", "grad_norm"}
    assert own == set(MEASURED) - {"penalty"}
    assert list(plain[1]) == ["step", "train_loss"]
    row = losses.iloc[0]
    assert row["log_weight_q10"] < row["log_weight_q50"] <= row["log_weight_q90"]
    assert 0 < row["effective_share"] < 1
    assert 0 < row["log_ratio_clipped"] < 1
    assert row["nll"] > row["train_loss"]  # a model that knows nothing goes on as nobody does


def test_parts_of_a_batch_give_the_same_training(pear, tmp_path):
    assert_alike(tmp_path, train(tmp_path, with_loss(PEAR, micro_batch_size=2)), *pear)


RPSFT = {"kind": "rpsft", "rank": 4, "coefficient": 10.0}


def test_the_penalty_keeps_weights_near_their_start(plain, tmp_path):
    """Also summed over the parts of a batch."""
    losses = train(tmp_path / "whole", with_loss(RPSFT))
    train(tmp_path / "parts", with_loss(RPSFT, micro_batch_size=2))
    held, parts, free = (
        weights(work / "step-6") for work in (tmp_path / "whole", tmp_path / "parts", plain[0])
    )
    name = "model.layers.0.mlp.up_proj.weight"
    start = pico()[0].state_dict()[name]
    left, _, right = torch.linalg.svd(start)
    moves = [left[:, :4].T @ (end[name] - start) @ right[:4].T for end in (held, free)]
    assert moves[0].norm() < 0.5 * moves[1].norm()
    torch.testing.assert_close(parts[name], held[name], rtol=1e-4, atol=1e-5)
    assert losses["train_loss"].item() == pytest.approx(
        losses["nll"].item() + losses["penalty"].item(), rel=1e-5
    )


@pytest.mark.parametrize(
    "loss",
    [PEAR | {"weights": "permuted"}, RPSFT | {"subspaces": "random"}],
    ids=lambda loss: loss["kind"],
)
def test_a_cut_off_run_goes_on_and_ends_the_same(tmp_path, monkeypatch, loss):
    settings = with_loss(loss)
    whole = train(tmp_path / "whole", settings)
    monkeypatch.setattr(TrainerCallback, "on_step_begin", die_in_step_6)
    with pytest.raises(Killed):
        train(tmp_path / "cut", settings)
    monkeypatch.undo()
    resumed = train(tmp_path / "cut", settings)
    for step in KEEP:
        assert file(tmp_path / "cut", step) == file(tmp_path / "whole", step)
    assert resumed.equals(whole)


def test_replies_that_are_cut_off_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"max_length: a reply of 3 tokens has 2 in training"):
        train(tmp_path, with_loss(PEAR, max_length=6))


def test_replies_of_unknown_authors_are_refused():
    tokenizer = make_tokenizer(WORDS)
    gold = expert_log_probs(tokenizer, ROWS[["turn"]], PAIRS)
    assert all(value == 0 for row in gold for value in row)
    mixed = ROWS.assign(
        reply=ROWS["reply"].where(ROWS.index > 0), choices=ROWS["choices"].where(ROWS.index > 0)
    )
    found = expert_log_probs(tokenizer, mixed, PAIRS)
    assert found[0] == gold[0]
    assert found[1:] == expert_log_probs(tokenizer, ROWS, PAIRS)[1:]
    assert found[1] == pytest.approx([0, -0.6931, 0], abs=1e-4)  # with the token that ends it
    with pytest.raises(UserError, match=r"not known of a problem that has a reply of its own"):
        expert_log_probs(tokenizer, ROWS[["turn", "reply"]], PAIRS)


@pytest.mark.long
def test_two_processes_train_as_one(pear, tmp_path, accelerate):
    done = accelerate("cpus", __file__, tmp_path)
    assert done.returncode == 0, done.stderr
    found, wanted = (weights(work / "step-6") for work in (tmp_path, pear[0]))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def main(work):
    """What a process does in the test above."""
    assert PartialState(cpu=True).num_processes == 2
    train(work, with_loss(PEAR, micro_batch_size=2), processes=2)
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
