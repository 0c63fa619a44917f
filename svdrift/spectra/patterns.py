"""Which tensors are decomposed. Imports nothing heavy, because settings take defaults from here."""

from __future__ import annotations

EMBEDDING = "embedding"
HEAD = "head"

PREFIX = r"(?:(?:model|language_model)\.)*"
"""What may stand before a tensor's name: `model.` (Llama, Qwen2), `model.language_model.` or
`language_model.model.` (Mllama). A vision tower has another prefix and so is left alone."""

ATTENTION = r"(?:self|cross)_attn"
"""A layer has one of them. In Mllama every fifth attends to the image (`cross_attn`)."""

DEFAULT_PATTERNS: dict[str, str] = {
    **{
        module: rf"{PREFIX}layers\.{{layer}}\.{ATTENTION}\.{module}_proj\.weight"
        for module in ("q", "k", "v", "o")
    },
    **{
        module: rf"{PREFIX}layers\.{{layer}}\.mlp\.{module}_proj\.weight"
        for module in ("gate", "up", "down")
    },
    EMBEDDING: rf"{PREFIX}embed_tokens\.weight",
    HEAD: rf"{PREFIX}lm_head\.weight",
}
"""Module to regular expression over whole tensor names; `{layer}` stands for the layer's number."""


INSIDE = tuple(module for module in DEFAULT_PATTERNS if module not in (EMBEDDING, HEAD))


def example(module: str) -> str:
    """A tensor's name that the default pattern of a module matches, with N for the layer."""
    name = DEFAULT_PATTERNS[module].replace(ATTENTION, "self_attn").replace("{layer}", "N")
    return name.replace(PREFIX, "" if module == HEAD else "model.").replace("\\", "")
