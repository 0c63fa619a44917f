"""Which tensors are matrices in models that are not named like Llama, by `model_type`.

A fused matrix (queries, keys and values in one) is one matrix here, as it is one in training.
Imports nothing heavy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from svdrift.errors import UserError
from svdrift.spectra.patterns import DEFAULT_PATTERNS, EMBEDDING, HEAD, INSIDE, PREFIX

LAYER = rf"{PREFIX}layers\.{{layer}}\."


def _named(before: str, **modules: str) -> dict[str, str]:
    return {module: rf"{before}{name}\.weight" for module, name in modules.items()}


def _llama(*modules: str) -> dict[str, str]:
    return {module: DEFAULT_PATTERNS[module] for module in modules}


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
LAYOUTS: dict[str, dict[str, str]] = {
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


def layout(folder: Path) -> dict[str, str]:
    """The patterns of a model folder, by the `model_type` of its configuration."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # which who reads the folder says
        return DEFAULT_PATTERNS
    kind = config.get("model_type") if isinstance(config, dict) else None
    return LAYOUTS.get(kind, DEFAULT_PATTERNS) if isinstance(kind, str) else DEFAULT_PATTERNS


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


def own_patterns(given: Collection[str]) -> dict[str, str]:
    """Read `MODULE=REGEX` of each kind of module.

    Raises:
        UserError: another form.
    """
    found = {}
    for text in given:
        module, sign, pattern = text.partition("=")
        if not sign or not re.fullmatch(r"[a-z0-9_]+", module) or "{layer}" not in pattern:
            raise UserError(
                "patterns: NAME=REGEX with {layer} for the number of the layer, such as "
                rf"'qkv=model\.layers\.{{layer}}\.attn\.qkv\.weight', not {text!r}"
            )
        found[module] = pattern
    return found
