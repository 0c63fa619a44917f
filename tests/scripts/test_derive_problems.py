"""The scripts that make problems from problems, on sums of the toy task."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from scripts import filter_problems, mix_problems, sample_replies, vary_problems
from svdrift.errors import UserError
from svdrift.evaluation import sampling
from svdrift.models.loading import save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks import load_settings, make_task, task_class
from svdrift.tasks.base import demonstrations

TOY = str(Path(__file__).parents[1] / "tasks" / "toy_task.py")
PLAY = json.dumps({"name": TOY})
SUMS = pd.DataFrame(
    {
        "problem": ["p0", "p1", "p2"],
        "group": ["1+2", "3+4", "5+6"],
        "subsets": ["odd", "odd", "odd"],
        "a": [1, 3, 5],
        "b": [2, 4, 6],
    }
)
# What the scripted model says at its first, second, ... sample of each sum.
SAID = {"1 plus 2": "3 3 4 5", "3 plus 4": "7 7 7 7", "5 plus 6": "0 1 2 3"}


def run(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
    script.main()


@pytest.fixture
def folder(tmp_path):
    """A checkpoint, and problems beside it."""
    task = make_task(load_settings(TOY).Settings(name=TOY).play("lessons"))
    tokenizer = make_tokenizer(task.words)
    torch.manual_seed(0)
    shape = ArchitectureSettings(hidden_size=8, layers=1, heads=1, intermediate_size=8)
    save_checkpoint(make_model(len(tokenizer), shape), tokenizer, tmp_path / "model")
    SUMS.to_parquet(tmp_path / "sums.parquet", index=False)
    return tmp_path


@pytest.fixture
def scripted(monkeypatch, folder):
    """Let a script say what stands in `SAID`."""
    tokenizer = sampling.load_tokenizer(folder / "model")

    def generate(model, prompts, **options):
        replies, asked = [], {}
        for text in tokenizer.batch_decode(prompts):
            (key,) = (key for key in SAID if key in text)
            number = asked[key] = asked.get(key, -1) + 1
            replies.append(tokenizer(f"{SAID[key].split()[number]} <eos>")["input_ids"])
        return replies

    monkeypatch.setattr(sampling, "make_generate", lambda settings, model: generate)


def asking(folder, settings, checkpoint="ppo-8"):
    return [
        *("--settings", json.dumps(settings), "--task", PLAY, "--max-reply-tokens", 4),
        *("--model", folder / "model", "--checkpoint", checkpoint),
        *("--problems", folder / "sums.parquet", "--out", folder / "made.parquet"),
    ]


def sample(monkeypatch, folder, **settings):
    given = {"kind": "replies", "samples": 4, "temperature": 1.0} | settings
    run(monkeypatch, sample_replies, *asking(folder, given))
    return pd.read_parquet(folder / "made.parquet")


@pytest.mark.usefixtures("scripted")
def test_sampled_replies(monkeypatch, folder):
    made = sample(monkeypatch, folder)
    assert list(made.columns) == [*SUMS.columns, "reply", "sample", "solved", "checkpoint"]
    assert list(made["problem"]) == ["p0", "p1"]
    assert list(made["reply"]) == ["3", "7"]
    assert made["solved"].all()
    assert set(made["checkpoint"]) == {"ppo-8"}
    task = make_task(load_settings(TOY).Settings(name=TOY).play("lessons"))
    assert demonstrations(task, made) == [("1 plus 2", "3"), ("3 plus 4", "7")]
    record = json.loads((folder / "made.provenance.json").read_text())
    assert set(record["inputs"]) == {"model", "problems"}
    assert record["settings"]["replies"]["samples"] == 4

    unverified = sample(monkeypatch, folder, verified=False, per_problem=2)
    assert list(unverified["problem"]) == ["p0", "p0", "p1", "p2", "p2"]
    assert list(unverified["reply"]) == ["3", "4", "7", "0", "1"]
    assert list(unverified["sample"]) == [1, 3, 1, 1, 2]


@pytest.mark.usefixtures("scripted")
def test_no_reply_is_left(monkeypatch, folder):
    SUMS.tail(1).to_parquet(folder / "sums.parquet", index=False)
    with pytest.raises(
        UserError, match=r"sums.parquet: the verifier accepts none of the 4 replies"
    ):
        sample(monkeypatch, folder)
    assert not (folder / "made.parquet").exists()


def test_a_real_model_is_sampled_alike_each_time(monkeypatch, folder):
    first = sample(monkeypatch, folder, verified=False)
    assert len(first) == 12
    assert first.equals(sample(monkeypatch, folder, verified=False))


@pytest.mark.usefixtures("scripted")
def test_filtered_problems(monkeypatch, folder):
    def keep(at_least, at_most):
        rates = {"samples": 4, "at_least": at_least, "at_most": at_most}
        dropped = ["--dropped", folder / "dropped.parquet"]
        run(monkeypatch, filter_problems, *asking(folder, rates), *dropped)
        tables = [pd.read_parquet(folder / f"{name}.parquet") for name in ("made", "dropped")]
        return [dict(zip(t["problem"], t["pass_rate"], strict=True)) for t in tables]

    assert keep(0.5, 1) == [{"p0": 0.5, "p1": 1}, {"p2": 0}]
    assert keep(0, 0.5) == [{"p0": 0.5, "p2": 0}, {"p1": 1}]
    assert keep(0.01, 0.99) == [{"p0": 0.5}, {"p1": 1, "p2": 0}]
    assert keep(0, 1) == [{"p0": 0.5, "p1": 1, "p2": 0}, {}]
    with pytest.raises(UserError, match=r"from 0.6 to 0.7; ppo-8 solves its 3 .*from 0 to 1 \("):
        keep(0.6, 0.7)


def test_mixed_problems(monkeypatch, folder):
    SUMS.assign(reply="x").to_parquet(folder / "own.parquet", index=False)
    settings = json.dumps({"mix": {"gold": 0.5, "own": 0.5}})
    arguments = ["--settings", settings, "--out", folder / "mixed.parquet", "--problems"]
    run(monkeypatch, mix_problems, *arguments, folder / "sums.parquet", folder / "own.parquet")
    mixed = pd.read_parquet(folder / "mixed.parquet")
    assert mixed["source"].value_counts().to_dict() == {"gold": 3, "own": 3}
    task = make_task(load_settings(TOY).Settings(name=TOY).play("lessons"))
    replies = [reply for _, reply in demonstrations(task, mixed)]
    assert sorted(replies) == ["11", "3", "7", "x", "x", "x"]
    assert (folder / "mixed.provenance.json").exists()
    with pytest.raises(UserError, match=r"1 files, but 2 shares \(gold, own\)"):
        run(monkeypatch, mix_problems, *arguments, folder / "sums.parquet")


def test_varied_problems(monkeypatch, tmp_path):
    settings = load_settings("general_points").Settings(
        hands={"demonstrated_multisets": 10, "demonstrations": 20}
    )
    deal = settings.deal("demonstrations")
    table = task_class("general_points").make_split("demonstrations", deal, 20, 0, {})
    table.to_parquet(tmp_path / "demonstrations.parquet", index=False)
    varied = settings.vary(rule="faces").deal("demonstrations")
    arguments = ["--problems", tmp_path / "demonstrations.parquet", "--out", tmp_path / "x.parquet"]
    run(monkeypatch, vary_problems, "--settings", varied.model_dump_json(), *arguments)
    made = pd.read_parquet(tmp_path / "x.parquet")
    assert set(made["rule"]) == {"faces"}
    assert set(made["problem"]) <= set(table["problem"])
    assert (tmp_path / "x.provenance.json").exists()

    varied = settings.vary(target=60).deal("demonstrations")
    solvable = task_class("general_points").vary(table, varied)["problem"]
    rest = table[~table["problem"].isin(solvable)]
    assert len(rest) > 0
    for left, message in (
        (rest, "none of its problems has a solution"),
        (rest.head(0), "holds no"),
    ):
        left.to_parquet(tmp_path / "demonstrations.parquet", index=False)
        with pytest.raises(UserError, match=message):
            run(monkeypatch, vary_problems, "--settings", varied.model_dump_json(), *arguments)
