"""At weight 0 a repair is the target, bit for bit, whatever its folder holds; else one refusal.

Tiny random models of transformers' own classes. A model of which no layout knows the matrices is
refused, and the line names what is not known, with the patterns to give.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from svdrift.errors import UserError
from svdrift.models.loading import load_model
from svdrift.recovery.apply import recovered
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
LOCAL = {"num_local_experts": 2, "num_experts_per_tok": 1}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
LIKE_LLAMA: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("Llama", "Mistral", "Qwen2", "Olmo", "Olmo2", "StableLm", "Granite")},
    **{name: {} for name in ("Cohere", "SmolLM3", "Ernie4_5")},  # tie by default, as do Gemmas
    **{name: WIDE for name in ("Qwen3", "Gemma", "Gemma2", "Helium")},
    # The first layer has known kinds alone, the others have experts.
    "Qwen2Moe": {**EXPERTS, "shared_expert_intermediate_size": 8, "mlp_only_layers": [0]},
}
FUSED = {"qkv", "o", "up", "down"}
MOE = {"q", "k", "v", "o", "experts.gate", "experts.up", "experts.down", "router"}
LAID_OUT: dict[str, tuple[dict[str, Any], set[str]]] = {  # and the kinds of matrix in their layers
    **{name: ({}, FUSED) for name in ("GPTNeoX", "Bloom", "Falcon")},
    "OPT": ({}, {"q", "k", "v", "o", "up", "down"}),
    "Phi": ({}, {"q", "k", "v", "o", "up", "down"}),
    "Phi3": ({}, {"qkv", "o", "gate_up", "down"}),
    "Starcoder2": ({}, {"q", "k", "v", "o", "up", "down"}),
    "Glm": (WIDE, {"q", "k", "v", "o", "gate_up", "down"}),
    "Nemotron": ({}, {"q", "k", "v", "o", "up", "down"}),
    "GPT2": ({}, {"q", "k", "v", "o", "up", "down"}),
    "Mixtral": (LOCAL, MOE),
    "Qwen3Moe": ({**EXPERTS, **WIDE}, MOE),
    "Olmoe": (EXPERTS, MOE),
    "GptOss": ({**LOCAL, **WIDE}, MOE),
    "Glm4Moe": (
        {**EXPERTS, **WIDE, "n_routed_experts": 2, "n_group": 1, "topk_group": 1}
        | {"first_k_dense_replace": 1, "n_shared_experts": 1},
        {*MOE, "gate", "up", "down", "shared_gate", "shared_up", "shared_down"},
    ),
}
STACKED = ("Mixtral", "Qwen3Moe", "Olmoe")  # whose files may hold experts one by one or as one
OTHERS = {  # a kind of matrix that is not known, and the kinds that are
    "Mamba": ({}, "backbone.layers.N.mixer.in_proj.weight", ""),
    "Persimmon": ({}, "model.layers.N.self_attn.query_key_value.weight", ""),
    "DeepseekV3": ({}, "model.layers.N.self_attn.kv_b_proj.weight", "o, gate, up, down"),
}
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
Q = "model.layers.1.self_attn.q_proj.weight"
Change = Callable[[dict[str, Tensor]], object]


def make(
    folder: Path, architecture: str, settings: dict[str, Any], seed: int, *, stacked: bool = False
) -> Path:
    """Save a tiny random model; `stacked`, with its experts as transformers holds them."""
    config = getattr(transformers, f"{architecture}Config")(**{**SMALL, **settings})
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    model.save_pretrained(folder, save_original_format=not stacked)
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


@pytest.mark.parametrize(
    ("architecture", "stacked"),
    [*((name, False) for name in LAID_OUT), *((name, True) for name in STACKED)],
)
@pytest.mark.parametrize("inside", [True, False])
def test_every_matrix_of_a_known_layout_is_repaired(architecture, stacked, inside, tmp_path):
    settings, kinds = LAID_OUT[architecture]
    anchor, target = (
        make(tmp_path / str(i), architecture, settings, i, stacked=stacked) for i in (0, 1)
    )
    one = open_on_demand(target)
    matrices = [matrix for matrix in one.weights.matrices if matrix.layer is not None]
    assert {matrix.kind for matrix in matrices} == kinds
    if not kinds & {"shared_up"}:  # whose layers differ
        experts = {kind for kind in kinds if kind.startswith("experts.")}
        assert len(matrices) == 3 * (len(kinds) + len(experts))  # two of each
    assert [n for n in one.weights.unmatched if one.weights.labels.layer_of(n) is not None] == []
    assert one.weights.depth == 3
    repair(target, anchor, tmp_path / "out", inside=inside)
    assert contents(tmp_path / "out") == contents(target)
    two = [open_on_demand(folder) for folder in (target, anchor)]
    write_folder(two[0], two[1], Intervention("reset"), tmp_path / "reset")
    assert contents(tmp_path / "reset") == contents(anchor)


@pytest.mark.parametrize(
    ("architecture", "stacked"),
    [("GPT2", False), ("GptOss", False), *((n, s) for n in STACKED[:2] for s in (False, True))],
)
def test_a_loaded_model_is_repaired_as_its_folder_is(architecture, stacked, tmp_path):
    """Though transformers stacks experts that files hold one by one, and renames Mixtral's."""
    anchor, target = (
        make(tmp_path / str(i), architecture, LAID_OUT[architecture][0], i, stacked=stacked)
        for i in (0, 1)
    )
    inside = "o" if architecture == "GPT2" else "experts.up"
    two = [open_on_demand(folder) for folder in (target, anchor)]
    some = Intervention("directions", top=0.5, layers=(0.5, 1), modules=("v", inside))
    write_folder(*two, some, tmp_path / "out")
    made = load_model(tmp_path / "out").state_dict()  # strict: every tensor, and no other
    model = load_model(target)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert any(not torch.equal(made[name], before[name]) for name in made)
    with recovered(model, *two, some):
        assert all(torch.equal(made[name], t) for name, t in model.state_dict().items())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    again = open_on_demand(tmp_path / "out")
    for matrix in again.weights.matrices:
        same = torch.equal(*(one.weight(matrix.key) for one in (again, two[0])))
        chosen = matrix.layer is None or (matrix.layer == 2 and matrix.kind in ("v", inside))
        assert same != chosen, matrix


