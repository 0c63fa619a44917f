"""`svdrift recover`: the folder that it writes, against a reconstruction in numpy."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from svdrift.models.tiny import make_tokenizer
from svdrift.recovery.grid import from_json
from svdrift.recovery.interventions import Intervention
from tests.cli.checkpoints import files, run, trained
from tests.spectra.synthetic import moved

INDEX = "model.safetensors.index.json"
MODULES = ("q", "k", "v", "o", "gate", "up", "down")
MATRIX = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Anchor in one float32 file, target in shards of bfloat16, with all that may lie beside."""
    folder = tmp_path_factory.mktemp("pair")
    trained().save_pretrained(folder / "anchor")
    target = moved(trained(), 1).bfloat16()
    target.generation_config.max_new_tokens = 7
    target.save_pretrained(folder / "target", max_shard_size="4KB")
    make_tokenizer(["a", "b"]).save_pretrained(folder / "target")
    (folder / "target/LICENSE").write_text("free")
    (folder / "target/README.md").write_text("the target's own card")
    (folder / "target/modeling.py").write_text("raise SystemExit")
    return folder / "anchor", folder / "target"


def recover(monkeypatch, pair, out, *arguments: object) -> int:
    anchor, target = pair
    where = ["--anchor", anchor, "--target", target, "--out", out]
    return run(monkeypatch, "recover", *where, *arguments)


