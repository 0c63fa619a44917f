"""Checkpoints of which one has more tokens, against folders that hold the common rows alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from svdrift.api.comparing import compare
from svdrift.api.loading import load_factors
from svdrift.api.recovering import recover
from svdrift.errors import UserError
from svdrift.models.loading import load_model
from svdrift.models.tiny import make_tokenizer
from svdrift.recovery.apply import recovered
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.vocabulary import common_rows, match_vocabularies
from tests.cli.checkpoints import run, trained
from tests.spectra.synthetic import moved

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
WORDS = [f"w{i}" for i in range(24)]  # after five special tokens: 29 rows
MORE = 8


def save(folder: Path, seed: int | None, words: list[str], *, tied: bool = False) -> Path:
    """A checkpoint with a row for each token; moved by an update of a seed."""
    model = trained(tied=tied)
    if seed is not None:
        moved(model, seed)
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    torch.manual_seed(9)
    rows = torch.tensor([*range(5), *(5 + words.index(word) for word in WORDS)])
    for name in sorted({EMBEDDING, HEAD} & tensors.keys()):
        own = torch.randn(len(words) + 5, 16)
        own[rows] = tensors[name]
        tensors[name] = own
    rewrite(folder, tensors, len(words) + 5)
    make_tokenizer(words).save_pretrained(folder)
    return folder


def rewrite(folder: Path, tensors: dict[str, torch.Tensor], rows: int) -> None:
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": rows}))


def cut(folder: Path, to: Path, rows: torch.Tensor) -> Path:
    """The same checkpoint with these rows alone."""
    shutil.copytree(folder, to)
    tensors = load_file(folder / "model.safetensors")
    for name in {EMBEDDING, HEAD} & tensors.keys():
        tensors[name] = tensors[name][rows].contiguous()
    rewrite(to, tensors, len(rows))
    return to


@pytest.fixture(params=["leading", "by token"])
def three(request: pytest.FixtureRequest, tmp_path: Path):
    """Anchor, target with more tokens, and the target with the anchor's tokens alone."""
    more = [f"new{i}" for i in range(MORE)]
    words = WORDS + more if request.param == "leading" else more + WORDS[::-1]
    anchor, target = save(tmp_path / "anchor", None, WORDS), save(tmp_path / "target", 1, words)
    ids = [5 + words.index(word) for word in WORDS]
    rows = torch.tensor([*range(5), *ids])
    return anchor, target, cut(target, tmp_path / "cut", rows), rows


def test_the_common_rows_are_compared(three):
    anchor, target, alone, _ = three
    found, wanted = (
        compare(anchor, one, modules=["embedding", "head", "q"]) for one in (target, alone)
    )
    pd.testing.assert_frame_equal(found.matrices, wanted.matrices, rtol=1e-4, atol=1e-4)
    assert list(found.matrices["module"]) == ["q"] * 4 + ["embedding", "head"]
    assert found.matrices["moved"].all()
    for what in ("embedding", "head"):
        line = f"{what}: 29 rows are in both; left out: 8 of 37 rows of the target ({target})"
        assert line in found.summary
    left = [one for one in found.not_compared if "rows of the" in one.name]
    assert [(one.name, one.differs) for one in left] == [
        (f"{name}[8 rows of the target alone]", "only in the target") for name in (HEAD, EMBEDDING)
    ]
    back = compare(target, anchor, modules=["embedding"])
    assert "embedding: 29 rows are in both; left out: 8 of 37 rows of the anchor" in str(
        back.summary
    )


@pytest.mark.parametrize("kind", ["directions", "interpolate"])
def test_the_common_rows_are_repaired_and_the_others_left(three, tmp_path, kind):
    anchor, target, alone, rows = three
    how = {"top": 0.5} if kind == "directions" else {"weight": 0.25}
    written = recover(anchor, target, tmp_path / "out", Intervention(kind, **how))
    recover(anchor, alone, tmp_path / "wanted", Intervention(kind, **how))
    made, old, wanted = (
        load_file(folder / "model.safetensors")
        for folder in (tmp_path / "out", target, tmp_path / "wanted")
    )
    others = torch.ones(37, dtype=torch.bool)
    others[rows] = False
    for name in made:
        if name in (EMBEDDING, HEAD):
            assert torch.allclose(made[name][rows], wanted[name], atol=1e-5)
            assert not torch.allclose(made[name][rows], old[name][rows], atol=1e-3)
            assert torch.equal(made[name][others], old[name][others])
        else:
            assert torch.allclose(made[name], wanted[name], atol=1e-5)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "embedding: 29 rows are in both; left out: 8 of 37 rows of the target" in card
    assert f"{EMBEDDING}[8 rows of the target alone] (only in the target)" in card
    assert len([one for one in written.rest if "rows of the target" in one.name]) == 2
    load_model(tmp_path / "out")


