"""What commands take in place of a model folder, against weights worked out by hand."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from svdrift.errors import UserError
from svdrift.models.opening import opened
from tests.cli.checkpoints import run, trained
from tests.models.test_gguf import as_gguf, write
from tests.models.test_gguf import llama as llama

Q = "model.layers.1.self_attn.q_proj"
UP = "model.layers.2.mlp.up_proj"
E = "model.embed_tokens"
NORM = "model.norm.weight"
P = "base_model.model."
RANK = 2


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in several shards."""
    folder = tmp_path_factory.mktemp("models") / "base"
    trained().bfloat16().save_pretrained(folder, max_shard_size="8KB")
    (folder / "LICENSE").write_text("free")
    return folder


def weights(folder: Path) -> dict[str, Tensor]:
    return {n: t for file in folder.glob("*.safetensors") for n, t in load_file(file).items()}


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def adapter(folder: Path, base: object, tensors: dict[str, Tensor], **config: object) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": RANK, "lora_alpha": 6}
    (folder / "adapter_config.json").write_text(json.dumps(said | config))
    return folder


def factors(module: str, rows: int, columns: int, rank: int = RANK) -> dict[str, Tensor]:
    return {
        f"{P}{module}.lora_A.weight": random(rank, columns),
        f"{P}{module}.lora_B.weight": random(rows, rank),
    }


def product(tensors: dict[str, Tensor], module: str) -> Tensor:
    return tensors[f"{P}{module}.lora_B.weight"] @ tensors[f"{P}{module}.lora_A.weight"]


def test_an_adapter_is_merged(base, tmp_path):
    one, other = factors(Q, 16, 16), factors(UP, 24, 16, rank=3)
    words = {
        f"{P}{E}.lora_embedding_A": random(RANK, 29),
        f"{P}{E}.lora_embedding_B": random(16, 2),
    }
    whole = {f"{P}lm_head.modules_to_save.weight": random(29, 16), f"{P}{NORM}": random(16)}
    words[f"{P}{E}.base_layer.weight"] = random(29, 16)
    patterns = {"rank_pattern": {"up_proj": 3}, "alpha_pattern": {"layers.2.mlp.up_proj": 12}}
    folder = adapter(tmp_path / "a", base, one | other | words | whole, **patterns)
    before = weights(base)
    with opened(folder) as model:
        after = weights(model.folder)
        assert (model.folder / "LICENSE").read_text() == "free"
        assert len(list(model.folder.glob("*.safetensors"))) == 3
        assert not list(model.folder.glob("adapter*"))
        assert model.notes == (f"{folder}: merged into {base}",)
    assert not model.folder.exists()
    changes = {
        f"{Q}.weight": 6 / 2 * product(one, Q),
        f"{UP}.weight": 12 / 3 * product(other, UP),
        f"{E}.weight": 6 / 2 * (words[f"{P}{E}.lora_embedding_B"]
                                @ words[f"{P}{E}.lora_embedding_A"]).T,
    }  # fmt: skip
    start = before | {f"{E}.weight": random(29, 16)}
    wanted = {n: (start[n].float() + c).bfloat16() for n, c in changes.items()}
    wanted |= {"lm_head.weight": random(29, 16).bfloat16(), NORM: random(16).bfloat16()}
    assert after.keys() == before.keys()
    for name, tensor in after.items():
        assert torch.equal(tensor, wanted.get(name, before[name])), name


def test_rank_stabilised_and_beside_its_model(base, tmp_path):
    tensors = factors(Q, 16, 16)
    folder = adapter(tmp_path / "a", "inside", tensors, use_rslora=True)
    shutil.copytree(base, folder / "inside")
    with opened(folder) as model:
        made = weights(model.folder)[f"{Q}.weight"]
    wanted = weights(base)[f"{Q}.weight"].float() + 6 / math.sqrt(2) * product(tensors, Q)
    assert torch.equal(made, wanted.bfloat16())