def state(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict()


def test_directions_in_a_block_of_layers(pair, monkeypatch, capsys, tmp_path):
    out = tmp_path / "deep" / "out"
    monkeypatch.setattr("svdrift.scripting.LOG_INTERVAL_S", 0)
    code = recover(monkeypatch, pair, out, "--ranks", 0.25, "--layers", "0-25%", "--layers-only")
    assert code == 0
    said = capsys.readouterr()
    assert "7 of 39 tensors repaired" in said.out
    begins = f"{pair[1]} will be changed towards {pair[0]}: 7 matrices of up to "
    assert said.err.startswith(begins)
    *_, caution, last = said.out.splitlines()
    assert caution == (
        "A lower loss is not yet an ability regained, and a repair that nowhere beats the anchor "
        "is not worth having."
    )
    assert last == (
        f"Next: svdrift evaluate {pair[1]} {out} {pair[0]} --task NAME (or --text FILE)"
    )
    assert "layer 0 of 4, counted from 0; " in (out / "README.md").read_text()
    assert "tensors repaired: 7/7" in said.err
    assert "not taken over from" in said.err
    assert "modeling.py" in said.err
    (recipe,) = re.findall(r"^\{.*\}$", (out / "README.md").read_text(), re.MULTILINE)
    done = json.loads((out / "provenance.json").read_text())["settings"]["intervention"]
    assert from_json(recipe) == from_json(json.dumps(done))
    anchor, target, made = state(pair[0]), state(pair[1]), state(out)
    assert {tensor.dtype for tensor in made.values()} == {torch.bfloat16}
    changed = {name for name in target if not torch.equal(made[name], target[name])}
    assert len(changed) == 7
    assert all(name.startswith("model.layers.0.") for name in changed)
    for name in changed:
        old, other = (state[name].double().numpy() for state in (target, anchor))
        u, s, vh = np.linalg.svd(old, full_matrices=False)
        ua, _, va = np.linalg.svd(other, full_matrices=False)
        k = round(0.25 * len(s))
        u[:, :k], vh[:k] = ua[:, :k], va[:k]
        error = np.abs(made[name].double().numpy() - (u * s) @ vh)
        assert (error <= np.abs((u * s) @ vh) * 2**-8 + 1e-5).all()  # bfloat16 has 8 bits


def test_distances_before_and_after(pair, monkeypatch, capsys, tmp_path):
    out = tmp_path / "out"
    assert recover(monkeypatch, pair, out, "--ranks", "25%", "--layers", "0-0.5") == 0
    (said,) = (
        line for line in capsys.readouterr().out.splitlines() if line.startswith("Distance to")
    )
    before, to_anchor, nothing, to_target = map(float, re.findall(r"([\d.]+) %", said))
    anchor, target, made = state(pair[0]), state(pair[1]), state(out)
    changed = [name for name in target if not torch.equal(made[name], target[name])]

    def distance(one, other):
        squares = [(one[n].double() - other[n].double()).square().sum() for n in changed]
        whole = sum(anchor[n].double().square().sum() for n in changed)
        return 100 * (sum(squares) / whole).sqrt().item()

    assert before == pytest.approx(distance(target, anchor), rel=5e-3)
    assert to_anchor == pytest.approx(distance(made, anchor), rel=5e-3)
    assert to_target == pytest.approx(distance(made, target), rel=5e-3)
    assert nothing == 0
    assert said in (out / "README.md").read_text()


def test_a_dry_run_writes_nothing(pair, monkeypatch, capsys, tmp_path):
    assert recover(monkeypatch, pair, tmp_path / "out", "--ranks", "20%", "--dry-run") == 0
    said = capsys.readouterr()
    assert "30 of 39 tensors would be repaired, 0.00 GB would be written (--dry-run)" in said.out
    assert "30 matrices of up to 29 × 16" in said.err
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_complete(pair, monkeypatch, tmp_path):
    out = tmp_path / "out"
    assert recover(monkeypatch, pair, out, "--ranks", 0.2) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # nothing is left beside it
    assert len(list(out.glob("model-*.safetensors"))) > 3
    shards = set(json.loads((out / INDEX).read_text())["weight_map"].values())
    assert shards == {path.name for path in out.glob("*.safetensors")}
    assert run(monkeypatch, "check", out) == 0
    loaded = AutoModelForCausalLM.from_pretrained(out)
    assert loaded.generation_config.max_new_tokens == 7
    assert AutoTokenizer.from_pretrained(out)("a b")["input_ids"]
    assert (out / "LICENSE").read_text() == "free"
    record = json.loads((out / "provenance.json").read_text())
    assert record["settings"]["intervention"]["top"] == 0.2
    card = (out / "README.md").read_text()
    assert '"kind": "directions", "top": 0.2' in card
    assert "BF16: at most 0.39 % of an entry" in card
    assert "the target's own card" not in card
    assert "The repair was not evaluated." in card
    assert "`hf upload YOUR-NAME/out .`" in card
    assert str(tmp_path.parent) not in card  # cards are published; paths are not


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (torch.full((16,), torch.inf), "would hold NaN or infinities"),
        (torch.ones(1), "model.norm.weight has shape (1,), in"),
    ],
)
def test_refuses_what_would_break_the_model(pair, monkeypatch, capsys, tmp_path, broken, says):
    anchor = shutil.copytree(pair[0], tmp_path / "anchor")
    file = anchor / "model.safetensors"
    save_file(load_file(file) | {"model.norm.weight": broken}, file)
    assert recover(monkeypatch, (anchor, pair[1]), tmp_path / "out", "--kind", "reset") == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_one_file_stays_one_file(pair, monkeypatch, tmp_path):
    swapped = (pair[1], pair[0])
    assert recover(monkeypatch, swapped, tmp_path / "out", "--kind", "reset") == 0
    assert not (tmp_path / "out" / INDEX).exists()
    made, anchor = load_file(tmp_path / "out/model.safetensors"), state(pair[1])
    assert set(made) == set(anchor)
    for name, tensor in made.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, anchor[name].float())


