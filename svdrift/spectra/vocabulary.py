"""Embeddings and heads of checkpoints whose vocabularies differ in size: the rows that both have.

Rows are matched by token. Where both tokenizers give every id below the smaller size the same
token (or neither gives it one: padding), these are the leading rows of both; else they are the rows
of the tokens that both know. The other rows are tensors of their own, which the other checkpoint
lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from svdrift.errors import UserError
from svdrift.spectra.decomposition import Decomposed, Factors, FactorSource
from svdrift.spectra.matrices import Key
from svdrift.spectra.on_demand import FactorsOnDemand
from svdrift.spectra.patterns import EMBEDDING, HEAD

LEAVE_OUT = (
    "(recover leaves embedding and head alone with --layers-only, compare unless they are named)"
)
VOCABULARY: tuple[Key, ...] = ((None, EMBEDDING), (None, HEAD))


class Matched(NamedTuple):
    """Two checkpoints with the rows that both have."""

    anchor: Decomposed
    target: Decomposed
    notes: list[str]  # a line for each matrix of which rows are left out


def match_vocabularies(anchor: Decomposed, target: Decomposed) -> Matched:
    """Take the rows of embedding and head that both checkpoints have, where their numbers differ.

    Raises:
        UserError: they differ, and a tokenizer is missing, or the two have no token in common.
    """
    rows: dict[Key, tuple[Tensor, Tensor]] = {}
    for key in VOCABULARY:
        one, other = (side.factors.matrices.get(key) for side in (anchor, target))
        if one and other and one.shape[0] != other.shape[0] and one.shape[1] == other.shape[1]:
            folders = anchor.weights.folder, target.weights.folder
            rows[key] = _rows_of(key[1], folders, (one.shape[0], other.shape[0]))
    if not rows:
        return Matched(anchor, target, [])
    notes = []
    for key, both in rows.items():
        left = [
            f"{count - len(both[0])} of {count} rows of the {whose} ({side.weights.folder})"
            for whose, side in (("anchor", anchor), ("target", target))
            if (count := side.factors.matrices[key].shape[0]) > len(both[0])
        ]
        notes.append(f"{key[1]}: {len(both[0])} rows are in both; left out: {' and '.join(left)}")
    return Matched(
        _with_rows(anchor, {key: both[0] for key, both in rows.items()}, "anchor"),
        _with_rows(target, {key: both[1] for key, both in rows.items()}, "target"),
        notes,
    )


def common_rows(
    one: Mapping[str, int], other: Mapping[str, int], sizes: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Indices of the rows of two vocabularies that mean the same, by rising index in the first.

    Args:
        one, other: token -> id.
        sizes: rows of their embeddings.

    Returns:
        Two tensors of shape (n,), n >= 0.
    """
    smaller = min(sizes)
    first, second = ({i: token for token, i in ids.items()} for ids in (one, other))
    if all(first.get(i) == second.get(i) for i in range(smaller)):
        return torch.arange(smaller), torch.arange(smaller)
    shared = sorted(
        (i, other[token])
        for token, i in one.items()
        if token in other and i < sizes[0] and other[token] < sizes[1]
    )
    ours, theirs = torch.tensor(shared, dtype=torch.long).reshape(-1, 2).T
    return ours.contiguous(), theirs.contiguous()


def _rows_of(
    what: str, folders: tuple[Path, Path], sizes: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    from svdrift.models.loading import load_tokenizer  # takes seconds, and is rarely needed here

    place = f"{folders[0]} and {folders[1]} differ in the shape of {what}, {sizes[0]} and "
    place += f"{sizes[1]} rows"
    try:
        one, other = (load_tokenizer(folder).get_vocab() for folder in folders)
    except UserError as error:
        raise UserError(
            f"{place}, and which mean the same is not known: {error} {LEAVE_OUT}"
        ) from None
    rows = common_rows(one, other, sizes)
    if not len(rows[0]):
        raise UserError(f"{place}, and their tokenizers have no token in common {LEAVE_OUT}")
    return rows


def _with_rows(checkpoint: Decomposed, rows: Mapping[Key, Tensor], whose: str) -> Decomposed:
    """A checkpoint of whose vocabulary only some rows take part."""
    names = {checkpoint.factors.matrices[key].name: chosen for key, chosen in rows.items()}
    weights = checkpoint.weights.with_rows(names, whose)
    factors = checkpoint.factors
    if isinstance(factors, FactorsOnDemand):
        return Decomposed(weights, factors.of(weights))
    return Decomposed(weights, _FactorsOfRows(factors, FactorsOnDemand(weights), rows.keys()))


class _FactorsOfRows:
    """Factors from a file, but for matrices of which only some rows take part.

    Args:
        kept: the file's, of whole matrices.
        made: those of the chosen rows, made when they are read.
        keys: of the matrices with chosen rows.
    """

    def __init__(self, kept: FactorSource, made: FactorsOnDemand, keys: Collection[Key]) -> None:
        self.content_hash = kept.content_hash
        self.matrices = {
            key: made.matrices[key] if key in keys else matrix
            for key, matrix in kept.matrices.items()
        }
        self._sources = {key: made if key in keys else kept for key in kept.matrices}

    def read(self, key: Key, ranks: Tensor | None = None) -> Factors:
        """See `FactorSource`."""
        return self._sources[key].read(key, ranks)

    def singular_values(self, key: Key) -> Tensor:
        """See `FactorSource`."""
        return self._sources[key].singular_values(key)