def test_factors_from_a_file_and_a_loaded_model(three, tmp_path):
    anchor, target, *_ = three
    kept = [load_factors(folder, tmp_path / folder.name / "factors") for folder in (anchor, target)]
    theirs, ours, _ = match_vocabularies(*kept)
    some = Intervention("directions", top=0.5)
    recover(anchor, target, tmp_path / "out", some)
    model, made = load_model(target), load_model(tmp_path / "out").state_dict()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with recovered(model, ours, theirs, some):
        for name, tensor in model.state_dict().items():
            assert torch.allclose(tensor, made[name], atol=1e-5)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    same = match_vocabularies(kept[0], kept[0])
    assert same.anchor is same.target is kept[0]
    assert not same.notes


def test_a_repeated_head_follows_its_embedding(tmp_path):
    """A tied head that the file repeats, with rows that the anchor has not."""
    folders = [
        save(tmp_path / "anchor", None, WORDS, tied=True),
        save(tmp_path / "target", 1, [*WORDS, "new"], tied=True),
    ]
    file = folders[1] / "model.safetensors"
    tensors = load_file(file)
    save_file(tensors | {HEAD: tensors[EMBEDDING].clone()}, file, {"format": "pt"})
    recover(*folders, tmp_path / "out", Intervention("reset"))
    made = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(made[HEAD], made[EMBEDDING])
    assert torch.equal(made[HEAD][:29], load_file(folders[0] / "model.safetensors")[EMBEDDING])
    assert torch.equal(made[HEAD][29:], tensors[EMBEDDING][29:])


def test_padding_rows_belong_together():
    one, other = {"a": 0, "b": 1}, {"a": 0, "b": 1, "c": 6}
    assert [rows.tolist() for rows in common_rows(one, other, (4, 8))] == [[0, 1, 2, 3]] * 2
    late = {"a": 0, "b": 1, "c": 2}  # in a row that is padding of the other
    assert [rows.tolist() for rows in common_rows(one, late, (4, 8))] == [[0, 1]] * 2
    turned = {"b": 0, "x": 1, "a": 2, "y": 9}
    assert [rows.tolist() for rows in common_rows(one, turned, (2, 8))] == [[0, 1], [2, 0]]
    assert [len(rows) for rows in common_rows(one, {"y": 0}, (2, 8))] == [0, 0]


def test_rows_that_cannot_be_matched_are_refused(tmp_path, monkeypatch, capsys):
    anchor, target = save(tmp_path / "a", None, WORDS), save(tmp_path / "t", 1, [*WORDS, "new"])
    (anchor / "tokenizer_config.json").unlink()
    capsys.readouterr()
    code = run(monkeypatch, "compare", anchor, target, "--modules", "embedding")
    said = capsys.readouterr().err.splitlines()
    assert (code, len(said)) == (2, 1)
    assert f"{anchor} and {target} differ in the shape of embedding, 29 and 30 rows" in said[0]
    assert "no tokenizer_config.json" in said[0]
    assert run(monkeypatch, "compare", anchor, target, "--draws", 2, "--modules", "q") == 0
    make_tokenizer(["other"]).save_pretrained(anchor)
    tokens = json.loads((anchor / "tokenizer.json").read_text())
    vocabulary = tokens["model"]["vocab"]
    tokens["model"]["vocab"] = {f"{token}!": i for token, i in vocabulary.items()}
    tokens["model"]["unk_token"] = "<unk>!"
    tokens["added_tokens"] = []
    (anchor / "tokenizer.json").write_text(json.dumps(tokens))
    (anchor / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(UserError, match="their tokenizers have no token in common"):
        compare(anchor, target, modules=["embedding"])


def test_the_commands_say_which_rows_are_left_out(three, monkeypatch, capsys, tmp_path):
    anchor, target, *_ = three
    line = f"embedding: 29 rows are in both; left out: 8 of 37 rows of the target ({target})"
    assert run(monkeypatch, "compare", anchor, target, "--modules", "embedding", "--draws", 2) == 0
    assert line in capsys.readouterr().out
    out = tmp_path / "out"
    where = ["--anchor", anchor, "--target", target, "--out", out]
    assert run(monkeypatch, "recover", *where, "--kind", "reset") == 0
    said = capsys.readouterr()
    assert line in said.out.splitlines()
    assert line in (out / "README.md").read_text()
    assert "8 rows of the target alone]" in said.out
