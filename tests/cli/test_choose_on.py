"""`svdrift recover --choose-on`: the choice, against every repaired folder evaluated apart."""

from __future__ import annotations

import re

import pytest
import torch

import svdrift
from svdrift.api import loading
from svdrift.models.loading import save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.recovery.choosing import candidates
from tests.cli.checkpoints import run

WORDS = ["a", "b", "c", "d"]
LINES = ["a b c d a b", "b c d a b c d", "c d a b c", "d a b c d a", "a b c d", "b c d a b c"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An anchor that knows the text, and a target that was trained on its reverse."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = make_tokenizer(WORDS)
    torch.manual_seed(0)
    shape = ArchitectureSettings(hidden_size=16, layers=2, heads=2, intermediate_size=32)
    model = make_model(len(tokenizer), shape)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for name, step in (("anchor", 1), ("target", -1)):
        for _ in range(40):
            texts = [" ".join(line.split()[::step]) for line in LINES]
            for ids in tokenizer(texts)["input_ids"]:
                tokens = torch.tensor([ids])
                loss = model(tokens, labels=tokens).loss
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        save_checkpoint(model, tokenizer, folder / name)
    (folder / "text.txt").write_text("\n\n".join(LINES))
    (folder / "reverse.txt").write_text("\n\n".join(" ".join(one.split()[::-1]) for one in LINES))
    (folder / "second.txt").write_text("\n\n".join(LINES[1::2]))
    return folder


def recover(monkeypatch, models, out, *arguments) -> int:
    where = ["--anchor", models / "anchor", "--target", models / "target", "--out", out]
    return run(monkeypatch, "recover", *where, *arguments)


def test_the_choice_is_written_and_its_loss_is_that_of_the_folder(
    models, monkeypatch, capsys, tmp_path
):
    decomposed = []
    plain = loading.decompose_checkpoint

    def counting(folder, *arguments, **options):
        decomposed.append(folder.name)
        plain(folder, *arguments, **options)

    def never(*_, **__):
        raise AssertionError("decomposed again")

    monkeypatch.setattr(loading, "decompose_checkpoint", counting)
    monkeypatch.setattr("svdrift.spectra.on_demand.decompose", never)
    out = tmp_path / "out"
    assert recover(monkeypatch, models, out, "--choose-on", models / "text.txt") == 0
    said, told = capsys.readouterr()
    assert decomposed == ["target", "anchor"]
    assert re.search(
        r"2 decompositions of each and 21 repairs tried, \d+ tokens of text in all: about \d+ s",
        told,
    )
    *_, caution, then = said.splitlines()
    assert caution.startswith("A lower loss is not yet an ability regained")
    assert then.startswith("Next: svdrift evaluate ")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # no factors are left
    name = re.search(r"^Chosen on every .*: (\S+), the best of 12 with a", said, re.M)[1]
    assert f"`{name}`" in (out / "README.md").read_text() or name in (out / "README.md").read_text()
    assert "Plain interpolation, interpolate-weight" in (out / "README.md").read_text()
    assert "was not evaluated" not in (out / "README.md").read_text()
    table = svdrift.evaluate([models / "target", out], text=models / "second.txt").table
    found = re.search(r"\(n = 3 documents\): (\S+) nats per token, (\S+) \[", said)
    assert float(found[1]) == pytest.approx(table["loss"][1], abs=2e-4)
    assert float(found[2]) == pytest.approx(table["difference"][1], abs=2e-4)


def test_the_lowest_of_all_candidates_is_chosen(models, tmp_path):
    pair = [svdrift.load_factors(models / name, tmp_path / name) for name in ("anchor", "target")]
    choice = svdrift.choose(*pair, models / "text.txt")
    text = tmp_path / "first.txt"
    text.write_text("\n\n".join(LINES[::2]))
    losses = {}
    for one in candidates("directions", 2):
        svdrift.recover(*pair, tmp_path / one.id, one)
        losses[one] = svdrift.evaluate(tmp_path / one.id, text=text).table["loss"][0]
    selection = choice.selection.set_index("model")["loss"]
    for one, loss in losses.items():
        assert selection[one.id] == pytest.approx(loss, abs=1e-5)
    assert choice.intervention == min(losses, key=losses.get)
    weights = {name: loss for name, loss in selection.items() if name.startswith("interpolate")}
    assert choice.interpolation.id == min(weights, key=weights.get)


def test_interpolation_can_be_chosen(models, monkeypatch, capsys, tmp_path):
    arguments = ["--kind", "interpolate", "--layers", "0-100%", "--choose-on", models / "text.txt"]
    assert recover(monkeypatch, models, tmp_path / "out", *arguments) == 0
    said = capsys.readouterr().out
    assert "interpolate-weight0.75, the best of 3" in said
    assert "Plain interpolation" not in said


def test_every_other_document_chooses(models, tmp_path):
    """One kind of text after another: both halves have both."""
    reverse = [" ".join(line.split()[::-1]) for line in LINES]
    (tmp_path / "text.txt").write_text("\n\n".join([*LINES, *reverse]))
    (tmp_path / "half.txt").write_text("\n\n".join([*LINES, *reverse][1::2]))
    choice = svdrift.choose(models / "anchor", models / "target", tmp_path / "text.txt")
    told = choice.held_out.set_index("model")["loss"]["target"]
    table = svdrift.evaluate(models / "target", text=tmp_path / "half.txt").table
    assert told == pytest.approx(table["loss"][0], abs=1e-6)


def test_words_that_the_vocabulary_does_not_hold_are_told(models, tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join([*LINES, "x y"]))
    choice = svdrift.choose(models / "anchor", models / "target", tmp_path / "text.txt")
    words = "WARNING: 5.56 % of the tokens stand for words that the vocabulary does not hold."
    assert choice.summary[-1] == words


def test_the_time_is_said_before_anything_is_decomposed(models, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("svdrift.cli.recover.load_factors", None)
    asked = ["--choose-on", models / "text.txt", "--layers", "0-50%", "--dry-run"]
    assert recover(monkeypatch, models, tmp_path / "out", *asked) == 0
    said = capsys.readouterr()
    # 4 ranks and 3 weights; half of the documents is read for each and for the target, the other
    # half for the target, the anchor and both that were chosen.
    first, second = (sum(len(one.split()) for one in LINES[i::2]) for i in (0, 1))
    tokens = 8 * first + 4 * second
    assert f" 7 repairs tried, {tokens} tokens of text in all: about 1 s with 1 thr" in said.err
    assert "out: would be the best of 4 on " in said.out


def test_nothing_is_written_where_nothing_is_gained(models, monkeypatch, capsys, tmp_path):
    """On a text that the target knows best."""
    code = recover(monkeypatch, models, tmp_path / "out", "--choose-on", models / "reverse.txt")
    assert code == 1
    assert "not written: none lowers the loss of the half that chooses" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--choose-on", "none.txt"], "none.txt: cannot be read"),
        (["--choose-on", "short.txt"], "too short to choose on: 3 documents"),
        (["--choose-on", "foreign.txt"], "foreign.txt: 94.1 % of the tokens stand for words that"),
        (["--choose-on", "text.txt", "--ranks", "2"], "--ranks: "),
        (["--choose-on", "text.txt", "--weight", "0.5"], "weight: directions has none"),
    ],
)
def test_refuses_in_one_line(models, monkeypatch, capsys, tmp_path, arguments, says):
    monkeypatch.chdir(models)
    (models / "short.txt").write_text("a b\n\nc d\n\na b")
    # Found before anything is decomposed.
    monkeypatch.setattr("svdrift.cli.recover.load_factors", None)
    (models / "foreign.txt").write_text("\n\n".join(["x y z w"] * 4) + " a")
    assert recover(monkeypatch, models, tmp_path / "out", *arguments) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
