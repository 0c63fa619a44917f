"""Which tensors are matrices in models that are not named like Llama, by `model_type`.

A fused matrix of queries, keys and values, or of gate and up, is one matrix here, as it is one in
training. Patterns are of names after `svdrift.spectra.parts`, which cuts tensors into matrices.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from svdrift.errors import UserError
from svdrift.models.folders import tensor_names
from svdrift.spectra.parts import model_type
from svdrift.spectra.patterns import (
    DEFAULT_PATTERNS,
    EMBEDDING,
    EXPERTS,
    HEAD,
    INSIDE,
    NAME,
    PREFIX,
    filled,
    pattern_faults,
)

LAYER = rf"{PREFIX}layers\.{{layer}}\."


def _named(before: str, **modules: str) -> dict[str, str]:
    return {module: rf"{before}{name}\.weight" for module, name in modules.items()}


def _llama(*modules: str) -> dict[str, str]:
    return {module: DEFAULT_PATTERNS[module] for module in modules}


_MLP = ("gate", "up", "down")
_MIXTRAL = r"(?:block_sparse_moe|mlp)"  # in files, and as transformers holds it
_OUTSIDE = _llama(EMBEDDING, HEAD)
_BLOOM = {
    **_named(
        r"(?:transformer\.)?h\.{layer}\.",
        qkv=r"self_attention\.query_key_value",
        o=r"self_attention\.dense",
        up=r"mlp\.dense_h_to_4h",
        down=r"mlp\.dense_4h_to_h",
    ),
    EMBEDDING: r"(?:transformer\.)?word_embeddings\.weight",
    HEAD: DEFAULT_PATTERNS[HEAD],
}
_GLM = {
    **_llama("q", "k", "v", "o"),
    **_named(LAYER, gate_up=r"mlp\.gate_up_proj"),
    **_llama("down"),
    **_OUTSIDE,
}
_ROUTER = _named(LAYER, router=r"mlp\.(?:gate|router)")
_EXPERTS = _named(LAYER, **{f"{EXPERTS}{m}": rf"mlp\.experts\.{{expert}}\.{m}_proj" for m in _MLP})
_MOE = {**DEFAULT_PATTERNS, **_EXPERTS, **_ROUTER}
LAYOUTS: dict[str, dict[str, str]] = {
    "gpt2": {
        **_named(
            r"(?:transformer\.)?h\.{layer}\.",
            **{m: rf"attn\.c_attn\.{m}" for m in ("q", "k", "v")},
            o=r"attn\.c_proj",
            up=r"mlp\.c_fc",
            down=r"mlp\.c_proj",
        ),
        EMBEDDING: r"(?:transformer\.)?wte\.weight",
        HEAD: DEFAULT_PATTERNS[HEAD],
    },
    "mixtral": {
        **_llama("q", "k", "v", "o"),
        **_named(
            LAYER,
            **{
                f"{EXPERTS}{m}": rf"{_MIXTRAL}\.experts\.{{expert}}\.(?:{w}|{m}_proj)"
                for m, w in zip(_MLP, ("w1", "w3", "w2"), strict=True)
            },
            router=rf"{_MIXTRAL}\.gate",
        ),
        **_OUTSIDE,
    },
    "qwen2_moe": {
        **_MOE,
        **_named(LAYER, **{f"shared_{m}": rf"mlp\.shared_expert\.{m}_proj" for m in _MLP}),
        **_named(LAYER, shared_router=r"mlp\.shared_expert_gate"),
    },
    "qwen3_moe": _MOE,
    "olmoe": _MOE,
    "gpt_oss": _MOE,
    "glm4_moe": {
        **_MOE,
        **_named(LAYER, **{f"shared_{m}": rf"mlp\.shared_experts\.{m}_proj" for m in _MLP}),
    },
    "phi3": {
        **_named(LAYER, qkv=r"self_attn\.qkv_proj"),
        **_llama("o"),
        **_named(LAYER, gate_up=r"mlp\.gate_up_proj"),
        **_llama("down"),
        **_OUTSIDE,
    },
    "glm": _GLM,
    "glm4": _GLM,
    "phi": {
        **_llama("q", "k", "v"),
        **_named(LAYER, o=r"self_attn\.dense", up=r"mlp\.fc1", down=r"mlp\.fc2"),
        **_OUTSIDE,
    },
    "starcoder2": {
        **_llama("q", "k", "v", "o"),
        **_named(LAYER, up=r"mlp\.c_fc", down=r"mlp\.c_proj"),
        **_OUTSIDE,
    },
    "nemotron": _llama("q", "k", "v", "o", "up", "down", EMBEDDING, HEAD),
    "gpt_neox": {
        **_named(
            r"gpt_neox\.layers\.{layer}\.",
            qkv=r"attention\.query_key_value",
            o=r"attention\.dense",
            up=r"mlp\.dense_h_to_4h",
            down=r"mlp\.dense_4h_to_h",
        ),
        EMBEDDING: r"gpt_neox\.embed_in\.weight",
        HEAD: r"embed_out\.weight",
    },
    "opt": {
        **_named(
            r"(?:model\.)?decoder\.layers\.{layer}\.",
            **{m: rf"self_attn\.{m}_proj" for m in ("q", "k", "v")},
            o=r"self_attn\.out_proj",
            up="fc1",
            down="fc2",
        ),
        EMBEDDING: r"(?:model\.)?decoder\.embed_tokens\.weight",
        HEAD: DEFAULT_PATTERNS[HEAD],
    },
    "bloom": _BLOOM,
    "falcon": _BLOOM,
}
"""Patterns as in `svdrift.spectra.patterns.DEFAULT_PATTERNS`, which all other models have."""

WITH_EXPERTS = (*_MLP, *(f"shared_{m}" for m in (*_MLP, "router")))
"""Kinds that models with experts may lack: an MLP in some layers in their place, shared experts."""


def layout(folder: Path, given: Mapping[str, str] = DEFAULT_PATTERNS) -> dict[str, str]:
    """The patterns of a model folder: `patterns_of` the `model_type` of its configuration.

    Of a model with experts without the kinds of `WITH_EXPERTS` that it lacks.

    Raises:
        UserError: the weights of a model with experts cannot be read.
    """
    theirs = patterns_of(model_type(folder), given)
    if given != DEFAULT_PATTERNS or not any(kind.startswith(EXPERTS) for kind in theirs):
        return theirs
    names = tensor_names(folder)
    return {
        kind: pattern
        for kind, pattern in theirs.items()
        if kind not in WITH_EXPERTS or any(re.fullmatch(filled(pattern), name) for name in names)
    }


def patterns_of(kind: str | None, given: Mapping[str, str] = DEFAULT_PATTERNS) -> dict[str, str]:
    """The patterns of a `model_type`, unless others than the default are given."""
    return LAYOUTS.get(kind or "", DEFAULT_PATTERNS) if given == DEFAULT_PATTERNS else dict(given)


def chosen_patterns(
    folder: Path, modules: Collection[str], own: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The patterns of some kinds of module in a model folder.

    Args:
        folder: the model folder.
        modules: kinds of module. All of `INSIDE` together stand for all kinds that the layers of
            this model have; where `own` is given, for those of `own` alone.
        own: further patterns, or others.

    Raises:
        UserError: a kind that is not known.
    """
    theirs = layout(folder)
    known = theirs | dict(own or {})
    wanted = set(modules)
    if wanted >= set(INSIDE):
        inside = own or {m: p for m, p in theirs.items() if m not in (EMBEDDING, HEAD)}
        wanted = wanted - set(INSIDE) | set(inside)
    for module in modules:
        if module in wanted and module not in known:
            allowed = ", ".join(known)
            raise UserError(f"modules: {module!r} is not known (allowed: {allowed})")
    return {module: pattern for module, pattern in known.items() if module in wanted}