def test_interpolation(pair, monkeypatch, tmp_path):
    out = tmp_path / "out"
    assert recover(monkeypatch, pair, out, "--kind", "interpolate", "--weight", 0.25) == 0
    anchor, target, made = state(pair[0]), state(pair[1]), state(out)
    for name, tensor in made.items():
        wanted = 0.75 * target[name].float() + 0.25 * anchor[name]
        torch.testing.assert_close(tensor.float(), wanted, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--ranks: directions needs a share of the ranks"),
        (
            ["--ranks", "2"],
            "--ranks: a share from 0 to 1 such as 0.2, or percent such as 20%, not 2",
        ),
        (
            ["--ranks", "60%", "--bottom-ranks", "0.6"],
            "--ranks, --bottom-ranks: shares of the rank",
        ),
        (["--kind", "reset", "--ranks", "0.2"], "--ranks, --bottom-ranks: reset takes whole"),
        (
            ["--ranks", "0.2", "--layers", "0-7"],
            "--layers: a block of the depth in percent such as 0-25%",
        ),
        (["--ranks", "0.2", "--layers", "50-5%"], "--layers: a block of the depth"),
        (["--ranks", "0.2", "--layers", "0-5%"], "--layers: 0-5% holds none of 4 layers"),
        (["--ranks", "0.2", "--modules", "z"], "--modules: 'z' is not known (allowed: q, "),
        (["--kind", "interpolate"], "--weight: interpolate needs one"),
    ],
)
def test_refuses_recipes(pair, monkeypatch, capsys, tmp_path, arguments, says):
    assert recover(monkeypatch, pair, tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert says in said[0]
    assert list(tmp_path.iterdir()) == []


def test_refuses_to_repair_a_model_with_itself(pair, monkeypatch, capsys, tmp_path):
    same = pair[1], f"{pair[1]}/../{pair[1].name}"
    assert recover(monkeypatch, same, tmp_path / "out", "--kind", "reset") == 2
    assert capsys.readouterr().err.endswith(
        f"--anchor: {pair[1]} is --target too (wanted: another checkpoint)\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_never_overwrites(pair, monkeypatch, capsys):
    before = files(pair[1])
    assert recover(monkeypatch, pair, pair[1], "--ranks", 0.2) == 2
    assert "exists already" in capsys.readouterr().err
    assert recover(monkeypatch, pair, pair[1] / "inside", "--ranks", 0.2) == 2
    assert "lies inside" in capsys.readouterr().err
    assert files(pair[1]) == before


def test_asks_for_room_before_writing(pair, monkeypatch, capsys, tmp_path):
    full = shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    assert recover(monkeypatch, pair, tmp_path / "deep" / "out", "--ranks", 0.2) == 2
    assert "needs 0.07 GB, but the disk has 0.00 GB left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_leaves_nothing_when_it_fails(pair, monkeypatch, capsys, tmp_path, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("svdrift.recovery.folder.write_provenance", fail)
    code = recover(monkeypatch, pair, tmp_path / "out", "--ranks", 0.2)
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    size, *lines = capsys.readouterr().err.splitlines()
    assert "if the machine is idle" in size
    assert len(lines) == 1
    assert list(tmp_path.iterdir()) == []


def test_other_architectures_are_refused(pair, monkeypatch, capsys, tmp_path):
    other = trained()
    other.resize_token_embeddings(31)
    other.save_pretrained(tmp_path / "other")
    assert recover(monkeypatch, (tmp_path / "other", pair[1]), tmp_path / "out", "--ranks", 1) == 2
    assert "differ in the shape of embedding" in capsys.readouterr().err


def test_a_file_with_a_share_for_each_matrix(pair, monkeypatch, capsys, tmp_path):
    names = ["embedding", "head", *(f"{i}.{m}" for i in range(4) for m in MODULES)]
    shares = dict.fromkeys(names, 0.0) | {"2.up": 0.25}
    file = tmp_path / "shares.json"
    file.write_text(json.dumps(shares))
    assert recover(monkeypatch, pair, tmp_path / "out", "--ranks", file) == 0
    target, made = state(pair[1]), state(tmp_path / "out")
    assert {name for name in target if not torch.equal(made[name], target[name])} == {
        "model.layers.2.mlp.up_proj.weight"
    }
    assert "a share of the ranks for each matrix" in (tmp_path / "out/README.md").read_text()
    (recipe,) = re.findall(r"^\{.*\}$", (tmp_path / "out/README.md").read_text(), re.MULTILINE)
    assert from_json(recipe) == Intervention("per_matrix", shares=shares)
    file.write_text(json.dumps({"embedding": 0.2}))
    assert recover(monkeypatch, pair, tmp_path / "other", "--ranks", file) == 2
    assert "--ranks: no share for" in capsys.readouterr().err


def test_auto_is_the_uniform_share(pair, monkeypatch, tmp_path):
    assert recover(monkeypatch, pair, tmp_path / "auto", "--ranks", "auto") == 0
    assert recover(monkeypatch, pair, tmp_path / "share", "--ranks", "20%") == 0
    auto, uniform = state(tmp_path / "auto"), state(tmp_path / "share")
    assert all(torch.equal(auto[name], uniform[name]) for name in uniform)
