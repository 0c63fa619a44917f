"""How tensors of a file are cut into the matrices that a model multiplies by.

A matrix here is one of `y = W x`: its rows are outputs (left singular vectors), its columns inputs
(right ones), as a Linear layer stores it. Most tensors are one such matrix. Others hold several, or
hold them transposed; `parts_of` says which:

- GPT-2's Conv1D stores (inputs, outputs), and `c_attn` holds queries, keys and values side by side;
- experts are stacked along the first axis of one tensor. Those of `gate_up_proj` and `down_proj`,
  as transformers holds them, get the names of files with a tensor for each expert.

Imports nothing heavy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

CONV1D = {
    "gpt2": re.compile(r"(?:.+\.)?h\.\d+\.(?:attn\.c_(?:attn|proj)|mlp\.c_(?:fc|proj))\.weight")
}
"""By `model_type`: names of the weights of `transformers.pytorch_utils.Conv1D`."""

INTERLEAVED = ("gpt_oss",)
"""Models in which rows of `gate` and of `up` alternate; in others all of `gate` come first."""

STACKED = re.compile(r"(?P<experts>.*\bexperts)\.(?P<name>[^.]+?)(?P<end>\.weight)?")


class Part(NamedTuple):
    """A matrix within a tensor of a file."""

    stored: str  # name of that tensor
    within: tuple[int | slice | Tensor, ...]  # index of the matrix in it
    shape: tuple[int, int]  # of the matrix
    transposed: bool = False  # whether the tensor holds it as (inputs, outputs)

    def of(self, whole: Tensor) -> Tensor:
        """The matrix within its tensor."""
        part = whole[self.within]
        return part.T if self.transposed else part

    def put(self, whole: Tensor, matrix: Tensor) -> None:
        """Write the matrix into its tensor."""
        whole[self.within] = (matrix.T if self.transposed else matrix).to(whole)


def parts_of(shapes: Mapping[str, Shape], model_type: str | None) -> dict[str, Part]:
    """Cut the tensors that are not one matrix each; the parts of a tensor cover it.

    Args:
        shapes: of all tensors, by name.
        model_type: of the model's configuration.

    Returns:
        Name of a part -> the part. A tensor without parts is absent.
    """
    found: dict[str, Part] = {}
    conv1d = CONV1D.get(model_type or "")
    for name, shape in shapes.items():
        if len(shape) == 2 and conv1d and conv1d.fullmatch(name):
            found |= _conv1d(name, shape)
        elif len(shape) == 3 and 0 not in shape and (match := STACKED.fullmatch(name)):
            found |= _stacked(match, shapes, model_type)
    return found


def model_type(folder: Path) -> str | None:
    """The `model_type` of a model folder's configuration; None without a readable one."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # which who reads the folder says
        return None
    kind = config.get("model_type") if isinstance(config, dict) else None
    return kind if isinstance(kind, str) else None


def _conv1d(name: str, shape: Shape) -> dict[str, Part]:
    inputs, outputs = shape
    if not name.endswith("c_attn.weight"):
        return {name: Part(name, (slice(None),), (outputs, inputs), transposed=True)}
    before, size = name.removesuffix("weight"), outputs // 3
    return {
        f"{before}{which}.weight": Part(
            name, (slice(None), slice(i * size, (i + 1) * size)), (size, inputs), transposed=True
        )
        for i, which in enumerate("qkv")
    }


def _stacked(
    match: re.Match[str], shapes: Mapping[str, Shape], model_type: str | None
) -> dict[str, Part]:
    """The matrices of a tensor of shape (experts, ., .)."""
    before, name, end = match["experts"], match["name"], match["end"] or ""
    stored = match[0]
    count, *shape = shapes[stored]
    gate_up, down = (
        shapes.get(f"{before}.{one}{end}", ()) for one in ("gate_up_proj", "down_proj")
    )
    transposed = _transposed(gate_up, down)
    if transposed is None or name not in ("gate_up_proj", "down_proj"):
        return {
            f"{before}.{expert}.{name}{end}": Part(stored, (expert,), (shape[0], shape[1]))
            for expert in range(count)
        }
    outputs, inputs = reversed(shape) if transposed else shape
    if name == "down_proj":
        cuts: dict[str, slice] = {name: slice(None)}
    else:
        outputs //= 2
        cuts = dict(zip(("gate_proj", "up_proj"), _halves(outputs, model_type), strict=True))
    return {
        f"{before}.{expert}.{which}.weight": Part(
            stored,
            (expert, slice(None), cut) if transposed else (expert, cut),
            (outputs, inputs),
            transposed,
        )
        for which, cut in cuts.items()
        for expert in range(count)
    }


def _halves(outputs: int, model_type: str | None) -> Iterator[slice]:
    if model_type in INTERLEAVED:
        return iter((slice(0, None, 2), slice(1, None, 2)))
    return iter((slice(outputs), slice(outputs, None)))


def _transposed(gate_up: Shape, down: Shape) -> bool | None:
    """Whether experts are stored as (inputs, outputs), which their two shapes decide.

    With hidden size H and I intermediate features `gate_up` is (2 I, H) and `down` (H, I), or both
    are transposed; no two sizes fit both. None where they fit neither.
    """
    if len(gate_up) != 3 or len(down) != 3:
        return None
    (_, a, b), (_, c, d) = gate_up, down
    if (a, b) == (2 * d, c):
        return False
    return True if (a, b) == (d, 2 * c) else None
