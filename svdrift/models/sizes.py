"""Impossible numbers in a model's configuration, and its size in memory, before it is built."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

import psutil
import torch
from safetensors import SafetensorError, safe_open

from svdrift.errors import UserError
from svdrift.models.folders import one_line, weight_files

# Keys of configurations, by what their numbers must be. Each family of models has its own names.
LAYERS = {"num_hidden_layers", "n_layer", "num_layers", "n_layers"}
SIZES = LAYERS | {
    "hidden_size", "intermediate_size", "vocab_size", "head_dim", "num_attention_heads",
    "num_key_value_heads", "n_embd", "n_head", "n_heads", "num_heads", "d_model", "d_ff", "ffn_dim",
    "hidden_dim", "word_embed_proj_dim", "multi_query_heads",
}  # fmt: skip
LENGTHS = {"max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"}
LONGEST = 2**31
ABOVE_ZERO = {"rope_theta", "rotary_emb_base"}
NOT_NEGATIVE = ("_eps", "_epsilon")
SHARES = ("dropout", "_pdrop")


def require_possible(folder: Path) -> None:
    """Refuse a model folder in which `impossible_numbers` finds any.

    Raises:
        UserError: naming the key and what is allowed; or the files cannot be read.
    """
    if faults := impossible_numbers(folder):
        raise UserError(f"{folder}: {'; '.join(faults)}")


def impossible_numbers(folder: Path) -> list[str]:
    """Numbers in a model folder's config.json that no model with its files can have.

    What is not a number at all is left to transformers, which checks types.

    Raises:
        UserError: the files cannot be read.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be loaded: {one_line(error)}") from None
    shapes = shapes_of(folder)
    found = number_faults(config, tensors=len(shapes), entries=sum(map(math.prod, shapes)))
    return [f"config.json: {fault}" for fault in found]


def number_faults(config: object, *, tensors: int, entries: int, at: str = "") -> Iterator[str]:
    """Impossible numbers in a configuration, one text each.

    Args:
        config: as it was read; sections within it are looked at too.
        tensors: how many the files hold.
        entries: how many numbers these hold together.
        at: path of the section.
    """
    if not isinstance(config, Mapping):
        return
    for key, value in config.items():
        name = f"{at}{key}"
        yield from number_faults(value, tensors=tensors, entries=entries, at=f"{name}.")
        if isinstance(value, bool) and key in SIZES | LENGTHS:
            yield f"{name} is {str(value).lower()} (allowed: a whole number above 0)"
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from _number_fault(key, name, value, tensors, entries)
    heads, groups = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if _count(heads) and _count(groups) and heads % groups:
        yield f"{at}num_key_value_heads is {groups}, which does not divide {heads} heads"


def _number_fault(key: str, name: str, value: float, tensors: int, entries: int) -> Iterator[str]:
    if not math.isfinite(value):
        yield f"{name} is {value} (allowed: finite numbers)"
    elif key in SIZES | LENGTHS and (value <= 0 or value != int(value)):
        yield f"{name} is {value} (allowed: a whole number above 0)"
    elif key in LAYERS and value > tensors:
        yield f"{name} is {value:,}, but the files hold {tensors} tensors"
    elif key in SIZES and value > entries:
        yield f"{name} is {value:,}, but the files hold {entries:,} numbers in all"
    elif key in LENGTHS and value > LONGEST:
        yield f"{name} is {value:,} (allowed: at most {LONGEST:,})"
    elif key in ABOVE_ZERO and value <= 0:
        yield f"{name} is {value} (allowed: above 0)"
    elif key.endswith(NOT_NEGATIVE) and value < 0:
        yield f"{name} is {value} (allowed: 0 or above)"
    elif key.endswith(SHARES) and not 0 <= value <= 1:
        yield f"{name} is {value} (allowed: 0 to 1)"


def _count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def shapes_of(folder: Path) -> list[tuple[int, ...]]:
    """The shapes of a model folder's tensors, from the files' headers.

    Raises:
        UserError: there are no readable safetensors.
    """
    shapes = []
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                shapes += [
                    tuple(file.get_slice(name).get_shape())
                    for name in file.keys()  # noqa: SIM118 (not a mapping)
                ]
        except SafetensorError as error:
            raise UserError(f"{path}: cannot be loaded: {one_line(error)}") from error
    return shapes


def require_memory(said: Path, weights: int, dtype: torch.dtype) -> None:
    """Refuse a model whose weights do not fit into the memory that is free.

    Args:
        said: file or folder that the error names.
        weights: how many there are.
        dtype: in which they are loaded.

    Raises:
        UserError: saying what they take and what there is.
    """
    needed, free = weights * dtype.itemsize, psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"{said}: its weights take {needed / 1e9:.1f} GB of memory in "
            f"{str(dtype).removeprefix('torch.')}, but only {free / 1e9:.1f} GB are free"
        )
