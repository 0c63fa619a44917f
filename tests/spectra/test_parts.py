"""Tensors that hold several matrices, or one transposed, against files that hold each alone."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from svdrift.spectra.drift import drift_tables
from svdrift.spectra.layouts import own_patterns, patterns_option, suggested_patterns
from svdrift.spectra.leading_drift import leading_drift
from svdrift.spectra.matrices import Weights
from svdrift.spectra.on_demand import open_on_demand
from svdrift.spectra.parts import parts_of
from tests.recovery.test_architectures import EXPERTS, WIDE, make

LEADING = {"share": 0.25, "nulls": ["isotropic", "inputs_kept"], "draws": 2, "seed": 3}
WHOLE = {"shares": [0.25], "windows": 2, "nulls": ["isotropic", "inputs_kept"], "draws": 2}
CONV1D = {
    "c_attn": ("q", "k", "v"),
    "attn.c_proj": ("o",),
    "c_fc": ("up",),
    "mlp.c_proj": ("down",),
}
LINEAR = {m: f"self_attn.{m}_proj" for m in "qkvo"} | {m: f"mlp.{m}_proj" for m in ("up", "down")}


def write(folder: Path, tensors: dict[str, Tensor], model_type: str) -> Path:
    """A folder of tensors, by a configuration of this type."""
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


def as_linear(gpt2: Path, folder: Path) -> Path:
    """The same matrices as Linear layers, named like Llama's."""
    tensors = load_file(gpt2 / "model.safetensors")
    made = {}
    for layer in range(3):
        for name, modules in CONV1D.items():
            (found,) = (n for n in tensors if f"h.{layer}." in n and n.endswith(f"{name}.weight"))
            for module, part in zip(modules, tensors[found].T.chunk(len(modules)), strict=True):
                made[f"model.layers.{layer}.{LINEAR[module]}.weight"] = part.contiguous()
    return write(folder, made, "llama")


def same_tables(one: tuple[Path, Path], other: tuple[Path, Path], modules: list[str]) -> None:
    """Both pairs of folders have the same matrices, to the last bit, and the same drift."""
    pairs = [[open_on_demand(f, modules=modules) for f in pair] for pair in (one, other)]
    found = [
        (*leading_drift(*pair, **LEADING), *drift_tables(*pair, **WHOLE, seed=3)) for pair in pairs
    ]
    for table, again in zip(*found, strict=True):
        assert len(table)
        pd.testing.assert_frame_equal(table, again, rtol=1e-4, atol=1e-4)  # BLAS rounds by address
    for first, second in zip(*pairs, strict=True):
        assert first.factors.matrices.keys() == second.factors.matrices.keys()
        for key in first.factors.matrices:
            assert torch.equal(first.weight(key), second.weight(key))


def test_conv1d_is_the_linear_layer_of_the_transposed_matrix(tmp_path):
    folders = [make(tmp_path / str(i), "GPT2", {}, i) for i in (0, 1)]
    linear = [as_linear(folder, tmp_path / f"linear-{folder.name}") for folder in folders]
    same_tables(tuple(folders), tuple(linear), list(LINEAR))


def test_left_vectors_of_conv1d_are_of_its_outputs(tmp_path):
    folder = make(tmp_path / "gpt2", "GPT2", {}, 0)
    stored = load_file(folder / "model.safetensors")["transformer.h.1.mlp.c_fc.weight"]
    model = open_on_demand(folder)
    factors = model.factors.read((1, "up"))
    assert (len(factors.U), factors.Vh.shape[1]) == (64, 16)  # outputs, inputs
    inputs = torch.randn(5, 16)
    assert torch.allclose(
        inputs @ stored, ((inputs @ factors.Vh.T) * factors.S) @ factors.U.T, atol=1e-5
    )


@pytest.mark.parametrize("architecture", ["Mixtral", "Qwen3Moe", "Qwen2Moe"])
def test_stacked_experts_are_the_matrices_of_separate_ones(architecture, tmp_path):
    """Which transformers itself has stacked, or saved one by one."""
    settings = {**EXPERTS, **WIDE, "num_local_experts": 3, "num_experts": 3}
    separate = [make(tmp_path / f"{i}", architecture, settings, i) for i in (0, 1)]
    stacked = [make(tmp_path / f"s{i}", architecture, settings, i, stacked=True) for i in (0, 1)]
    assert any("experts.gate_up_proj" in name for name in Weights(stacked[0], {}).stored)
    assert not any("experts.gate_up_proj" in name for name in Weights(separate[0], {}).stored)
    modules = ["q", "experts.gate", "experts.up", "experts.down", "router"]
    same_tables(tuple(stacked), tuple(separate), modules)
    same_tables(tuple(stacked), (separate[0], stacked[1]), modules)  # one form beside the other
    labels = {key for key in open_on_demand(stacked[0], modules=modules).factors.matrices}
    assert {(1, f"experts.{i}.{m}") for i in range(3) for m in ("gate", "up", "down")} < labels


