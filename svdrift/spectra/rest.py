"""What a comparison or repair of two checkpoints leaves out: how much, and whether it differs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from svdrift.models.folders import listed
from svdrift.spectra.decomposition import is_finite
from svdrift.spectra.layouts import patterns_option
from svdrift.spectra.matrices import Weights, bare

UNKNOWN = "matrices in the layers, of kinds that are not known"
CUBES = "tensors of more than two dimensions in the layers"
KNOWN = "matrices in the layers, of known kinds"
SMALL = "norms and biases in the layers"
OUTSIDE = "outside the layers"
GROUPS = (UNKNOWN, CUBES, KNOWN, SMALL, OUTSIDE)
MOST = 3  # names in a sentence


class Rest(NamedTuple):
    """A tensor that was left out."""

    name: str  # in the file of the target, or of the anchor where it alone has it
    group: str  # one of GROUPS
    share: float  # of the entries of the target's weights; of the anchor's where it alone has it
    differs: str  # empty; or `values`, `shape`, `only in the anchor`, `only in the target`
    not_finite: tuple[str, ...]  # which hold NaN or infinities: `anchor`, `target`


def left_out(anchor: Weights, target: Weights, done: Collection[str]) -> Iterator[Rest]:
    """Compare tensors entry by entry, reading one pair at a time.

    A tied head that repeats its embedding is passed over where the other has none.

    Args:
        anchor: the checkpoint before.
        target: the checkpoint after.
        done: names of the target's tensors that were not left out.
    """
    theirs = {bare(name): name for name in anchor.names}
    whole = sum(map(target.size, target.names)) or 1
    for name in target.names:
        other = theirs.pop(bare(name), None)
        if name in done or (other is None and name in target.repeated):
            continue
        share = target.size(name) / whole
        if other is None:
            differs, broken = "only in the target", _broken(target=target.blocks(name))
        elif target.shape(name) != anchor.shape(other):
            differs = "shape"
            broken = _broken(anchor=anchor.blocks(other), target=target.blocks(name))
        else:
            differs, broken = _compared(anchor.blocks(other), target.blocks(name))
        yield Rest(name, _group(target, name), share, differs, broken)
    whole = sum(map(anchor.size, anchor.names)) or 1
    for name in theirs.values():
        if name in anchor.repeated:
            continue
        share, broken = anchor.size(name) / whole, _broken(anchor=anchor.blocks(name))
        yield Rest(name, _group(anchor, name), share, "only in the anchor", broken)


def sentences(rest: Collection[Rest]) -> list[str]:
    """A line for each group: how many, their share of the weights, and which of them differ.

    And, of matrices of kinds that are not known, the option that says what they are.
    """
    lines = []
    for group in GROUPS:
        here = [one for one in rest if one.group == group and one.differs != "only in the anchor"]
        if here:
            share = 100 * sum(one.share for one in here)
            lines.append(
                f"- {group}: {len(here)}, {share:.3g} % of the weights; {_differing(here)}"
            )
        if here and group == UNKNOWN:
            lines.append(f"  they are taken with: {patterns_option([one.name for one in here])}")
    lacking = [one.name for one in rest if one.differs == "only in the anchor"]
    lines += listed(f"- in the anchor alone: {len(lacking)}", lacking, MOST)
    return lines


def not_finite(rest: Collection[Rest], which: Collection[str] = ("anchor", "target")) -> list[str]:
    """Names of tensors that hold NaN or infinities, in one of these checkpoints."""
    return [one.name for one in rest if set(which) & set(one.not_finite)]


def unlabelled(weights: Weights, before: Weights | None = None) -> str:
    """One line on the matrices in a checkpoint's layers that no pattern matches; empty without.

    Args:
        weights: the checkpoint.
        before: another one; the line then says how many of them differ from it.
    """
    names = [name for name in weights.unmatched if _layer(weights, name) is not None]
    share = 100 * sum(map(weights.size, names)) / (sum(map(weights.size, weights.names)) or 1)
    kind = f"{len(names)} matrices in the layers ({share:.3g} % of the weights) match no pattern"
    if before is not None and names:
        rest = left_out(before, weights, set(weights.names) - set(names))
        differ = sum(bool(one.differs) for one in rest if one.name in names)
        kind += f", {differ or 'none'} of them changed"
    return "".join(listed(kind, names, MOST))


def _compared(anchor: Iterator[Tensor], target: Iterator[Tensor]) -> tuple[str, tuple[str, ...]]:
    """Whether two tensors of one shape differ, and which of them is not finite, block by block."""
    differs, broken = "", set()
    for before, after in zip(anchor, target, strict=True):
        common = torch.promote_types(before.dtype, after.dtype)
        if not torch.equal(before.to(common), after.to(common)):
            differs = "values"
        broken |= set(_broken(anchor=[before], target=[after]))
    return differs, tuple(sorted(broken))


def _broken(**tensors: Iterable[Tensor]) -> tuple[str, ...]:
    return tuple(which for which, blocks in tensors.items() if not all(map(is_finite, blocks)))


def _differing(rest: Collection[Rest]) -> str:
    names = [one.name for one in rest if one.differs]
    if not names:
        return "none differs"
    special = [f"{one.name} ({one.differs})" for one in rest if one.differs not in ("", "values")]
    plain = [one.name for one in rest if one.differs == "values"]
    verb = "differs" if len(names) == 1 else "differ"
    return "".join(listed(f"{len(names)} {verb}", [*special, *plain], MOST))


def _layer(weights: Weights, name: str) -> int | None:
    layer = weights.labels.layer_of(name)
    return weights.layout.layer_of(name) if layer is None else layer


def _group(weights: Weights, name: str) -> str:
    if _layer(weights, name) is None:
        return OUTSIDE
    if len(weights.shape(name)) < 2 or name.endswith("bias"):
        return SMALL
    if len(weights.shape(name)) > 2:
        return CUBES
    known = weights.labels.of_matrix(name) or weights.layout.of_matrix(name)
    return UNKNOWN if known is None else KNOWN
