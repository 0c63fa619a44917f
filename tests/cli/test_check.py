"""`svdrift check` on folders with one thing wrong each."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svdrift.cli.expected import checking_expected
from tests.cli.checkpoints import run, trained
from tests.recovery.test_architectures import EXPERTS, WIDE, make
from tests.spectra.synthetic import llama

INDEX = "model.safetensors.index.json"
NORM = "model.norm.weight"
UP = "model.layers.2.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trained().save_pretrained(tmp_path / "model", max_shard_size="8KB")
    return tmp_path / "model"


def problems(folder: Path, monkeypatch, capsys, *arguments: str) -> list[str]:
    code = run(monkeypatch, "check", folder, *arguments)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    assert code == bool(said)
    return said


@pytest.mark.parametrize("stacked", [False, True])
def test_an_expert_that_looks_random_is_named(tmp_path, monkeypatch, capsys, stacked):
    sizes = {"hidden_size": 32, "moe_intermediate_size": 48, "num_experts": 3}
    folder = make(tmp_path / "m", "Qwen3Moe", {**EXPERTS, **WIDE, **sizes}, 0, stacked=stacked)
    tensors = load_file(folder / "model.safetensors")
    torch.manual_seed(0)
    for name, tensor in tensors.items():
        if tensor.ndim > 1:  # as training leaves it
            tensor += 2 * torch.ones(*tensor.shape[:-1], 1) @ tensor[..., :1, :]
        if name.endswith("layers.1.mlp.experts.down_proj"):
            tensor[2] = torch.randn(32, 48)
        if name.endswith("layers.1.mlp.experts.2.down_proj.weight"):
            tensor.copy_(torch.randn(32, 48))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    name = "model.layers.1.mlp.experts.2.down_proj.weight"
    said = problems(folder, monkeypatch, capsys)
    assert said == [f"problem: {name}: looks random, as if never trained"]


def edit(folder: Path, name: str, change) -> None:
    """Change the tensors of the shard that holds `name`."""
    shard = folder / json.loads((folder / INDEX).read_text())["weight_map"][name]
    tensors = load_file(shard)
    change(tensors)
    save_file(tensors, shard, {"format": "pt"})


def reindex(folder: Path, change) -> None:
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize("tied", [False, True])
def test_nothing_wrong(tmp_path, monkeypatch, capsys, tied):
    trained(tied=tied).bfloat16().save_pretrained(tmp_path / "model")
    assert run(monkeypatch, "check", tmp_path / "model") == 0
    assert f"{38 if tied else 39} tensors, no problem found" in capsys.readouterr().out


def test_size_and_time_are_said_first(folder, monkeypatch, capsys):
    edit(folder, NORM, lambda tensors: tensors[NORM].fill_(torch.nan))
    for option, what in ([], "singular values of each"), (["--no-spectra"], "read once"):
        assert run(monkeypatch, "check", folder, "--dry-run", *option) == 0
        said = capsys.readouterr()
        assert re.fullmatch(
            rf"30 matrices of up to 29 × 16, 0\.0 million weights, {what}: about 1 s with 1 "
            r"thread, if the machine is idle\n",
            said.err,
        )
        assert said.out == "No tensor was checked (--dry-run).\n"
    assert run(monkeypatch, "check", folder) == 1  # which says the same first
    assert capsys.readouterr().err.startswith("30 matrices of up to 29 × 16")


def test_a_check_of_larger_matrices_takes_longer():
    def seconds(shape, spectrum=True):
        said = checking_expected([shape] * 100, spectrum)
        return float(re.search(r"about (\d+) s", said)[1])

    small, tall, square = map(seconds, [(1024, 256), (8192, 256), (1024, 1024)])
    assert small < tall < square
    assert seconds((1024, 1024), spectrum=False) <= square / 10


def test_shards_are_read(folder, monkeypatch, capsys):
    assert problems(folder, monkeypatch, capsys) == []


def test_config_wants_other_tensors(folder, monkeypatch, capsys):
    edit(folder, NORM, lambda tensors: tensors.update(extra=tensors.pop(NORM)))
    reindex(folder, lambda names: names.update(extra=names.pop(NORM)))
    said = problems(folder, monkeypatch, capsys)
    assert said == [f"problem: missing: {NORM}", "problem: unexpected: extra"]


def test_wrong_shape(folder, monkeypatch, capsys):
    edit(folder, UP, lambda tensors: tensors.update({UP: tensors[UP][:3].clone()}))
    said = problems(folder, monkeypatch, capsys)
    assert said == [f"problem: wrong shape: {UP} (3, 16) instead of (24, 16)"]


def test_index_and_shards_disagree(folder, monkeypatch, capsys):
    reindex(folder, lambda names: names.pop(NORM))
    assert problems(folder, monkeypatch, capsys) == [f"problem: in a shard but not indexed: {NORM}"]
    reindex(folder, lambda names: names.update({NORM: names[UP], "ghost": names[UP]}))
    assert problems(folder, monkeypatch, capsys) == [
        "problem: indexed but in no shard: ghost",
        f"problem: in another shard than indexed: {NORM}",
    ]


def test_files(folder, monkeypatch, capsys):
    save_file({"stale": torch.zeros(2)}, folder / "model-00099-of-00099.safetensors")
    said = problems(folder, monkeypatch, capsys)
    assert said == ["problem: not in the index: model-00099-of-00099.safetensors"]
    shard = json.loads((folder / INDEX).read_text())["weight_map"][UP]
    (folder / shard).write_bytes((folder / shard).read_bytes()[:-10])
    assert any(f"{shard} cannot be read" in line for line in problems(folder, monkeypatch, capsys))
    (folder / shard).unlink()
    assert "is missing" in problems(folder, monkeypatch, capsys)[0]


def test_not_finite(folder, monkeypatch, capsys):
    def spoil(tensors):
        tensors[NORM][:2] = torch.tensor([float("nan"), float("-inf")])

    edit(folder, NORM, spoil)
    said = problems(folder, monkeypatch, capsys, "--no-spectra")
    assert said == [f"problem: {NORM}: 1 NaN and 1 infinite of 16 entries"]


def test_a_matrix_that_was_never_trained(folder, monkeypatch, capsys):
    fresh = llama(7).state_dict()[UP]
    edit(folder, UP, lambda tensors: tensors.update({UP: fresh}))
    assert problems(folder, monkeypatch, capsys) == [
        f"problem: {UP}: looks random, as if never trained"
    ]
    assert problems(folder, monkeypatch, capsys, "--no-spectra") == []


def test_unknown_architecture(folder, monkeypatch, capsys):
    (folder / "config.json").write_text('{"model_type": "zzz"}')
    assert "describes no model that can be loaded" in problems(folder, monkeypatch, capsys)[0]


def test_pickles_are_never_read(tmp_path, monkeypatch, capsys):
    (tmp_path / "config.json").write_text("{}")
    torch.save({}, tmp_path / "pytorch_model.bin")
    assert "pickled weights are refused" in problems(tmp_path, monkeypatch, capsys)[0]


def test_no_folder_is_the_user_s_mistake(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "check", tmp_path / "nowhere") == 2
    assert capsys.readouterr().err.count("\n") == 1
