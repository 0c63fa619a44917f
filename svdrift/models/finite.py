"""NaN and infinities in weights: found where weights are read and saved, one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from svdrift.errors import UserError
from svdrift.models.folders import one_line, weight_files


def is_finite(tensor: Tensor) -> bool:
    """Whether no entry is NaN or infinite."""
    return first_not_finite([("", tensor)]) is None


def first_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Name of the first tensor with a NaN or infinite entry; None if all are finite.

    Args:
        tensors: names and tensors of one device, of any type and shape.
    """
    names, ends = [], []
    for name, tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            work = tensor if tensor.element_size() > 1 else tensor.float()  # float8 has few ops
            # Both ends are NaN if any entry is. Unlike a mask of all entries this takes no memory.
            names.append(name)
            ends.append(torch.stack(work.detach().aminmax()).double())
    if not names:
        return None
    bad = ~torch.isfinite(torch.stack(ends)).all(dim=1)
    return names[int(bad.int().argmax())] if bad.any() else None


def require_finite(said: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse weights with a NaN or infinite entry.

    Args:
        said: file or folder that the error names.
        tensors: names and tensors.

    Raises:
        UserError: naming the first such tensor, with a count of its entries.
    """
    for name, tensor in tensors:
        if not is_finite(tensor):
            work = tensor.detach().float()
            nan, infinite = int(work.isnan().sum()), int(work.isinf().sum())
            raise UserError(
                f"{said}: {name} holds NaN or infinite entries ({nan} NaN and {infinite} infinite "
                f"of {tensor.numel()})"
            )


def require_finite_files(folder: Path) -> None:
    """Refuse a model folder whose files hold a NaN or infinite weight; see `require_finite`.

    Raises:
        UserError: naming the folder and the tensor; or a file cannot be read.
    """
    require_finite(folder, _tensors_of(folder))


def _tensors_of(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
            for name in names:
                # Opened anew each time: an open file keeps every page mapped that was ever read.
                with safe_open(path, framework="pt") as file:
                    yield name, file.get_tensor(name)
        except SafetensorError as error:
            raise UserError(f"{path}: cannot be read: {one_line(error)}") from error
