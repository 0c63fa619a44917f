"""Writing safetensors one tensor at a time.

The library's own writer wants all tensors in memory at once. The form is an 8-byte length, a JSON
header with types, shapes and offsets, and the bytes (safetensors' README, "Format"), so a file
whose shapes are known beforehand can be streamed. Reading is left to the library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in TYPES.items()}


class TensorFile:
    """A safetensors file that is written in the order of its header.

    The file appears under `path` when the `with` block ends without an error, and not before.

    Args:
        path: where the file will be.
        entries: name to (type in safetensors' notation, shape), in the order of writing.
        metadata: strings stored in the header.
    """

    def __init__(
        self,
        path: Path,
        entries: Mapping[str, tuple[str, Sequence[int]]],
        metadata: Mapping[str, str],
    ) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._entries = {name: (dtype, tuple(shape)) for name, (dtype, shape) in entries.items()}
        self._metadata = dict(metadata)

    def __enter__(self) -> Self:
        header: dict[str, object] = {"__metadata__": {"format": "pt", **self._metadata}}
        offset = 0
        for name, (dtype, shape) in self._entries.items():
            end = offset + math.prod(shape) * BYTES[dtype]
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # the data begin aligned
        self._file = self._partial.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._left = iter(self._entries.items())
        return self

    def write(self, name: str, tensor: Tensor) -> None:
        """Write the next tensor.

        Raises:
            ValueError: it is not the next one of the header, or not of that type and shape.
        """
        expected, (dtype, shape) = next(self._left, ("nothing", ("", ())))
        if (name, TYPES.get(dtype), shape) != (expected, tensor.dtype, tuple(tensor.shape)):
            raise ValueError(f"got {name} {tensor.dtype} {tuple(tensor.shape)}, not {expected}")
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        self._file.write(data.numpy().data)  # unlike numpy's `tofile`, it raises on a full disk

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is not None or next(self._left, None) is not None:
            self._partial.unlink()
            if kind is None:
                raise ValueError(f"{self._path}: not every tensor of the header was written")
        else:
            self._partial.replace(self._path)
