"""How far a repair moves tensors: from the target, and towards the anchor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from svdrift.recovery.plan import Plan
from svdrift.spectra.comparison import percent
from svdrift.spectra.decomposition import Decomposed

PIECE = 2**16  # entries that are measured at once


class Distances(NamedTuple):
    """Frobenius norms over all tensors that were made anew, relative to the anchor's.

    Attributes:
        before: of the target minus the anchor.
        to_anchor: of the repaired model minus the anchor.
        to_target: of the repaired model minus the target.
    """

    before: float
    to_anchor: float
    to_target: float

    @property
    def words(self) -> str:
        """A line, and a warning where the repair leads away from the anchor."""
        if not self.before and not self.to_target:
            return (
                "Anchor and target are the same in the tensors repaired: there was nothing to do."
            )
        said = (
            "Distance to the anchor, over the tensors repaired, relative to its norm: "
            f"{percent(self.before)} before, {percent(self.to_anchor)} after; to the target: 0 % "
            f"before, {percent(self.to_target)} after."
        )
        if self.to_anchor <= self.before:
            return said
        return (
            f"{said} So it lies further from the anchor than the target did: evaluate it, since "
            "only a test of an ability tells whether it came back."
        )


class Measured:
    """Passes on the tensors of a repair while it sums up how far they moved.

    Args:
        fresh: names and new values of the target's tensors.
        target: the checkpoint that is repaired.
        anchor: the checkpoint whose directions, values or weights are given to it.
        plan: of the repair.
    """

    def __init__(
        self,
        fresh: Iterator[tuple[str, Tensor]],
        target: Decomposed,
        anchor: Decomposed,
        plan: Plan,
    ) -> None:
        self._fresh = fresh
        self._target, self._anchor = target.weights, anchor.weights
        matrices = target.factors.matrices
        self._theirs = {
            matrices[key].name: anchor.factors.matrices[key].name for key in plan.keys
        } | plan.others
        self._squares = [0.0] * 4

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self._fresh:
            if name in self._theirs:  # not a tied head that follows its embedding
                self._add(name, tensor)
            yield name, tensor

    def _add(self, name: str, tensor: Tensor) -> None:
        start = 0
        pairs = zip(self._target.blocks(name), self._anchor.blocks(self._theirs[name]), strict=True)
        for ours, theirs in pairs:
            new = tensor[start : start + len(ours)] if tensor.ndim else tensor
            start += len(ours) if tensor.ndim else 0
            # In pieces, because each needs float64 copies many times its size.
            pieces = (block.flatten().split(PIECE) for block in (ours, theirs, new))
            for piece in zip(*pieces, strict=True):
                mine, whole, made = (part.double() for part in piece)
                for i, part in enumerate((whole, mine - whole, made - whole, made - mine)):
                    self._squares[i] += part.square().sum().item()

    def distances(self) -> Distances:
        """What was summed up; infinite where the anchor holds only zeros."""
        whole, *others = (math.sqrt(square) for square in self._squares)
        return Distances(*(one / whole if whole else math.inf if one else 0.0 for one in others))
