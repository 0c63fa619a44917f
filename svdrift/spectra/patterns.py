"""Which tensors are decomposed. Imports nothing heavy, because settings take defaults from here.

A *kind* of module has a name and a pattern. Experts are matrices of their own: their kinds are
named `experts.NAME`, with `{expert}` in the pattern, and the matrices `experts.7.NAME`.
"""

from __future__ import annotations

import re

EMBEDDING = "embedding"
HEAD = "head"
EXPERTS = "experts."
_EXPERT = re.compile(rf"^{re.escape(EXPERTS)}(\d+)\.")
NAME = r"[a-z0-9_]+(?:\.[a-z0-9_]+)*"  # of a kind of module

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
"""Kind of module to regular expression over whole names, with `{layer}` for the layer's number."""


INSIDE = tuple(module for module in DEFAULT_PATTERNS if module not in (EMBEDDING, HEAD))


def pattern_faults(kind: str, pattern: str) -> str:
    """What is wrong with the pattern of a kind of module; empty if nothing is."""
    if pattern.count("{layer}") > 1:
        return f"{pattern!r} holds {{layer}} twice"
    if pattern.count("{expert}") > 1:
        return f"{pattern!r} holds {{expert}} twice"
    if kind.startswith(EXPERTS) != ("{expert}" in pattern):
        return f"{pattern!r}: kinds named {EXPERTS}NAME have {{expert}} in their pattern, no others"
    try:
        re.compile(filled(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        return f"{pattern!r}: {error}"
    return ""


def filled(pattern: str) -> str:
    """A pattern as a regular expression with groups `layer` and `expert`."""
    numbered = pattern.replace("{layer}", r"(?P<layer>\d+)")
    return numbered.replace("{expert}", r"(?P<expert>\d+)")


def module_of(kind: str, expert: int | None) -> str:
    """`experts.7.up` of expert 7 of the kind `experts.up`; other kinds as they are."""
    return kind if expert is None else f"{EXPERTS}{expert}.{kind.removeprefix(EXPERTS)}"


def kind_of(module: str) -> str:
    """`experts.up` of the module `experts.7.up`; other modules as they are."""
    return _EXPERT.sub(EXPERTS, module)


def expert_of(module: str) -> int | None:
    """7 of the module `experts.7.up`; None of other modules."""
    match = _EXPERT.match(module)
    return None if match is None else int(match[1])


def example(module: str) -> str:
    """A tensor's name that the default pattern of a module matches, with N for the layer."""
    name = DEFAULT_PATTERNS[module].replace(ATTENTION, "self_attn").replace("{layer}", "N")
    return name.replace(PREFIX, "" if module == HEAD else "model.").replace("\\", "")
