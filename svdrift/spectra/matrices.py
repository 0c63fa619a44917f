"""The weight matrices of a model folder: which, how they are labelled, and read one at a time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from svdrift.errors import UserError
from svdrift.models.folders import listed, one_line, require_config, unreadable, weight_files
from svdrift.spectra.layouts import patterns_of, patterns_option
from svdrift.spectra.parts import Part, model_type, parts_of
from svdrift.spectra.patterns import (
    DEFAULT_PATTERNS,
    EMBEDDING,
    HEAD,
    PREFIX,
    example,
    expert_of,
    filled,
    kind_of,
    module_of,
    pattern_faults,
)

BLOCK = 2**20  # entries that are read at once where not the whole tensor is needed

Key = tuple[int | None, str]
"""Layer (None outside the layers) and module: what a matrix is called in every checkpoint."""


@dataclass(frozen=True)
class Matrix:
    """A labelled matrix of a checkpoint: a tensor, or a part of one (`svdrift.spectra.parts`)."""

    name: str  # of the tensor in the file, or of the part
    layer: int | None
    module: str  # its kind; of an expert `experts.7.up`
    shape: tuple[int, int]

    @property
    def key(self) -> Key:
        """The label without the file's name for it."""
        return (self.layer, self.module)

    @property
    def kind(self) -> str:
        """The kind of module, which all experts share: `experts.up`."""
        return kind_of(self.module)

    @property
    def rank(self) -> int:
        """The full rank r = min(rows, columns)."""
        return min(self.shape)


