"""At weight 0 a repair is the target, bit for bit, whatever its folder holds; else one refusal.

Tiny random models of transformers' own classes. A model whose layers are not named like Llama's is
refused, and the line names what is not known.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from svdrift.errors import UserError
from svdrift.recovery.folder import Written, write_folder
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.layouts import own_patterns
from svdrift.spectra.on_demand import open_on_demand
from svdrift.spectra.patterns import DEFAULT_PATTERNS, INSIDE

SMALL: dict[str, Any] = {
    **{"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3},
    **{"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
WIDE = {"head_dim": 8}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
LIKE_LLAMA: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("Llama", "Mistral", "Qwen2", "Olmo", "Olmo2", "StableLm", "Granite")},
    **{name: {} for name in ("Cohere", "SmolLM3", "Ernie4_5")},  # tie by default, as do Gemmas
    **{name: WIDE for name in ("Qwen3", "Gemma", "Gemma2", "Helium")},
    # The first layer has known kinds alone, the others have experts.
    "Qwen2Moe": {**EXPERTS, "shared_expert_intermediate_size": 8, "mlp_only_layers": [0]},
}
FUSED = {"qkv", "o", "up", "down"}
LAID_OUT: dict[str, tuple[dict[str, Any], set[str]]] = {  # and the kinds of matrix in their layers
    **{name: ({}, FUSED) for name in ("GPTNeoX", "Bloom", "Falcon")},
    "OPT": ({}, {"q", "k", "v", "o", "up", "down"}),
    "Phi": ({}, {"q", "k", "v", "o", "up", "down"}),
    "Phi3": ({}, {"qkv", "o", "gate_up", "down"}),
    "Starcoder2": ({}, {"q", "k", "v", "o", "up", "down"}),
    "Glm": (WIDE, {"q", "k", "v", "o", "gate_up", "down"}),
    "Nemotron": ({}, {"q", "k", "v", "o", "up", "down"}),
}
OTHERS = {  # a kind of matrix that is not known, and the kinds that are
    "GPT2": ({}, "transformer.h.N.attn.c_attn.weight", ""),
    "Mamba": ({}, "backbone.layers.N.mixer.in_proj.weight", ""),
    "Persimmon": ({}, "model.layers.N.self_attn.query_key_value.weight", ""),
    "DeepseekV3": ({}, "model.layers.N.self_attn.kv_b_proj.weight", "o, gate, up, down"),
    "Mixtral": (
        {"num_local_experts": 2},
        "model.layers.N.block_sparse_moe.experts.N.wN.weight",
        "q, k, v, o",
    ),
    "Qwen3Moe": (
        {**EXPERTS, **WIDE},
        "model.layers.N.mlp.experts.N.down_proj.weight",
        "q, k, v, o",
    ),
    "GptOss": (
        {"num_local_experts": 2, **WIDE},
        "model.layers.N.mlp.experts.gate_up_proj",
        "q, k, v, o",
    ),
}
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
Q = "model.layers.1.self_attn.q_proj.weight"
Change = Callable[[dict[str, Tensor]], object]


def make(folder: Path, architecture: str, settings: dict[str, Any], seed: int) -> Path:
    """Save a tiny random model."""
    config = getattr(transformers, f"{architecture}Config")(**{**SMALL, **settings})
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    model.save_pretrained(folder)
    return folder


def change(folder: Path, how: Change, **config: object) -> None:
    tensors = load_file(folder / "model.safetensors")
    how(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


def repair(
    target: Path, anchor: Path, out: Path, *, inside: bool, modules: Any = INSIDE
) -> Written:
    intervention = Intervention(
        "interpolate",
        weight=0.0,
        embedding_and_head=not inside,
        modules=None if modules == INSIDE else modules,
    )
    known = modules if inside else [*modules, "embedding", "head"]
    two = [open_on_demand(folder, modules=known) for folder in (target, anchor)]
    return write_folder(two[0], two[1], intervention, out)


def contents(folder: Path) -> dict[str, tuple[torch.dtype, tuple[int, ...], bytes]]:
    """Every tensor of a folder, as bits."""
    tensors: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    return {
        name: (t.dtype, tuple(t.shape), t.reshape(-1).view(torch.uint8).numpy().tobytes())
        for name, t in tensors.items()
    }


@pytest.fixture(scope="module", params=LIKE_LLAMA)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Anchor and target of an architecture."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = LIKE_LLAMA[request.param]
    return [make(folder / str(seed), request.param, settings, seed) for seed in (0, 1)]


@pytest.fixture(autouse=True)
def no_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take most of the time."""
    monkeypatch.setattr("svdrift.recovery.folder.write_provenance", lambda *_, **__: None)


def other_head(tensors: dict[str, Tensor]) -> None:
    tensors[HEAD] = tensors[EMBEDDING] * 1.5


def repeated_head(tensors: dict[str, Tensor]) -> None:
    tensors[HEAD] = tensors[EMBEDDING].clone()


def surplus(tensors: dict[str, Tensor]) -> None:
    """Tensors that no model here has: in a layer, outside, whole numbers, another kind of layer."""
    tensors["model.layers.1.self_attn.q_proj.lora_A.weight"] = torch.randn(2, 16)
    tensors["model.layers.0.attn.bias"] = torch.tensor([-0.0, 1.0])
    tensors["model.position_ids"] = torch.arange(4)
    tensors["classifier.weight"] = torch.randn(3, 16, dtype=torch.float64)


