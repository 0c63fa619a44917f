"""Merging a LoRA adapter into the model that it was trained on, as peft does; peft is not needed.

W' = W + s B A with s = alpha / r, or alpha / sqrt(r) (rank-stabilised); each entry is computed in
float32 and rounded once to the model's own type. Strictly: every tensor of the adapter is used, or
the adapter is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from svdrift.errors import UserError
from svdrift.models.folders import INDEX, listed, unreadable, weight_files
from svdrift.models.sources import ADAPTER
from svdrift.models.tensor_file import TYPES, TensorFile

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<part>[AB])(\.[^.]+)?\.weight")
EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<part>[AB])(\.[^.]+)?")
# `base_layer`: peft saves the embedding itself too where its factors are trained.
WHOLE = re.compile(r"(?P<module>.+?)\.(modules_to_save(\.[^.]+)?|base_layer)\.(?P<end>weight|bias)")
CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq")  # ways to initialise
TRANSPOSED = "fan_in_fan_out"


@dataclass
class Change:
    """What an adapter does to one tensor of its model."""

    factors: dict[str, str] = field(default_factory=dict)  # A and B to the names of their tensors
    module: str = ""
    embedding: bool = False
    whole: str | None = None  # name of the tensor that replaces it, before factors are added


def settings_of(folder: Path) -> dict[str, Any]:
    """Read the configuration of an adapter.

    Raises:
        UserError: it is none, is not LoRA's, or of a variant that is not merged here.
    """
    path = folder / ADAPTER
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: not an adapter's configuration: no JSON object")
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UserError(f"{path}: peft_type is {kind!r} (merged here: 'LORA')")
    if config.get("use_dora"):
        raise UserError(f"{path}: use_dora: DoRA is not merged here (peft: merge_and_unload)")
    how = config.get("init_lora_weights")
    if isinstance(how, str) and how.startswith(CHANGE_THE_BASE):
        raise UserError(
            f"{path}: init_lora_weights is {how!r}, which changes the model that the adapter "
            "belongs to as well (peft: merge_and_unload)"
        )
    if not isinstance(config.get("base_model_name_or_path"), str):
        raise UserError(f"{path}: base_model_name_or_path is missing: which model is it for?")
    if not all(isinstance(config.get(key), int | float) for key in ("r", "lora_alpha")):
        raise UserError(f"{path}: r and lora_alpha must be numbers")
    return config


def merge(adapter: Path, base: Path, out: Path) -> None:
    """Write the weights of `base` with the adapter merged into them to the folder `out`.

    Memory stays within a few times the largest tensor. All but the weights is the caller's.

    Args:
        adapter: folder with adapter_config.json and adapter_model.safetensors.
        base: model folder.
        out: an empty folder.

    Raises:
        UserError: the adapter is not LoRA's, or does not fit: each tensor must be used, and of the
            shape that the model has.
    """
    config = settings_of(adapter)
    file = adapter / WEIGHTS
    if not file.is_file():
        raise UserError(
            f"{adapter}: no {WEIGHTS} (pickled weights are refused; peft's save_pretrained "
            "writes safetensors)"
        )
    with _open(file) as source:
        shapes = {name: tuple(source.get_slice(name).get_shape()) for name in source.keys()}  # noqa: SIM118
    files = weight_files(base)
    headers: dict[str, tuple[str, tuple[int, ...]]] = {}
    places: dict[str, list[str]] = {}
    for path in files:
        with _open(path) as source:
            for name in source.keys():  # noqa: SIM118 (not a mapping)
                view = source.get_slice(name)
                if view.get_dtype() not in TYPES:
                    raise UserError(
                        f"{path}: {name} is of type {view.get_dtype()}, not written here"
                    )
                headers[name] = (view.get_dtype(), tuple(view.get_shape()))
                places.setdefault(path.name, []).append(name)
    changes = _changes(file, shapes, headers, base)
    for name, change in changes.items():
        dtype, shape = headers[name]
        if not TYPES[dtype].is_floating_point:
            raise UserError(f"{base}: {name} is of type {dtype}, into which nothing can be merged")
        _require_fit(file, config, name, change, shapes, shape)
    for path in files:
        names = places[path.name]
        with TensorFile(out / path.name, {name: headers[name] for name in names}, {}) as made:
            for name in names:
                with _open(path) as source:
                    tensor: Tensor = source.get_tensor(name)
                if name in changes:
                    tensor = _new(file, config, changes[name], tensor)
                made.write(name, tensor)
    if (base / INDEX).is_file():
        (out / INDEX).write_bytes((base / INDEX).read_bytes())


def _changes(
    file: Path, names: Mapping[str, object], known: Mapping[str, object], base: Path
) -> dict[str, Change]:
    """Tensors of the model to what the adapter does to each."""
    changes: dict[str, Change] = {}
    unused = []
    for name in sorted(names):
        inner = name.removeprefix(PREFIX)
        if match := FACTOR.fullmatch(inner) or EMBEDDING.fullmatch(inner):
            target = _name_in(known, f"{match['module']}.weight")
        elif match := WHOLE.fullmatch(inner):
            target = _name_in(known, f"{match['module']}.{match['end']}")
        else:
            target = None if ".lora_" in inner else _name_in(known, inner)
        if target is None:
            unused.append(name)
            continue
        change = changes.setdefault(target, Change())
        if match and "part" in match.re.groupindex:
            change.factors[match["part"]] = name
            change.module = match["module"]
            change.embedding = match.re is EMBEDDING
        else:
            change.whole = name
    for line in listed(f"tensors that belong to nothing in {base}", unused):
        raise UserError(f"{file}: {line}")
    return changes


def _name_in(known: Mapping[str, object], name: str) -> str | None:
    """A tensor's name in the model's files, where it may have fewer or more prefixes."""
    if name in known:
        return name
    near = [other for other in known if other.endswith(f".{name}") or name.endswith(f".{other}")]
    return near[0] if len(near) == 1 else None


def _require_fit(
    file: Path,
    config: Mapping[str, Any],
    name: str,
    change: Change,
    shapes: Mapping[str, tuple[int, ...]],
    wanted: tuple[int, ...],
) -> None:
    if change.whole is not None and shapes[change.whole] != wanted:
        raise UserError(f"{file}: {name} of shape {shapes[change.whole]} instead of {wanted}")
    if change.factors:
        if missing := [part for part in "AB" if part not in change.factors]:
            raise UserError(f"{file}: {change.module} has no lora_{missing[0]}")
        first, second = (shapes[change.factors[part]] for part in "AB")
        if len(first) != 2 or len(second) != 2 or first[0] != second[1]:
            raise UserError(
                f"{file}: {change.module}: lora_A of shape {first} and lora_B of shape {second} "
                "are no factors of a matrix"
            )
        rank = _of(config, "rank_pattern", change.module, config["r"])
        if first[0] != rank:
            raise UserError(
                f"{file}: {change.module}: factors of rank {first[0]}, but {ADAPTER} says {rank}"
            )
        found = second[0], first[1]
        if _is_transposed(config, change):
            found = found[::-1]
        if found != wanted:
            raise UserError(f"{file}: {name} of shape {found} instead of {wanted}")


def _new(file: Path, config: Mapping[str, Any], change: Change, tensor: Tensor) -> Tensor:
    with _open(file) as source:
        whole: Tensor = tensor if change.whole is None else source.get_tensor(change.whole)
        if not change.factors:
            return whole.to(tensor.dtype)
        first, second = (source.get_tensor(change.factors[part]).float() for part in "AB")
    alpha = _of(config, "alpha_pattern", change.module, config["lora_alpha"])
    rank = len(first)
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    update: Tensor = scale * (second @ first)
    update = update.T if _is_transposed(config, change) else update
    return (whole.float() + update).to(tensor.dtype)


def _is_transposed(config: Mapping[str, Any], change: Change) -> bool:
    """Whether the model holds the matrix as (in, out): embeddings, and Conv1D (GPT-2)."""
    return change.embedding or bool(config.get(TRANSPOSED))


def _of(config: Mapping[str, Any], key: str, module: str, default: Any) -> Any:
    """The value of a module: that of the first pattern which ends its name, as in peft."""
    for pattern, value in (config.get(key) or {}).items():
        try:
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                return value
        except re.error as error:
            raise UserError(f"{ADAPTER}: {key}: {pattern!r}: {error}") from None
    return default


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: {unreadable(path, error)}") from None