def test_experts_of_gpt_oss_are_what_it_multiplies_by(tmp_path):
    """It stores (inputs, outputs), and outputs of gate and up alternate."""
    settings = {"num_local_experts": 2, "num_experts_per_tok": 1, **WIDE}
    folder = make(tmp_path / "oss", "GptOss", settings, 0)
    tensors = load_file(folder / "model.safetensors")
    model = open_on_demand(folder)
    inputs, inside = torch.randn(5, 16), torch.randn(5, 24)
    for expert in range(2):
        both = inputs @ tensors["model.layers.1.mlp.experts.gate_up_proj"][expert]
        down = inside @ tensors["model.layers.1.mlp.experts.down_proj"][expert]
        for module, x, y in (
            ("gate", inputs, both[:, ::2]), ("up", inputs, both[:, 1::2]), ("down", inside, down)
        ):  # fmt: skip
            weight = model.weight((1, f"experts.{expert}.{module}"))
            assert torch.allclose(torch.nn.functional.linear(x, weight), y, atol=1e-6)
    assert not [name for name in model.weights.unmatched if ".layers." in name]


SHAPES = {
    "gpt2": {"h.0.attn.c_attn.weight": (4, 12), "h.0.mlp.c_fc.weight": (4, 6)},
    "qwen3_moe": {"m.experts.gate_up_proj": (3, 10, 4), "m.experts.down_proj": (3, 4, 5)},
    "gpt_oss": {"m.experts.gate_up_proj": (3, 4, 10), "m.experts.down_proj": (3, 5, 4)},
    "llama4": {"m.experts.gate_up_proj": (3, 8, 8), "m.experts.down_proj": (3, 4, 8)},
    "other": {"m.experts.w1": (3, 4, 5), "m.experts.down_proj": (2, 4, 5)},
}


@pytest.mark.parametrize("model_type", SHAPES)
def test_parts_cover_their_tensors_once(model_type):
    shapes = SHAPES[model_type]
    parts = parts_of(shapes, model_type)
    written = {name: torch.zeros(shape, dtype=torch.long) for name, shape in shapes.items()}
    whole = {n: torch.arange(t.numel()).reshape(t.shape) + 1 for n, t in written.items()}
    for part in parts.values():
        matrix = part.of(whole[part.stored])
        assert tuple(matrix.shape) == part.shape
        assert not part.of(written[part.stored]).any()
        part.put(written[part.stored], matrix)
    assert all(torch.equal(written[name], whole[name]) for name in shapes)


def test_which_axis_of_square_experts_is_inputs():
    """Of hidden size 8 with 4 features, where `gate_up` is square, `down` decides."""
    assert not parts_of({"experts.gate_up_proj": (2, 8, 8), "experts.down_proj": (2, 8, 4)}, None)[
        "experts.0.gate_proj.weight"
    ].transposed
    assert parts_of({"experts.gate_up_proj": (2, 8, 8), "experts.down_proj": (2, 4, 8)}, None)[
        "experts.0.gate_proj.weight"
    ].transposed


def test_the_patterns_that_are_named_are_those_to_give(tmp_path):
    tensors = {
        f"net.layers.{layer}.{name}": torch.randn(*shape)
        for layer in range(2)
        for name, shape in {
            "mix.in_proj.weight": (5, 4),
            "mlp.up_proj.weight": (6, 4),
            "moe.experts.0.w1": (4, 3),
            "moe.experts.1.w1": (4, 3),
            "moe.experts.w2": (2, 3, 4),
        }.items()
    }
    weights = Weights(write(tmp_path / "own", tensors, "own"), {})
    assert len(weights.unmatched) == 2 * 6
    given = suggested_patterns(weights.unmatched)
    assert shlex.split(patterns_option(weights.unmatched, len(given))) == ["--patterns", *given]
    assert patterns_option(weights.unmatched, 1).endswith("' and 3 more")
    named = Weights(tmp_path / "own", own_patterns(given))
    assert named.unmatched == ()
    assert {m.key for m in named.matrices if m.layer == 1} == {
        (1, "mix_in_proj"), (1, "mlp_up_proj"), *((1, f"experts.{i}.{w}") for i in (0, 1)
        for w in ("w1", "w2")),
    }  # fmt: skip


def test_one_expert_alone_is_read(tmp_path):
    """The matrix is a tensor of its own in memory, so no other expert is held."""
    folder = make(tmp_path / "m", "Qwen3Moe", {**EXPERTS, **WIDE}, 0, stacked=True)
    read = Weights(folder, {}).read("model.layers.0.mlp.experts.1.down_proj.weight")
    assert read.is_contiguous()
    assert read.untyped_storage().nbytes() == read.numel() * 4
