"""`svdrift evaluate`, in this process, on tiny models."""

from __future__ import annotations

import gc
import json
import math
import re
import shutil
import weakref

import pandas as pd
import pytest
import torch

from svdrift.api.evaluating import evaluate, open_evaluation
from svdrift.cli.expected import evaluation_expected
from svdrift.errors import UserError
from svdrift.evaluation.episodes import run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks import make_task
from svdrift.tasks.dealing import chosen_splits, deal, read_task
from tests.cli.checkpoints import run

SETTINGS = {"hands": {"demonstrations": 192, "practice": 64, "test": 12}}
TEXT = "\n\n".join(["cards 3 4 5 6", "answer 3 4 5 6 : 3", "target 24 cards 7 7 7 7", "cards 1"])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of one tokenizer, and one of another."""
    folder = tmp_path_factory.mktemp("models")
    words = make_task(read_task("general_points", {}).play("id_test")).words
    shape = ArchitectureSettings(hidden_size=16, layers=1, heads=2, intermediate_size=16)
    for seed, name in enumerate(["a", "b", "other"]):
        tokenizer = make_tokenizer(words if name != "other" else [*reversed(words)])
        torch.manual_seed(seed)
        save_checkpoint(make_model(len(tokenizer), shape), tokenizer, folder / name)
    (folder / "text.txt").write_text(TEXT)
    (folder / "empty.txt").write_text("\n\n")
    (folder / "bytes.txt").write_bytes(b"abc\xff")
    return folder


def test_losses_of_a_text(models, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(models)
    out = tmp_path / "out.csv"
    assert run(monkeypatch, "evaluate", "a", "b", "--text", "text.txt", "--csv", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["model", "loss"]
    assert [line.split()[0] for line in lines[1:3]] == ["a", "b"]
    assert lines[-1].startswith("n: documents, which intervals count. Windows of at most 256")
    table = pd.read_csv(out)
    pd.testing.assert_frame_equal(table, evaluate(["a", "b"], text="text.txt").table)
    assert run(monkeypatch, "evaluate", "a", "b", "--text", "text.txt", "--json") == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert [row["model"] for row in found] == ["a", "b"]
    assert found[0]["difference"] is None
    assert found[1]["loss"] - found[0]["loss"] == pytest.approx(found[1]["difference"])
    assert (found[1]["documents"], found[1]["n"]) == (4, 4)
    ids = load_tokenizer(models / "a")(TEXT.split("\n\n"))["input_ids"]
    total = count = 0
    for document in ids:
        tokens = torch.tensor([document])
        total += load_model(models / "a")(tokens, labels=tokens).loss.item() * (len(document) - 1)
        count += len(document) - 1
    assert found[0]["loss"] == pytest.approx(total / count, rel=1e-5)


def test_unknown_words_are_told(models, monkeypatch, capsys, tmp_path):
    file = tmp_path / "prose.txt"
    file.write_text("once upon a time\n\nthere was")
    assert run(monkeypatch, "evaluate", models / "a", "--text", file) == 0
    said = capsys.readouterr().out
    assert "WARNING: 100 % of the tokens stand for words" in said
    assert said.splitlines()[1].startswith("a ")  # the last part of the path tells enough


def test_accuracy_on_a_task(models, monkeypatch, capsys):
    monkeypatch.chdir(models)
    arguments = ["--task", "general_points", "--task-settings", json.dumps(SETTINGS), "--json"]
    assert run(monkeypatch, "evaluate", "a", "b", *arguments, "--seed", 2) == 0
    found = pd.DataFrame(json.loads(capsys.readouterr().out)["models"])
    assert found["model"].tolist() == ["a", "b", "a", "b"]
    assert found["split"].tolist() == ["id_test", "id_test", "ood_test", "ood_test"]
    assert set(found["problems"]) == {12}
    settings = read_task("general_points", SETTINGS)
    (split,) = chosen_splits(settings, ["ood_test"])
    played = run_episodes(
        load_model(models / "a"),
        load_tokenizer(models / "a"),
        make_task(settings.play("ood_test")),
        deal(settings, [split], 2)["ood_test"],
        tries=1,
        max_new_tokens=settings.max_reply_tokens,
        settings=EvaluationSettings(),
    )
    assert found.iloc[2]["accuracy"] == played["solved"].mean()


def test_size_and_time_are_said_first(models, monkeypatch, capsys):
    monkeypatch.chdir(models)
    monkeypatch.setattr("svdrift.api.evaluating.load_model", None)  # none is loaded
    assert run(monkeypatch, "evaluate", "a", "b", "--text", "text.txt", "--dry-run") == 0
    said = capsys.readouterr()
    read = sum(map(len, load_tokenizer(models / "a")(TEXT.split("\n\n"))["input_ids"]))
    assert said.err.startswith(f"2 models of up to 0.0 million weights, {read} tokens of text each")
    assert said.out.splitlines()[-1] == "Nothing was evaluated (--dry-run)."
    settings = json.dumps(SETTINGS | {"max_reply_tokens": 1000})
    asked = ["--task", "general_points", "--task-settings", settings, "--splits", "id_test"]
    assert run(monkeypatch, "evaluate", "a", *asked, "--dry-run") == 0
    assert re.fullmatch(
        r"1 model of up to 0\.0 million weights, 12 problems, \d+ tokens of prompts and up to "
        r"12,000 of replies: about 1 s with 1 thread, if the machine is idle\n",
        capsys.readouterr().err,
    )


def test_the_amount_counts_what_multiplies_each_token(models):
    """And grows with it the time that is said."""
    own = load_model(models / "a")
    matrices = sum(p.numel() for p in own.parameters() if p.ndim == 2)
    with open_evaluation([models / "a", models / "b"], text=models / "text.txt") as asked:
        amount = asked.amount()
    assert amount.weights == (matrices - own.get_input_embeddings().weight.numel(),) * 2
    large = amount._replace(weights=(10**9,), read=10**6)
    seconds = [
        re.search(r"about (\d+) h", evaluation_expected(one, "float32", "cpu"))
        for one in (large._replace(read=10**7), large._replace(weights=(10**9,) * 10))
    ]
    assert all(seconds)
    assert "about 1 s" in evaluation_expected(amount, "float32", "cpu")


def test_the_same_weights_do_not_differ(models, tmp_path):
    for text, task in ((models / "text.txt", None), (None, "general_points")):
        found = evaluate(
            [models / "a", f"{models}/./a"], text=text, task=task, problems=None if text else 8
        ).table
        again = found[found["model"] == f"{models}/./a"]
        assert (again["difference"] == 0).all()
        assert (again["p"] == 1).all()
        assert found.loc[found["model"] == str(models / "a"), "difference"].isna().all()


def test_one_model_is_in_memory_at_a_time(models, monkeypatch):
    alive: list[weakref.ref] = []

    def load(folder, **options):
        gc.collect()
        assert [one() for one in alive] == [None] * len(alive)
        model = load_model(folder, **options)
        alive.append(weakref.ref(model))
        return model

    monkeypatch.setattr("svdrift.api.evaluating.load_model", load)
    evaluate([models / "a", models / "b"], text=models / "text.txt")
    few = {"settings": SETTINGS, "splits": ["id_test"], "problems": 4}
    evaluate([models / "a", models / "b"], task="general_points", **few)
    assert len(alive) == 4


def test_a_mistake_in_the_last_model_is_found_before_the_first_is_loaded(models, monkeypatch):
    monkeypatch.setattr("svdrift.api.evaluating.load_model", None)
    with pytest.raises(UserError, match="none: no such folder"):
        evaluate([models / "a", models / "none"], text=models / "text.txt")


@pytest.mark.parametrize(
    ("file", "says"),
    [("tokenizer_config.json", "has no tokenizer"), ("model.safetensors", "no model.safetensors")],
)
def test_so_is_a_file_that_it_lacks(models, monkeypatch, tmp_path, file, says):
    (shutil.copytree(models / "b", tmp_path / "b") / file).unlink()
    monkeypatch.setattr("svdrift.api.evaluating.load_model", None)
    with pytest.raises(UserError, match=says):
        evaluate([models / "a", tmp_path / "b"], text=models / "text.txt")


def test_the_help_names_the_splits_of_the_card_game(monkeypatch, capsys):
    assert run(monkeypatch, "evaluate", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    names = re.search(r"general_points has (.*?ood_test)", said)[1]
    splits = read_task("general_points", {}).splits
    assert re.sub(r" \(.*?\)", "", names).split(", ") == [split.name for split in splits]


def test_accuracies_of_replies_are_paired(models, monkeypatch):
    """With replies that are known: right for even problems, in the second model for all."""

    def play(model, tokenizer, task, problems, **_):
        right = problems.reset_index().index % (2 - (model.folder == "b")) == 0
        return problems[["problem", "group", "subsets"]].assign(
            try_number=1, reply="", solved=right, reward=0.0, fault="none", translated=right
        )

    class Folder:
        def __init__(self, folder):
            self.folder = folder.name
            self.config = self

        def to(self, device):
            return self

        def get_text_config(self):
            return load_model(models / "a").config

    monkeypatch.chdir(models)
    monkeypatch.setattr("svdrift.api.evaluating.run_episodes", play)
    monkeypatch.setattr("svdrift.api.evaluating.load_model", lambda folder, dtype: Folder(folder))
    table = evaluate(["a", "b"], task="general_points", settings=SETTINGS, splits=["id_test"]).table
    assert table["accuracy"].tolist() == [0.5, 1.0]
    assert table.iloc[1]["difference"] == 0.5
    assert 0 < table.iloc[1]["difference_low"] < 0.5
    assert math.isnan(table.iloc[0]["difference"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a"], "one of the arguments --text --task is required"),
        (["a", "--text", "text.txt", "--task", "general_points"], "not allowed with argument"),
        (["a", "--text", "none.txt"], "none.txt: cannot be read: No such file"),
        (["a", "--text", "empty.txt"], "empty.txt: holds no text"),
        (["a", "--text", "bytes.txt"], "bytes.txt: not UTF-8 text (byte 3)"),
        (["a", "a", "--text", "text.txt"], "models: a is named twice"),
        (["a", "other", "--text", "text.txt"], "other: its tokenizer splits text.txt otherwise"),
        (["a", "--text", "text.txt", "--window", "300"], "window: 300 tokens, but a reads 256"),
        (["a", "--text", "text.txt", "--window", "1"], "window: at least 2 tokens, not 1"),
        (["a", "none", "--text", "text.txt"], "none: no such folder"),
        (["a", "--text", "text.txt", "--csv", "no/x.csv"], "--csv: no: no such folder"),
        (["a", "--text", "text.txt", "--batch-size", "0"], "--batch-size: at least 1, not 0"),
        (["a", "--task", "chess"], "'chess' is unknown"),
        (["a", "--task", "general_points", "--splits", "x"], "splits: 'x' is none of"),
        (["a", "--task", "general_points", "--problems", "0"], "--problems: at least 1, not 0"),
        (["a", "--task", "general_points", "--task-settings", "x"], "--task-settings: not a JSON"),
        (["a", "--task", "general_points", "--task-settings", '{"x": 1}'], "task: unknown key 'x'"),
    ],
)  # fmt: skip
def test_refuses_in_one_line(models, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(models)
    assert run(monkeypatch, "evaluate", *arguments) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
