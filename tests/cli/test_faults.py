"""Folders as people have them, and the line that each command has to say of them.

Each row of a table is a situation; its inputs are made once, from tiny models.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    PreTrainedModel,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from svdrift.cli import CLOSED, UNEXPECTED, check
from svdrift.models.folders import POINTER
from tests.cli.checkpoints import run, trained
from tests.recovery.test_architectures import SMALL
from tests.spectra.synthetic import moved

E, H, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
O_PROJ, DOWN = (f"model.layers.2.{name}.weight" for name in ("self_attn.o_proj", "mlp.down_proj"))
INDEX = "model.safetensors.index.json"
Tensors = dict[str, Tensor]


def copy(root: Path, source: str, name: str, change: Callable[[Tensors], object], **config) -> Path:
    """A folder like another one, with other tensors and settings (... removes one)."""
    folder = shutil.copytree(root / source, root / name)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    said = json.loads((folder / "config.json").read_text()) | config
    said = {key: value for key, value in said.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(said))
    return folder


def keep(tensors: Tensors) -> None:
    pass


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faults")
    trained().save_pretrained(root / "a")
    moved(trained(), 1).save_pretrained(root / "t")
    trained(tied=True).save_pretrained(root / "tied-a")
    moved(trained(tied=True), 1).save_pretrained(root / "tied-t")
    more: PreTrainedModel = moved(trained(), 1)
    more.resize_token_embeddings(37, mean_resizing=False)
    more.save_pretrained(root / "more-tokens")
    moe = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    moe |= {"shared_expert_intermediate_size": 8}
    for name, dense in (("moe-a", [0]), ("moe-all", [])):
        config = Qwen2MoeConfig(**SMALL, **moe, mlp_only_layers=dense)
        torch.manual_seed(0)
        experts = Qwen2MoeForCausalLM(config)
        with torch.no_grad():
            for parameter in experts.parameters():
                if parameter.ndim == 2:  # as training leaves it
                    parameter.add_(torch.ones(len(parameter), 1) @ parameter[:1] * 2)
        experts.save_pretrained(root / name)
        config = root / name / "config.json"  # of a type without a layout
        config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "own_moe"}))
    torch.manual_seed(0)
    GemmaForCausalLM(GemmaConfig(**SMALL, head_dim=8)).save_pretrained(root / "gemma")
    t5 = T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(t5).save_pretrained(root / "t5")

    copy(root, "tied-t", "untied", lambda t: t.update({H: t[E] * 1.05}), tie_word_embeddings=False)
    copy(root, "tied-t", "other-head", lambda t: t.update({H: t[E] * 1.05}))
    copy(root, "tied-t", "repeats", lambda t: t.update({H: t[E].clone()}))
    copy(root, "gemma", "gemma-repeats", lambda t: t.update({H: t[E].clone()}),
         tie_word_embeddings=...)  # fmt: skip
    copy(root, "a", "expanded", lambda t: [t[name].zero_() for name in (O_PROJ, DOWN)])
    copy(root, "moe-all", "moe-all-again", lambda t: None)
    copy(root, "a", "empty-again", lambda t: t.update({NORM: torch.empty(0)}))
    copy(root, "a", "empty", lambda t: t.update({NORM: torch.empty(0)}))
    copy(root, "a", "empty-matrix", lambda t: t.update({O_PROJ: torch.empty(0, 16)}))
    copy(root, "a", "only-outside", lambda t: t.update({E: t[E] * 1.1}))
    copy(root, "t", "nan-norm", lambda t: t[NORM].fill_(torch.nan))
    copy(root, "t", "one-more", lambda t: t.update({"model.layers.0.scale": torch.ones(3)}))
    copy(root, "a", "low-rank", lambda t: t.update({O_PROJ: torch.ones(16, 1) @ t[O_PROJ][:1]}))
    copy(root, "moe-a", "moe-experts", lambda t: [t[n].mul_(1.1) for n in t if ".experts." in n])
    injected = ("self_attn.q_proj", "self_attn.v_proj")
    copy(root, "t", "injected", lambda t: [
        t.update({f"model.layers.1.{m}.base_layer.weight": t.pop(f"model.layers.1.{m}.weight")})
        for m in injected])  # fmt: skip
    copy(root, "t", "five-layers", lambda t: t.update(
        {n.replace(".3.", ".4."): t[n].clone() for n in t if ".3." in n}))  # fmt: skip

    adapter = '{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": "x"}'
    copy(root, "t", "with-adapter", keep)
    (root / "with-adapter/adapter_config.json").write_text(adapter)
    save_file({"x": torch.ones(1)}, root / "with-adapter/adapter_model.safetensors")
    (root / "adapter").mkdir()
    (root / "adapter/adapter_config.json").write_text(adapter)
    for name, lacking in (("indexed", ""), ("misindexed", NORM)):
        names = [n for n in load_file(copy(root, "t", name, keep) / "model.safetensors")]
        names = [n for n in names if n != lacking]
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model.safetensors")}
        (root / name / INDEX).write_text(json.dumps(index))
    copy(root, "t", "variant", keep)
    shutil.copy(root / "t/model.safetensors", root / "variant/model.fp16.safetensors")
    copy(root, "t", "pointer", keep)
    (root / "pointer/model.safetensors").write_bytes(POINTER + b"v1\noid sha256:12\nsize 3\n")
    shutil.copytree(root / "indexed", root / "lacks-shard")
    (root / "lacks-shard/model.safetensors").unlink()
    copy(root, "t", "with-tokenizer", keep)
    for name in ("tokenizer.model.v3", "vocab.bpe", "spm.vocab", "tokenization.py", "notes.md"):
        (root / "with-tokenizer" / name).write_text("x")
    (root / "with-tokenizer/additional_chat_templates").mkdir()
    (root / "with-tokenizer/additional_chat_templates/tool.jinja").write_text("x")
    return root


COMPARE = "compare {} --draws 2 --nulls isotropic"
RECOVER = "recover --out OUT --anchor {}"
HALF = RECOVER + " --kind interpolate --weight 0.5"
ROWS = {
    # 1: a head of its own, whatever config.json says
    "recover keeps another head": (
        HALF.format("tied-a --target other-head --layers-only"),
        0,
        "- outside the layers: 3, 10.8 % of the weights; 3 differ: lm_head.weight (only in the "
        "target), model.embed_tokens.weight, model.norm.weight",
    ),
    "check names another head": (
        "check other-head --no-spectra",
        1,
        "problem: lm_head.weight differs from model.embed_tokens.weight, though config.json ties "
        "them (tie_word_embeddings): transformers keeps both and warns, other programs drop the "
        "head",
    ),
    "check has nothing against a repeated one": (
        "check repeats --no-spectra",
        0,
        "repeats: 39 tensors, no problem found",
    ),
    "compare has no head to compare": (
        COMPARE.format("tied-a other-head --modules head"),
        2,
        "error: tied-a: has no head of its own (its embedding serves as one)",
    ),
    # 2: what is not compared
    "compare names experts": (
        COMPARE.format("moe-a moe-experts"),
        0,
        "- matrices in the layers, of kinds that are not known: 22, 33.9 % of the weights; 12 "
        "differ: model.layers.1.mlp.experts.0.down_proj.weight, "
        "model.layers.1.mlp.experts.0.gate_proj.weight, "
        "model.layers.1.mlp.experts.0.up_proj.weight and 9 more",
    ),
    "compare says that they changed": (
        COMPARE.format("moe-a moe-experts"),
        0,
        "12 of 40 tensors that were not compared differ.",
    ),
    "recover names experts": (
        RECOVER.format("moe-a --target moe-experts --ranks 0.2"),
        0,
        "- matrices in the layers, of kinds that are not known: 22, 33.9 % of the weights; 12 "
        "differ: model.layers.1.mlp.experts.0.down_proj.weight, "
        "model.layers.1.mlp.experts.0.gate_proj.weight, "
        "model.layers.1.mlp.experts.0.up_proj.weight and 9 more",
    ),
    "compare refuses experts in all layers": (
        COMPARE.format("moe-all moe-all"),
        2,
        "error: moe-all: gate, up, down: no tensor is named as in Llama "
        "(model.layers.N.mlp.gate_proj.weight); known: q, k, v, o (--modules takes these alone); "
        "not known: model.layers.N.mlp.experts.N.down_proj.weight, "
        "model.layers.N.mlp.experts.N.gate_proj.weight, "
        "model.layers.N.mlp.experts.N.up_proj.weight, model.layers.N.mlp.gate.weight, "
        "model.layers.N.mlp.shared_expert.down_proj.weight and 3 more",
    ),
    "compare refuses an injected adapter": (
        COMPARE.format("a injected"),
        2,
        "error: injected has no q of layer 1, a has",
    ),
    "recover lists what an injected adapter has renamed": (
        HALF.format("injected --target t"),
        0,
        "- chosen, but not in the anchor, so left: model.layers.1.self_attn.q_proj.weight, "
        "model.layers.1.self_attn.v_proj.weight",
    ),
    # 3: matrices of zeros
    "compare counts what was zero": (COMPARE.format("expanded t"), 0, "28 of 28 matrices changed"),
    "compare names what was zero": (
        COMPARE.format("expanded t"),
        0,
        f"No angle, because all zeros in the anchor: {DOWN}, {O_PROJ}",
    ),
    "compare counts what became zero": (
        COMPARE.format("a expanded"),
        0,
        "None of these has directions in both checkpoints.",
    ),
    "recover takes no directions from zeros": (
        RECOVER.format("expanded --target t --ranks 0.2"),
        2,
        f"error: expanded: matrices without directions, because all zeros: {DOWN}, {O_PROJ} "
        "(choose other layers or modules, or a kind that needs none: triplets, interpolate, reset)",
    ),
    "recover gives no directions to zeros": (
        RECOVER.format("t --target expanded --ranks 0.2 --kind values"),
        2,
        f"error: expanded: matrices without directions, because all zeros: {DOWN}, {O_PROJ} "
        "(choose other layers or modules, or a kind that needs none: triplets, interpolate, reset)",
    ),
    "recover takes triplets": (
        RECOVER.format("expanded --target t --ranks 0.2 --kind triplets"),
        0,
        "OUT: 30 of 39 tensors repaired",
    ),
    "recover takes other layers": (
        RECOVER.format("expanded --target t --ranks 0.2 --layers 0-50%"),
        0,
        "OUT: 16 of 39 tensors repaired",
    ),
    "recover takes no ranks without values": (
        RECOVER.format("low-rank --target t --bottom-ranks 0.2"),
        2,
        f"error: low-rank: {O_PROJ}: all singular values of the chosen ranks are 0, so these ranks "
        "have no directions (choose others, or other layers or modules)",
    ),
    "check names zeros": (
        "check expanded --no-spectra",
        0,
        f"note: all zeros, so without directions: {DOWN}, {O_PROJ}",
    ),
    # 4: asks only of what is repaired that it fits
    "recover with added tokens": (
        RECOVER.format("a --target more-tokens --ranks 0.2 --layers-only"),
        0,
        "OUT: 28 of 39 tensors repaired",
    ),
    "recover with added tokens, embedding too": (
        RECOVER.format("a --target more-tokens --ranks 0.2"),
        2,
        "error: a and more-tokens differ in the shape of embedding, 29 and 37 rows, and which mean "
        "the same is not known: a: no tokenizer_config.json, so this folder has no tokenizer "
        "(recover leaves embedding and head alone with --layers-only, compare unless they are "
        "named)",
    ),
    "recover tied against untied": (
        RECOVER.format("tied-a --target untied --ranks 0.2 --layers-only"),
        0,
        "OUT: 28 of 39 tensors repaired",
    ),
    "recover tied against untied, head too": (
        RECOVER.format("tied-a --target untied --ranks 0.2"),
        2,
        "error: tied-a has no head of its own, untied has (--layers-only, in a study "
        "embedding_and_head: false, leaves embedding and head)",
    ),
    "recover untied against tied, head too": (
        RECOVER.format("untied --target tied-a --ranks 0.2"),
        2,
        "error: tied-a has no head of its own, untied has (--layers-only, in a study "
        "embedding_and_head: false, leaves embedding and head)",
    ),
    "recover with other layers": (
        RECOVER.format("five-layers --target t --ranks 0.2"),
        2,
        "error: five-layers and t have 5 and 4 layers",
    ),
    # 5: adapters
    "recover leaves an adapter": (
        RECOVER.format("a --target with-adapter --ranks 0.2"),
        0,
        "not taken over from with-adapter: adapter_config.json, adapter_model.safetensors",
    ),
    "check names an adapter": (
        "check with-adapter --no-spectra",
        1,
        "problem: with-adapter: adapter_config.json lies beside the weights: where peft is "
        "installed, transformers applies that adapter on top of them; only the weights are read "
        "here",
    ),
    "compare names an adapter": (
        COMPARE.format("a with-adapter --modules q"),
        0,
        "with-adapter: adapter_config.json lies beside the weights: where peft is installed, "
        "transformers applies that adapter on top of them; only the weights are read here",
    ),
    "compare needs the adapter's model": (
        COMPARE.format("a adapter"),
        2,
        "error: adapter: its model, base_model_name_or_path of adapter_config.json: x: no such "
        "folder or file (allowed: a Hugging Face model folder, ",
    ),
    # 6: an index that names one file
    "check takes an index of one file": (
        "check indexed --no-spectra",
        0,
        "indexed: 39 tensors, no problem found",
    ),
    "compare takes an index of one file": (
        COMPARE.format("t indexed --modules q"),
        0,
        "None of the 4 matrices compared changed.",
    ),
    "check reads that index": (
        "check misindexed --no-spectra",
        1,
        f"problem: in a shard but not indexed: {NORM}",
    ),
    # 7: what config.json leaves to its class
    "recover of a class that ties": (
        HALF.format("gemma --target gemma-repeats"),
        0,
        "OUT: 30 of 30 tensors repaired",
    ),
    # 8: only the modules that are named
    "recover of some modules": (
        RECOVER.format(
            "moe-all --target moe-all-again --modules q k v o --layers-only --ranks 0.2"
        ),
        0,
        "OUT: 12 of 63 tensors repaired",
    ),
    # 9: empty tensors, and figures that cannot be written
    "recover of an empty tensor": (
        HALF.format("empty-again --target empty"),
        2,
        f"error: empty: empty tensors: {NORM}",
    ),
    "compare of empty tensors": (
        COMPARE.format("empty empty --modules q"),
        0,
        "None of the 4 matrices compared changed.",
    ),
    "compare of an empty matrix": (
        COMPARE.format("a empty-matrix"),
        2,
        f"error: patterns.o matches {O_PROJ} of shape (0, 16): no matrix",
    ),
    "compare with a figure nowhere": (
        COMPARE.format("a t --figure a/config.json/f.png"),
        2,
        "error: --figure: a/config.json/f.png cannot be written: File exists",
    ),
    "compare with a figure in a folder's place": (
        COMPARE.format("a t --figure taken/f.png"),
        2,
        "error: --figure: taken/f.csv cannot be written: Is a directory",
    ),
    "compare with a figure of a long name": (
        COMPARE.format(f"a t --figure {'f' * 300}.png"),
        2,
        f"error: --figure: {'f' * 300}.png cannot be written: File name too long",
    ),
    # 10: a tensor that only the target has
    "interpolate leaves what the anchor has not": (
        HALF.format("a --target one-more"),
        0,
        "- chosen, but not in the anchor, so left: model.layers.0.scale",
    ),
    "reset leaves what the anchor has not": (
        RECOVER.format("a --target one-more --kind reset"),
        0,
        "OUT: 39 of 40 tensors repaired",
    ),
    # 11: words
    "compare of a variant": (
        COMPARE.format("a variant"),
        2,
        "error: variant: other weights beside model.safetensors, which alone is read: "
        "model.fp16.safetensors",
    ),
    "compare where other tensors changed": (
        COMPARE.format("a only-outside --modules q"),
        0,
        "1 of 35 tensors that were not compared differ.",
    ),
    "recover takes the tokenizer": (
        RECOVER.format("a --target with-tokenizer --ranks 0.2"),
        0,
        "not taken over from with-tokenizer: notes.md, tokenization.py",
    ),
    # In passing
    "compare of another architecture": (
        COMPARE.format("t5 t5"),
        2,
        "error: t5: q, k, v, o, gate, up, down: no tensor is named as in Llama "
        "(model.layers.N.self_attn.q_proj.weight); not known: "
        "decoder.block.N.layer.N.DenseReluDense.wi.weight, "
        "decoder.block.N.layer.N.DenseReluDense.wo.weight, "
        "decoder.block.N.layer.N.EncDecAttention.k.weight, "
        "decoder.block.N.layer.N.EncDecAttention.o.weight, "
        "decoder.block.N.layer.N.EncDecAttention.q.weight and 14 more",
    ),
    "compare of a pointer": (
        COMPARE.format("a pointer"),
        2,
        "error: pointer: pointer of Git LFS in place of the file (git lfs pull fetches it): "
        "model.safetensors",
    ),
    "compare without a shard": (
        COMPARE.format("a lacks-shard"),
        2,
        f"error: lacks-shard: shard model.safetensors named in {INDEX} is missing",
    ),
    "recover of NaN that would be copied": (
        RECOVER.format("a --target nan-norm --ranks 0.2"),
        2,
        f"error: nan-norm: NaN or infinities, which would be copied, in: {NORM}",
    ),
    "compare beside NaN": (
        COMPARE.format("a nan-norm --modules q"),
        1,
        f"WARNING: not compared, and hold NaN or infinities: {NORM}",
    ),
}


@pytest.mark.parametrize(("command", "code", "line"), ROWS.values(), ids=ROWS)
def test_the_line_that_is_said(root, monkeypatch, capsys, tmp_path, command, code, line):
    monkeypatch.chdir(root)
    (root / "taken/f.csv").mkdir(parents=True, exist_ok=True)
    words = [str(tmp_path / "out") if word == "OUT" else word for word in command.split()]
    assert run(monkeypatch, *words) == code
    said = capsys.readouterr()
    lines = (said.out + said.err).replace(str(tmp_path / "out"), "OUT").splitlines()
    assert any(one.startswith(line) for one in lines), lines
    assert max(map(len, lines)) < 800
    assert not (root / "a/config.json/f.png").exists()
    if code == 2:
        assert not said.out
        first = re.compile(  # what is changed, size and time
            r"\S+ will be changed towards \S+(: .* is idle)?|\d+ matrices of up to .* is idle"
        )
        assert len([one for one in said.err.splitlines() if not first.fullmatch(one)]) == 1
        assert not (tmp_path / "out").exists()


def test_shares_are_those_of_the_file(root, monkeypatch, capsys):
    compare = ["compare", root / "moe-a", root / "moe-experts", "--draws", 2, "--json"]
    assert run(monkeypatch, *compare) == 0
    rows = json.loads(capsys.readouterr().out)["not_compared"]
    tensors = load_file(root / "moe-a/model.safetensors")
    whole = sum(tensor.numel() for tensor in tensors.values())
    assert len(rows) == len(tensors) - 15
    for row in rows:
        assert row["share"] == pytest.approx(tensors[row["name"]].numel() / whole)
        assert row["differs"] == ("values" if ".experts." in row["name"] else "")


def test_what_a_check_of_another_architecture_says_is_short(root, monkeypatch, capsys):
    assert run(monkeypatch, "check", root / "t5", "--no-spectra") == 1
    (line,) = (one for one in capsys.readouterr().out.splitlines() if "describes no model" in one)
    assert len(line) < 400


def test_a_model_card_names_what_was_repaired_and_what_was_not(root, monkeypatch, tmp_path):
    recover = ["recover", "--anchor", root / "moe-a", "--target", root / "moe-experts"]
    assert run(monkeypatch, *recover, "--ranks", 0.2, "--out", tmp_path / "out") == 0
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "modules q, k, v, o, gate, up, down; embedding and head too): 17 of 55 tensors" in card
    assert "- matrices in the layers, of kinds that are not known: 22, 33.9 % of the" in card


def test_what_belongs_to_the_tokenizer_is_copied_and_adapters_are_not(root, monkeypatch, tmp_path):
    for name, out in (("with-tokenizer", "one"), ("with-adapter", "two")):
        recover = ["recover", "--anchor", root / "a", "--target", root / name, "--ranks", 0.2]
        assert run(monkeypatch, *recover, "--out", tmp_path / out) == 0
    made = {str(p.relative_to(tmp_path / "one")) for p in (tmp_path / "one").rglob("*")}
    assert {"tokenizer.model.v3", "vocab.bpe", "spm.vocab"} < made
    assert "additional_chat_templates/tool.jinja" in made
    assert "tokenization.py" not in made
    assert not list((tmp_path / "two").glob("adapter*"))
    assert run(monkeypatch, "check", tmp_path / "two", "--no-spectra") == 0


def test_a_head_of_its_own_survives_a_repair(root, monkeypatch, tmp_path):
    recover = ["recover", "--anchor", root / "tied-a", "--target", root / "other-head"]
    recover += ["--kind", "interpolate", "--weight", 0, "--layers-only", "--out", tmp_path / "out"]
    assert run(monkeypatch, *recover) == 0
    made, target = (
        load_file(folder / "model.safetensors")
        for folder in (tmp_path / "out", root / "other-head")
    )
    assert made.keys() == target.keys()
    assert all(torch.equal(made[name], target[name]) for name in target)


# --------------------------------------------------------------------------------------
# How a command ends


def test_an_output_that_nobody_reads_ends_quietly(root, monkeypatch, capfd):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert run(monkeypatch, "check", root / "t", "--no-spectra") == CLOSED == 141
    (forecast,) = capfd.readouterr().err.splitlines()  # and not a word about the pipe
    assert "if the machine is idle" in forecast


def test_what_cannot_be_printed_is_replaced(root, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    compare = COMPARE.format(f"{root / 'a'} {root / 't'} --modules q").split()
    assert run(monkeypatch, *compare) == 0
    out.seek(0)
    assert re.search(r"directions turned by \d+\.\d\? on average", out.read())


def test_the_unexpected_has_an_exit_code_of_its_own(root, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(check, "file_faults", fail)
    assert run(monkeypatch, "check", root / "t") == UNEXPECTED == 70
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert "unexpected ZeroDivisionError" in said.splitlines()[-1]