def test_a_transposed_layer(tmp_path):
    """Conv1D of GPT-2 holds (in, out)."""
    name = "transformer.h.0.attn.c_attn"
    folder = tmp_path / "gpt2"
    folder.mkdir()
    save_file({"h.0.attn.c_attn.weight": random(4, 12)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    tensors = factors(name, 12, 4)
    with opened(adapter(tmp_path / "a", folder, tensors, fan_in_fan_out=True)) as model:
        made = weights(model.folder)["h.0.attn.c_attn.weight"]
    torch.testing.assert_close(made, random(4, 12) + 3 * product(tensors, name).T)


REFUSED = {
    "another module": (factors("model.layers.9.q", 4, 4), {}, "tensors that belong to nothing in"),
    "dora's lengths": (
        factors(Q, 16, 16) | {f"{P}{Q}.lora_magnitude_vector": random(16)},
        {},
        f"belong to nothing in BASE: {P}{Q}.lora_magnitude_vector",
    ),
    "a wrong shape": (factors(Q, 8, 16), {}, f"{Q}.weight of shape (8, 16) instead of (16, 16)"),
    "a whole one of wrong shape": (
        {f"{P}{NORM}": random(3)}, {}, f"{NORM} of shape (3,) instead of (16,)"
    ),
    "one factor": ({f"{P}{Q}.lora_A.weight": random(2, 16)}, {}, f"{Q} has no lora_B"),
    "no factors": (
        {f"{P}{Q}.lora_A.weight": random(2, 16), f"{P}{Q}.lora_B.weight": random(16, 3)},
        {},
        "lora_A of shape (2, 16) and lora_B of shape (16, 3) are no factors of a matrix",
    ),
    "another rank": (factors(Q, 16, 16), {"r": 4}, "rank 2, but adapter_config.json says 4"),
    "transposed": (factors(UP, 24, 16), {"fan_in_fan_out": True}, "shape (16, 24) instead of"),
    "DoRA": ({}, {"use_dora": True}, "use_dora: DoRA is not merged here"),
    "PiSSA": ({}, {"init_lora_weights": "pissa_niter_4"}, "init_lora_weights is 'pissa_niter_4'"),
    "IA3": ({}, {"peft_type": "IA3"}, "peft_type is 'IA3' (merged here: 'LORA')"),
    "no rank": ({}, {"r": None}, "r and lora_alpha must be numbers"),
    "no model": (
        {},
        {"base_model_name_or_path": "nowhere"},
        "its model, base_model_name_or_path of adapter_config.json: nowhere: no such folder or "
        "file (allowed: ",
    ),
    "no name": ({}, {"base_model_name_or_path": None}, "base_model_name_or_path is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "config", "says"), REFUSED.values(), ids=REFUSED)
def test_adapters_that_do_not_fit(base, tmp_path, tensors, config, says):
    folder = adapter(tmp_path / "a", base, tensors, **config)
    with pytest.raises(UserError) as caught, opened(folder):
        pass
    said = str(caught.value)
    assert said.startswith(str(folder))
    assert says.replace("BASE", str(base)) in said
    assert "\n" not in said
    assert "/svdrift-" not in said


def test_one_file(base, tmp_path, capsys):
    trained().save_pretrained(tmp_path / "whole")
    alone = tmp_path / "some where" / "a model.safetensors"
    alone.parent.mkdir()
    shutil.copy(tmp_path / "whole/model.safetensors", alone)
    with opened(alone) as model:
        assert weights(model.folder).keys() == weights(base).keys()
        assert not model.described
    with opened(tmp_path / "whole/model.safetensors") as model:
        assert model.described
        assert (model.folder / "generation_config.json").is_file()
    for file, says in (
        (next(base.glob("*.safetensors")), "one shard of several; give the folder"),
        (adapter(tmp_path / "a", base, factors(Q, 16, 16)) / "adapter_model.safetensors",
         "holds an adapter; give its folder"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=says), opened(file):
            pass


def test_errors_name_what_was_given(tmp_path):
    alone = tmp_path / "x.safetensors"
    save_file({"x": torch.ones(1)}, alone)
    with pytest.raises(UserError) as caught, opened(alone) as model:
        raise UserError(f"{model.folder}/model.safetensors: {model.folder}: wrong")
    assert str(caught.value) == f"{alone}/model.safetensors: {alone}: wrong"


@pytest.mark.parametrize("source", ["nowhere", "/no/where", "nowhere.gguf"])
def test_nothing_there(source):
    says = f"^{source}: no such folder or file \\(allowed: a Hugging Face model folder, "
    with pytest.raises(UserError, match=says), opened(source):
        pass


def test_pickled_weights_are_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    says = r"^'[^']*pytorch_model.bin' holds pickled weights, which are never read, since they can"
    with pytest.raises(UserError, match=says), opened(tmp_path / "pytorch_model.bin"):
        pass


def test_commands_take_each_of_them(llama, base, tmp_path, monkeypatch, capsys):
    """A GGUF file against the folder that it was made from: nothing changed; and the others."""
    llama.save_pretrained(tmp_path / "llama")
    file = write(tmp_path / "llama.gguf", as_gguf(llama))
    few = ["--draws", 2, "--nulls", "isotropic"]
    assert run(monkeypatch, "compare", file, tmp_path / "llama", *few) in (0, 1)
    assert "None of the 14 matrices compared changed." in capsys.readouterr().out
    made = adapter(tmp_path / "a", base, factors(Q, 16, 16))
    assert run(monkeypatch, "compare", base, made, *few) == 0
    said = capsys.readouterr().out
    assert "1 of 28 matrices changed" in said
    assert f"{made}: merged into {base}" in said
    out = tmp_path / "out"
    recover = ["recover", "--anchor", base, "--target", made, "--kind", "reset", "--out", out]
    assert run(monkeypatch, *recover) == 0
    assert all(torch.equal(t, weights(base)[n]) for n, t in weights(out).items())
    assert (
        "/svdrift-" not in (out / "provenance.json").read_text() + (out / "README.md").read_text()
    )
    assert run(monkeypatch, *recover[:3], "--target", file, "--kind", "reset", "--out", "x") == 2
    assert f"{base} and {file} have 4 and 2 layers" in capsys.readouterr().err
    single = shutil.copy(tmp_path / "llama/model.safetensors", tmp_path / "one.safetensors")
    assert run(monkeypatch, "check", single, "--no-spectra") == 0
    assert f"note: {single}: no config.json beside it" in capsys.readouterr().out
    assert run(monkeypatch, "check", file, "--no-spectra") == 0
    recover = [
        "recover",
        "--anchor",
        base,
        "--target",
        single,
        "--ranks",
        "20%",
        "--out",
        out / "x",
    ]
    assert run(monkeypatch, *recover) == 2
    assert "no config.json beside it, so nothing says" in capsys.readouterr().err
