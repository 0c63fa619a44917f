"""The weight matrices of a model folder: which, how they are labelled, and read one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from svdrift.errors import UserError
from svdrift.models.folders import weight_files
from svdrift.spectra.patterns import DEFAULT_PATTERNS, EMBEDDING, HEAD

Key = tuple[int | None, str]
"""Layer (None outside the layers) and module: what a matrix is called in every checkpoint."""


@dataclass(frozen=True)
class Matrix:
    """A labelled 2-D tensor of a checkpoint."""

    name: str  # in the file
    layer: int | None
    module: str
    shape: tuple[int, int]

    @property
    def key(self) -> Key:
        """The label without the file's name for it."""
        return (self.layer, self.module)

    @property
    def rank(self) -> int:
        """The full rank r = min(rows, columns)."""
        return min(self.shape)


class Labels:
    """Labels of tensor names under a set of patterns.

    Args:
        patterns: module to a regular expression that must match a tensor's whole name, with
            `{layer}` in place of the layer's number.

    Raises:
        UserError: a pattern is no regular expression, or holds `{layer}` more than once.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self.patterns = dict(patterns)
        try:
            self._matrices = {
                module: re.compile(pattern.replace("{layer}", r"(?P<layer>\d+)"))
                for module, pattern in self.patterns.items()
            }
            # A norm or bias belongs to a layer if its name has the prefix of that layer's matrices.
            self._layers = [
                re.compile(pattern.partition("{layer}")[0] + r"(?P<layer>\d+)\..+")
                for pattern in self.patterns.values()
                if "{layer}" in pattern
            ]
        except re.error as error:
            raise UserError(f"patterns: not a regular expression: {error}") from None

    def of_matrix(self, name: str) -> Key | None:
        """Label a tensor; None when no pattern matches its name."""
        for module, pattern in self._matrices.items():
            if match := pattern.fullmatch(name):
                layer = match.groupdict().get("layer")
                return (None if layer is None else int(layer), module)
        return None

    def layer_of(self, name: str) -> int | None:
        """Return the layer of a tensor of any shape; None outside the layers."""
        matches = (pattern.fullmatch(name) for pattern in self._layers)
        return next((int(match["layer"]) for match in matches if match), None)


class Weights:
    """The tensors of a Hugging Face folder of safetensors, read lazily, one at a time.

    Iterating yields `(Matrix, Tensor)` for each labelled matrix, layers first, in a fixed order.
    A head that the model ties to its embedding is not listed, whether or not the file repeats it.

    Attributes:
        matrices: the labelled matrices.
        unmatched: names of 2-D tensors that no pattern matches; they are never decomposed.
        names: all tensors.
        depth: number of layers.

    Raises:
        UserError: no readable safetensors; a pattern matches nothing, or something that is not a
            matrix; or two tensors get the same label.
    """

    def __init__(self, folder: Path, patterns: Mapping[str, str] = DEFAULT_PATTERNS) -> None:
        self.folder = folder
        self.labels = Labels(patterns)
        self._place: dict[str, Path] = {}
        self._headers: dict[str, tuple[tuple[int, ...], str]] = {}
        for path in weight_files(folder):
            try:
                with safe_open(path, framework="pt") as file:
                    for name in file.keys():  # noqa: SIM118 (not a mapping)
                        view = file.get_slice(name)
                        self._place[name] = path
                        self._headers[name] = (tuple(view.get_shape()), view.get_dtype())
            except SafetensorError as error:
                raise UserError(f"{path}: not a safetensors file: {error}") from None
        tied = _declares_tied_head(folder)
        keys = {name: self.labels.of_matrix(name) for name in sorted(self._headers)}
        self.names = tuple(n for n, key in keys.items() if not (tied and key == (None, HEAD)))
        found: dict[Key, Matrix] = {}
        for name in self.names:
            key, shape = keys[name], self.shape(name)
            if key is None:
                continue
            if len(shape) != 2:
                raise UserError(f"patterns.{key[1]} matches {name} of shape {shape}: no matrix")
            if key in found:
                raise UserError(
                    f"patterns.{key[1]} gives {found[key].name} and {name} the same label"
                )
            found[key] = Matrix(name, key[0], key[1], (shape[0], shape[1]))
        order = {module: i for i, module in enumerate(self.labels.patterns)}
        self.matrices = tuple(
            sorted(found.values(), key=lambda m: (m.layer is None, m.layer or 0, order[m.module]))
        )
        modules = {matrix.module for matrix in self.matrices}
        # A model without a head of its own uses the embedding: strict loading has seen to it.
        expected = set(order) - ({HEAD} if EMBEDDING in modules else set())
        if missing := sorted(expected - modules, key=order.__getitem__):
            raise UserError(
                f"patterns.{missing[0]} = {self.labels.patterns[missing[0]]!r} matches no tensor "
                f"of {folder} (for instance {next(iter(self.names), 'none')})"
            )
        self.unmatched = tuple(n for n in self.names if len(self.shape(n)) == 2 and not keys[n])
        self.depth = len({m.layer for m in self.matrices if m.layer is not None})

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the file's header."""
        return self._headers[name][0]

    def dtype(self, name: str) -> str:
        """Type of a tensor in safetensors' notation, such as `BF16`."""
        return self._headers[name][1]

    def read(self, name: str) -> Tensor:
        """Read one tensor, in the file's own type."""
        # Opened anew each time: an open file keeps every page mapped that was ever read.
        with safe_open(self._place[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[tuple[Matrix, Tensor]]:
        for matrix in self.matrices:
            yield matrix, self.read(matrix.name)


def _declares_tied_head(folder: Path) -> bool:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: no config.json, so this is not a Hugging Face model folder")
    try:
        config = json.loads(path.read_text())
        text = config.get("text_config", {})
        return bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)))
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a model's configuration: {error}") from None
