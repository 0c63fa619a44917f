"""Is a model folder complete? Index, files and configuration must agree; no weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from svdrift.errors import UserError
from svdrift.models.folders import listed, one_line, require_config, weight_files
from svdrift.models.loading import auto_class, quiet_transformers

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def require_complete(folder: Path) -> None:
    """Refuse a model folder in which `load_model` would find a fault, without reading weights.

    Raises:
        UserError: `file_faults` or `config_faults` finds something.
    """
    require_config(folder)
    if faults := file_faults(folder) or config_faults(folder):
        raise UserError(f"{folder}: {'; '.join(faults)}")


def file_faults(folder: Path) -> list[str]:
    """What is wrong with the files of weights, one line each: unreadable, stale, not as indexed.

    Args:
        folder: with a config.json.
    """
    try:
        files = weight_files(folder)
    except UserError as error:
        return [str(error)]
    faults = []
    if files[0].name == SINGLE and (folder / INDEX).exists():
        faults.append(f"{SINGLE} and {INDEX} are both there, and may hold different weights")
    stray = sorted(
        {path.name for path in folder.glob("model*.safetensors")} - {f.name for f in files}
    )
    faults += listed("not in the index", stray)
    found: dict[str, str] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
        except SafetensorError as error:
            faults.append(f"{path.name} cannot be read: {one_line(error)}")
            continue
        faults += listed(f"in {path.name} and another shard", [n for n in names if n in found])
        found |= dict.fromkeys(names, path.name)
    if files[0].name != SINGLE:
        faults += _index_faults(folder / INDEX, found)
    return faults


def _index_faults(index: Path, found: dict[str, str]) -> list[str]:
    """Where the index and the tensors that files hold (name to file) disagree."""
    said: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    return [
        *listed("indexed but in no shard", [name for name in said if name not in found]),
        *listed("in a shard but not indexed", [name for name in found if name not in said]),
        *listed(
            "in another shard than indexed",
            [name for name, file in found.items() if said.get(name, file) != file],
        ),
    ]


def config_faults(folder: Path) -> list[str]:
    """Where the tensors do not fit the model that config.json describes, as transformers judges.

    The model is built without memory for its weights (on PyTorch's meta device).

    Args:
        folder: one in which `file_faults` finds none.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            loaded = auto_class(config).from_pretrained(
                folder,
                device_map="meta",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are reported
            )
    except (OSError, ValueError, ImportError, SafetensorError, StrictDataclassError) as error:
        return [f"config.json describes no model that can be loaded: {one_line(error)}"]
    info = cast("tuple[object, dict[str, Any]]", loaded)[1]
    shapes = [f"{n} {tuple(a)} instead of {tuple(b)}" for n, a, b in info["mismatched_keys"]]
    return [
        *listed("missing", info["missing_keys"]),
        *listed("unexpected", info["unexpected_keys"]),
        *listed("wrong shape", shapes),
        *listed("not converted", info["error_msgs"]),
    ]