def missing(tensors: dict[str, Tensor]) -> None:
    for name in (Q, "model.norm.weight"):
        tensors.pop(name, None)


def more_tokens(tensors: dict[str, Tensor]) -> None:
    for name in (EMBEDDING, HEAD):
        if name in tensors:
            tensors[name] = torch.cat([tensors[name], torch.randn(8, 16)])


def half(tensors: dict[str, Tensor]) -> None:
    tensors.update({name: tensor.bfloat16() for name, tensor in tensors.items()})


def nothing(tensors: dict[str, Tensor]) -> None:
    pass


@pytest.mark.parametrize(
    ("to_target", "to_anchor", "tied", "inside"),
    [
        (surplus, missing, None, False),
        (missing, half, None, False),
        (half, surplus, None, False),
        (more_tokens, nothing, None, True),
        (repeated_head, repeated_head, True, False),
        (other_head, repeated_head, True, True),
        (repeated_head, other_head, True, True),
        (other_head, repeated_head, False, False),
    ],
)
def test_weight_0_is_the_target(pair, tmp_path, to_target, to_anchor, tied, inside):
    folders = []
    for source, how in zip(pair, (to_anchor, to_target), strict=True):
        folders.append(tmp_path / source.name)
        folders[-1].mkdir()
        for file in source.iterdir():
            (folders[-1] / file.name).write_bytes(file.read_bytes())
        change(folders[-1], how, **({} if tied is None else {"tie_word_embeddings": tied}))
    anchor, target = folders
    written = repair(target, anchor, tmp_path / "out", inside=inside)
    wanted = contents(target)
    assert contents(tmp_path / "out") == wanted
    told = {one.name for one in written.rest if one.differs != "only in the anchor"}
    assert sorted([*told, *written.plan.names]) == sorted(wanted)  # made anew, or said to be left


def test_a_head_that_repeats_its_embedding_follows_it(pair, tmp_path):
    for folder in pair:
        change(folder, repeated_head, tie_word_embeddings=True)
    two = [open_on_demand(folder) for folder in reversed(pair)]
    write_folder(two[0], two[1], Intervention("reset"), tmp_path / "out")
    made, anchor = contents(tmp_path / "out"), contents(pair[0])
    assert made[HEAD] == made[EMBEDDING] == anchor[EMBEDDING]


@pytest.mark.parametrize("architecture", LAID_OUT)
@pytest.mark.parametrize("inside", [True, False])
def test_every_matrix_of_a_known_layout_is_repaired(architecture, inside, tmp_path):
    settings, kinds = LAID_OUT[architecture]
    anchor, target = (make(tmp_path / str(i), architecture, settings, i) for i in (0, 1))
    one = open_on_demand(target)
    matrices = one.weights.matrices
    assert {matrix.module for matrix in matrices if matrix.layer is not None} == kinds
    assert len([m for m in matrices if m.layer is not None]) == 3 * len(kinds)
    assert [n for n in one.weights.unmatched if one.weights.labels.layer_of(n) is not None] == []
    assert one.weights.depth == 3
    repair(target, anchor, tmp_path / "out", inside=inside)
    assert contents(tmp_path / "out") == contents(target)
    two = [open_on_demand(folder) for folder in (target, anchor)]
    write_folder(two[0], two[1], Intervention("reset"), tmp_path / "reset")
    assert contents(tmp_path / "reset") == contents(anchor)


def test_patterns_of_ones_own(tmp_path):
    settings, *_ = OTHERS["GPT2"]
    anchor, target = (make(tmp_path / str(i), "GPT2", settings, i) for i in (0, 1))
    given = own_patterns([r"fc=transformer\.h\.{layer}\.mlp\.c_fc\.weight"])
    two = [open_on_demand(f, modules=INSIDE, patterns=given) for f in (target, anchor)]
    only = Intervention("reset", modules=("fc",), embedding_and_head=False)
    write_folder(*two, only, tmp_path / "out")
    made, before, after = (contents(tmp_path / name) for name in ("out", "0", "1"))
    for name in made:
        assert made[name] == (before if ".h." in name and "c_fc.weight" in name else after)[name]


@pytest.mark.parametrize("text", ["fc", "fc=x", "F C=h.{layer}", "=h.{layer}"])
def test_patterns_in_another_form(text):
    with pytest.raises(UserError, match=r"^patterns: NAME=REGEX with \{layer\}"):
        own_patterns([text])


@pytest.mark.parametrize("architecture", OTHERS)
def test_other_architectures_are_refused_or_repaired_in_part(architecture, tmp_path):
    settings, unknown, known = OTHERS[architecture]
    anchor, target = (make(tmp_path / str(i), architecture, settings, i) for i in (0, 1))
    with pytest.raises(UserError) as refused:
        repair(target, anchor, tmp_path / "out", inside=True)
    said = str(refused.value)
    assert f"{target}: " in said
    assert ": no tensor is named as in Llama (model.layers.N." in said
    assert unknown in said
    assert (f"known: {known} (--modules" in said) == bool(known)
    assert "\n" not in said
    assert len(said) < 700
    if known:
        modules = tuple(known.split(", "))
        assert set(modules) < set(DEFAULT_PATTERNS)
        repair(target, anchor, tmp_path / "out", inside=True, modules=modules)
        assert contents(tmp_path / "out") == contents(target)