class Labels:
    """Labels of tensor names under a set of patterns.

    Args:
        patterns: kind of module to a regular expression that must match a matrix's whole name,
            with `{layer}` in place of the layer's number, and `{expert}` of the expert's.

    Raises:
        UserError: see `svdrift.spectra.patterns.pattern_faults`.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self.patterns = dict(patterns)
        for kind, pattern in self.patterns.items():
            if fault := pattern_faults(kind, pattern):
                raise UserError(f"patterns.{kind}: {fault}")
        self._kinds = {kind: re.compile(filled(at)) for kind, at in self.patterns.items()}
        # A norm or bias belongs to a layer if its name has the prefix of that layer's matrices.
        prefixes = {at.partition("{layer}")[0] for at in self.patterns.values() if "{layer}" in at}
        try:
            self._layers = [re.compile(rf"{one}(?P<layer>\d+)\..+") for one in prefixes]
        except re.error as error:
            raise UserError(f"patterns: {{layer}} stands within a group: {error}") from None

    def of_matrix(self, name: str) -> Key | None:
        """Label a matrix; None when no pattern matches its name."""
        for kind, pattern in self._kinds.items():
            if match := pattern.fullmatch(name):
                layer, expert = (_number(match, which) for which in ("layer", "expert"))
                return (layer, module_of(kind, expert))
        return None

    def layer_of(self, name: str) -> int | None:
        """Return the layer of a tensor of any shape; None outside the layers."""
        matches = (pattern.fullmatch(name) for pattern in self._layers)
        return next((int(match["layer"]) for match in matches if match), None)


def _number(match: re.Match[str], group: str) -> int | None:
    text = match.groupdict().get(group)
    return None if text is None else int(text)


class Weights:
    """The tensors of a Hugging Face folder of safetensors, read lazily, one at a time.

    A tensor that holds several matrices, or one transposed, stands here as its parts, whose names
    say what they are (`svdrift.spectra.parts`).

    Iterating yields `(Matrix, Tensor)` for each labelled matrix, layers first, in a fixed order.
    What the file holds counts, not what config.json says of tying: a head is a matrix like others
    unless the model ties it to its embedding and the file repeats that embedding.

    Attributes:
        matrices: the labelled matrices.
        unmatched: names of tensors of two or more dimensions, biases aside, that no pattern
            matches; they are never decomposed.
        layout: labels of the matrices of this `model_type`, whichever patterns are given.
        names: all tensors, or their parts.
        stored: names of the tensors in the files.
        embedding, head: names of these two; None without.
        repeated: name of a tied head that repeats the embedding -> name of the embedding.
        depth: number of layers.

    Raises:
        UserError: no readable safetensors; a pattern matches nothing, or something that is not a
            matrix; or two tensors get the same label.
    """

    def __init__(self, folder: Path, patterns: Mapping[str, str] = DEFAULT_PATTERNS) -> None:
        self.folder = folder
        self.labels = Labels(patterns)
        kind = model_type(folder)
        self.layout = Labels(patterns_of(kind))
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
                problem = unreadable(path, error)
                raise UserError(f"{path}: not a safetensors file: {problem}") from None
        self.stored = tuple(sorted(self._headers))
        shapes = {name: self._headers[name][0] for name in self.stored}
        self._parts: dict[str, Part] = parts_of(shapes, kind)
        self._name()
        self.repeated = self._repeated()
        self._label()

    def _name(self) -> None:
        """Name the tensors, or their parts."""
        cut = {part.stored for part in self._parts.values()}
        self.names = tuple(sorted([*self._parts, *(n for n in self.stored if n not in cut)]))

    def _label(self) -> None:
        """Find the matrices among them."""
        keys = {name: self.labels.of_matrix(name) for name in self.names}
        found: dict[Key, Matrix] = {}
        for name in self.names:
            key, shape = keys[name], self.shape(name)
            if key is None or name in self.repeated:
                continue
            if len(shape) != 2 or 0 in shape:
                kind = kind_of(key[1])
                raise UserError(f"patterns.{kind} matches {name} of shape {shape}: no matrix")
            if key in found:
                raise UserError(
                    f"patterns.{kind_of(key[1])} gives {found[key].name} and {name} the same label"
                )
            found[key] = Matrix(name, key[0], key[1], (shape[0], shape[1]))
        order = {kind: i for i, kind in enumerate(self.labels.patterns)}

        def place(matrix: Matrix) -> tuple[bool, int, int, int]:
            expert = expert_of(matrix.module) or 0
            return (matrix.layer is None, matrix.layer or 0, order[matrix.kind], expert)

        self.matrices = tuple(sorted(found.values(), key=place))
        kinds = {matrix.kind for matrix in self.matrices}
        # A model without a head of its own uses the embedding: strict loading has seen to it.
        expected = set(order) - ({HEAD} if EMBEDDING in kinds else set())
        self.unmatched = tuple(
            name
            for name in self.names
            if len(self.shape(name)) > 1 and not keys[name] and not name.endswith("bias")
        )
        if missing := sorted(expected - kinds, key=order.__getitem__):
            raise UserError(self._lacks(missing, [kind for kind in order if kind in kinds]))
        layers = {layer for n in self.names if (layer := self.labels.layer_of(n)) is not None}
        self.depth = max(layers, default=-1) + 1

    def with_rows(self, rows: Mapping[str, Tensor], whose: str) -> Self:
        """The same tensors, of which some are cut into chosen rows and the others.

        The chosen rows keep the tensor's name, so they are the matrix; the others are a tensor that
        no pattern matches.

        Args:
            rows: name of a tensor -> indices of its chosen rows, in the order wanted, shape (n,).
            whose: which checkpoint this is, for the names of the others.
        """
        made = copy(self)
        made._parts, made.repeated = dict(self._parts), dict(self.repeated)
        copies = {one: rows[other] for one, other in self.repeated.items() if other in rows}
        for name, chosen in {**rows, **copies}.items():
            count, width = self.shape(name)
            mask = torch.ones(count, dtype=torch.bool)
            mask[chosen] = False
            others = mask.nonzero().flatten()
            made._parts[name] = Part(name, (_index(chosen),), (len(chosen), width))
            if len(others):
                left = left_rows(name, len(others), whose)
                made._parts[left] = Part(name, (_index(others),), (len(others), width))
                if name in copies:
                    original = self.repeated[name]
                    made.repeated[left] = left_rows(original, len(others), whose)
        made._name()
        made._label()
        return made

    def part(self, name: str) -> Part | None:
        """Where a tensor lies within one of the file; None if it is one of the file."""
        return self._parts.get(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the file's header."""
        return self._parts[name].shape if name in self._parts else self._headers[name][0]

    def stored_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor of the files."""
        return self._headers[name][0]

    def dtype(self, name: str) -> str:
        """Type of a tensor, or one of the files, in safetensors' notation, such as `BF16`."""
        return self._headers[self.stored_name(name)][1]

    def stored_name(self, name: str) -> str:
        """Name of the tensor of the files in which a tensor lies."""
        return self._parts[name].stored if name in self._parts else name

    def read(self, name: str) -> Tensor:
        """Read one tensor, in the file's own type."""
        if (part := self._parts.get(name)) is None:
            return self.read_stored(name)
        first, *rest = part.within
        inside: int | slice | Tensor = slice(None)
        rows = inside
        if isinstance(first, int):
            rows, inside = slice(first, first + 1), 0
        elif isinstance(first, slice):
            rows = first
        else:
            inside = first
        with safe_open(self._place[part.stored], framework="pt") as file:
            held: Tensor = file.get_slice(part.stored)[rows]
        return (
            part._replace(within=(inside, *rest))
            .of(held)
            .clone(memory_format=torch.contiguous_format)
        )

    def read_stored(self, name: str) -> Tensor:
        """Read one tensor of the files, with all its parts."""
        # Opened anew each time: an open file keeps every page mapped that was ever read.
        with safe_open(self._place[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def blocks(self, name: str) -> Iterator[Tensor]:
        """Read one tensor some rows at a time, so that a large one takes little memory."""
        shape = self.shape(name)
        if self.size(name) <= BLOCK or len(shape) < 2:
            yield Weights.read(self, name)
            return
        rows = max(1, BLOCK // math.prod(shape[1:]))
        if name in self._parts:
            yield from Weights.read(self, name).split(rows)
            return
        for start in range(0, shape[0], rows):
            with safe_open(self._place[name], framework="pt") as file:
                block: Tensor = file.get_slice(name)[start : start + rows]
            yield block

    def size(self, name: str) -> int:
        """Number of entries of a tensor."""
        return math.prod(self.shape(name))

    def is_zero(self, name: str) -> bool:
        """Whether a tensor holds only zeros."""
        return not any(bool(block.any()) for block in self.blocks(name))

    def __iter__(self) -> Iterator[tuple[Matrix, Tensor]]:
        for matrix in self.matrices:
            yield matrix, self.read(matrix.name)

    def _repeated(self) -> dict[str, str]:
        tied = _declares_tied(self.folder)
        known = self.layout.patterns | self.labels.patterns
        labels = Labels({kind: known[kind] for kind in (EMBEDDING, HEAD)})
        found = {key: name for name in self.names if (key := labels.of_matrix(name)) is not None}
        self.embedding, self.head = found.get((None, EMBEDDING)), found.get((None, HEAD))
        if self.embedding is None or self.head is None or tied is False:
            return {}
        if self._headers[self.head] != self._headers[self.embedding]:
            return {}
        pairs = zip(self.blocks(self.head), self.blocks(self.embedding), strict=True)
        if not all(torch.equal(one, other) for one, other in pairs):
            return {}
        return {self.head: self.embedding} if is_tied(self.folder) else {}

    def _lacks(self, missing: list[str], known: list[str]) -> str:
        """Say what patterns miss, and what is there instead."""
        if missing == [HEAD]:
            return f"{self.folder}: has no head of its own (its embedding serves as one)"
        unmatched = [name for name in self.unmatched if self.layout.of_matrix(name) is None]
        unknown = listed("; not known", kinds_of(unmatched))
        flat = [name for name in unmatched if len(self.shape(name)) == 2 and in_a_layer(name)]
        option = patterns_option(flat) if flat else "--patterns"
        first = missing[0]
        if self.labels.patterns[first] != DEFAULT_PATTERNS.get(first):
            pattern = f"patterns.{first} = {self.labels.patterns[first]!r}"
            return f"{pattern} matches no tensor of {self.folder}{''.join(unknown)}"
        fit = f"; known: {', '.join(known)} (--modules takes these alone)" if known else ""
        return (
            f"{self.folder}: {', '.join(missing)}: no tensor is named as in Llama "
            f"({example(first)}){fit}{''.join(unknown)} ({option} says what they are)"
        )


def in_a_layer(name: str) -> bool:
    """Whether a name holds a number, as those of tensors in layers do."""
    return re.search(r"\.\d+\.", name) is not None


def left_rows(name: str, count: int, whose: str) -> str:
    """Name of the rows of a tensor that `Weights.with_rows` has not chosen."""
    return f"{name}[{count} rows of the {whose} alone]"


def _index(rows: Tensor) -> slice | Tensor:
    """Rows that follow each other as a slice, which is read without the others."""
    first, count = int(rows[0]), len(rows)
    follows = torch.equal(rows, torch.arange(first, first + count))
    return slice(first, first + count) if follows else rows


def bare(name: str) -> str:
    """A tensor's name without the prefix that differs between wrappings of one model."""
    return re.sub(f"^{PREFIX}", "", name)


def kinds_of(names: Iterable[str]) -> list[str]:
    """Names with N in place of numbers, each once."""
    return sorted({re.sub(r"\d+", "N", name) for name in names})


def untied_head(weights: Weights) -> list[str]:
    """A line if config.json ties the head to the embedding, but the file holds another head."""
    head, embedding = weights.head, weights.embedding
    if head is None or embedding is None or head in weights.repeated or not is_tied(weights.folder):
        return []
    return [
        f"{head} differs from {embedding}, though config.json ties them (tie_word_embeddings): "
        "transformers keeps both and warns, other programs drop the head"
    ]


def is_tied(folder: Path) -> bool:
    """Whether config.json, or else the class of that configuration, ties the head to the embedding.

    Raises:
        UserError: there is none, or it is not a model's configuration.
    """
    if (declared := _declares_tied(folder)) is not None:
        return declared
    from transformers import AutoConfig  # takes seconds to import, and is rarely needed here

    try:
        default = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError):  # a class that transformers does not know
        return False
    return bool(getattr(default, "tie_word_embeddings", False))


def _declares_tied(folder: Path) -> bool | None:
    """What config.json says of tying; None if it leaves that to its class."""
    require_config(folder)
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not a model's configuration: {one_line(error)}") from None
    if not isinstance(config, dict) or not isinstance(config.get("text_config") or {}, dict):
        raise UserError(f"{path}: not a model's configuration: no JSON object")
    for part in (config, config.get("text_config") or {}):
        if "tie_word_embeddings" in part:
            return bool(part["tie_word_embeddings"])
    return None
