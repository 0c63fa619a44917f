"""PPO's snapshots: a file with weights and moments for each parameter, all else as JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from accelerate import PartialState
from safetensors import SafetensorError
from torch import Tensor, nn

from svdrift.scripting import damaged
from svdrift.training import sharding

Rows = dict[str, list[dict[str, Any]]]  # table name -> its rows so far


def save_snapshot(
    work: Path,
    key: str,
    update: int,
    parameters: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    tables: Rows,
) -> None:
    """Keep the state after `update` in `work`, complete or not at all, in place of older ones.

    To be called by every process; the first one writes. It holds one whole parameter at a time.
    """
    main = PartialState().is_main_process
    partial = work / ".snapshot.partial"
    if main:
        shutil.rmtree(partial, ignore_errors=True)  # left over from a run that was killed
        partial.mkdir(parents=True)
    for number, parameter in enumerate(parameters):
        held = {"weight": parameter.detach(), **optimizer.state[parameter]}
        tensors = {name: sharding.gathered(tensor).contiguous() for name, tensor in held.items()}
        if main:
            safetensors.torch.save_file(tensors, _file(partial, number))
    if not main:
        return
    state = {"key": key, "update": update, "tables": tables}
    (partial / "state.json").write_text(json.dumps(state), encoding="utf-8")
    older = list(work.glob("snapshot-*"))
    folder = work / f"snapshot-{update}"
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    for other in older:
        if other != folder:
            shutil.rmtree(other)


def load_snapshot(
    work: Path, key: str, parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer
) -> tuple[int, Rows]:
    """Restore the last snapshot in `work` that has this key, whatever the processes that left it.

    Returns:
        The number of updates done and the rows of the tables; 0 and none without a snapshot.

    Raises:
        UserError: a snapshot is damaged.
    """
    states = {folder: _state(folder) for folder in work.glob("snapshot-*")}
    own = {folder: state for folder, state in states.items() if state.get("key") == key}
    if not own:
        return 0, {"metrics": [], "advantages": [], "timing": []}
    folder = max(own, key=lambda found: int(own[found]["update"]))
    moments: dict[int, dict[str, Tensor]] = {}
    for number, parameter in enumerate(parameters):
        held = _tensors(_file(folder, number))
        pieces = {
            name: sharding.piece(tensor, parameter) if tensor.ndim else tensor  # the count of steps
            for name, tensor in held.items()
        }
        with torch.no_grad():
            parameter.copy_(pieces.pop("weight"))
        moments[number] = pieces
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return own[folder]["update"], own[folder]["tables"]


def _state(snapshot: Path) -> dict[str, Any]:
    try:
        state = json.loads((snapshot / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(snapshot, f"state.json cannot be read ({error})") from None
    return dict(state)


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(file)
    except (SafetensorError, OSError) as error:
        raise damaged(file.parent, f"{file.name} cannot be read ({error})") from None


def _file(snapshot: Path, parameter: int) -> Path:
    return snapshot / f"parameter-{parameter}.safetensors"
