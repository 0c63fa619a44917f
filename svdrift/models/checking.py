"""Is a model folder complete? Index, files and configuration must agree; no weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig

from svdrift.errors import UserError
from svdrift.models.folders import file_faults, listed, one_line, require_config
from svdrift.models.loading import auto_class, quiet_transformers
from svdrift.models.sizes import impossible_numbers


def require_complete(folder: Path) -> None:
    """Refuse a model folder in which `load_model` would find a fault, without reading weights.

    Raises:
        UserError: `file_faults` or `config_faults` finds something.
    """
    require_config(folder)
    if faults := file_faults(folder) or config_faults(folder):
        raise UserError(f"{folder}: {'; '.join(faults)}")


def config_faults(folder: Path) -> list[str]:
    """Where the tensors do not fit the model that config.json describes, as transformers judges.

    The model is built without memory for its weights (on PyTorch's meta device).

    Args:
        folder: one in which `file_faults` finds none.
    """
    if faults := impossible_numbers(folder):
        return faults
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