def patterns_option(names: Collection[str], most: int = 3) -> str:
    """The option that gives matrices in layers a pattern each: `--patterns 'mlp_in=...'`.

    Args:
        names: of the matrices.
        most: how many patterns are written; the others are counted.
    """
    texts = suggested_patterns(names)
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return shlex.join(["--patterns", *texts[:most]]) + rest


def suggested_patterns(names: Collection[str]) -> list[str]:
    """A pattern, as `own_patterns` reads it, for each kind of matrix in layers.

    The first number of a name is taken for the layer's, one after `experts.` for the expert's.
    """
    return list(dict.fromkeys(map(_suggested, sorted(names))))


def _suggested(name: str) -> str:
    r"""`experts.w1=model\.layers\.{layer}\.moe\.experts\.{expert}\.w1\.weight`."""
    before, _, after = re.split(r"((?<=\.)\d+(?=\.))", name, maxsplit=1)
    inside = re.sub(r"(?<=\bexperts\.)\d+(?=\.)", "{expert}", after)
    kind = re.sub(r"[^a-z0-9]+", "_", after.removesuffix(".weight").lower()).strip("_")
    if "{expert}" in inside:
        kind = EXPERTS + re.sub(r"^.*?experts_\d+_", "", kind)
    pattern = re.escape(before) + "{layer}" + re.escape(inside).replace(r"\{expert\}", "{expert}")
    return f"{kind}={pattern}"


def own_patterns(given: Collection[str]) -> dict[str, str]:
    """Read `MODULE=REGEX` of each kind of module.

    Raises:
        UserError: another form.
    """
    found = {}
    for text in given:
        module, sign, pattern = text.partition("=")
        if not sign or not re.fullmatch(NAME, module) or "{layer}" not in pattern:
            raise UserError(
                "patterns: NAME=REGEX with {layer} for the number of the layer, such as "
                rf"'qkv=model\.layers\.{{layer}}\.attn\.qkv\.weight', not {text!r}"
            )
        if fault := pattern_faults(module, pattern):
            raise UserError(f"patterns: {module}: {fault}")
        found[module] = pattern
    return found