UP = "model.layers.1.mlp.experts.gate_up_proj"
CUTS: dict[str, tuple[bool, tuple[str, Any, bool]]] = {  # tensor, where `up` or `k` is, transposed
    "Qwen3Moe": (True, (UP, (1, slice(8, None)), False)),
    "GptOss": (False, (UP, (1, slice(None), slice(1, None, 2)), True)),
    "GPT2": (False, ("transformer.h.1.attn.c_attn.weight", (slice(None), slice(16, 32)), True)),
}


@pytest.mark.parametrize("architecture", CUTS)
def test_a_part_is_repaired_by_its_own_singular_vectors(architecture, tmp_path):
    """In the file, against numpy; the rest of its tensor stays, bit for bit."""
    stacked, (name, where, transposed) = CUTS[architecture]
    anchor, target = (
        make(tmp_path / str(i), architecture, LAID_OUT[architecture][0], i, stacked=stacked)
        for i in (0, 1)
    )
    two = [open_on_demand(folder) for folder in (target, anchor)]
    kind = "k" if architecture == "GPT2" else "experts.up"
    some = Intervention("directions", top=0.5, modules=(kind,), embedding_and_head=False)
    write_folder(*two, some, tmp_path / "out")
    files = [load_file(tmp_path / one / "model.safetensors") for one in ("1", "0", "out")]
    old, other, made = (file[name][where].double().numpy() for file in files)
    if transposed:
        old, other, made = old.T, other.T, made.T
    (u, s, vh), (ua, _, va) = (np.linalg.svd(one, full_matrices=False) for one in (old, other))
    half = len(s) // 2
    u[:, :half], vh[:half] = ua[:, :half], va[:half]
    assert np.allclose(made, (u * s) @ vh, atol=1e-5)
    assert not np.allclose(made, old, atol=1e-3)
    if architecture != "GPT2":  # `gate` beside it
        rest = [file[name].flatten(2)[1] for file in (files[0], files[2])]
        gate = slice(0, 8) if not transposed else (slice(None), slice(0, None, 2))
        assert torch.equal(rest[0][gate], rest[1][gate])


def test_patterns_of_ones_own(tmp_path):
    anchor, target = (make(tmp_path / str(i), "GPT2", {}, i) for i in (0, 1))
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
    assert re.search(
        r"\(--patterns '.+=.+\\.\{layer\}\\..+'( and \d more)? says what they are\)$", said
    )
    assert len(said) < 900
    if known:
        modules = tuple(known.split(", "))
        assert set(modules) < set(DEFAULT_PATTERNS)
        repair(target, anchor, tmp_path / "out", inside=True, modules=modules)
        assert contents(tmp_path / "out") == contents(target)
