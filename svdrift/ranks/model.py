"""The model that ranks are judged by: loaded once, its matrices exchanged in place."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from svdrift.errors import UserError
from svdrift.ranks.space import Ranks, Space, Subject, Task
from svdrift.recovery.apply import Places
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.mixing import changed
from svdrift.recovery.plan import make_plan, require_directions
from svdrift.spectra.angles import principal_angles, rank_count
from svdrift.spectra.decomposition import Decomposed, Factors
from svdrift.spectra.matrices import Key

LEADING = 0.1
"""Share of the ranks whose angle to the anchor a method may know."""
SAME = Intervention("directions", top=1)
"""Which matrices are repaired: all that both checkpoints have."""


class Adjusted:
    """A loaded target model whose matrices get the ranks that are asked for.

    Factors of both checkpoints are held in memory, and a matrix is made anew only when its rank
    changes.

    Args:
        model: the target, loaded.
        target: the checkpoint that `model` was loaded from.
        anchor: what it is repaired from; in `keep` it is not read.
        task: see `svdrift.ranks.space`.
        device: where the products run.

    Raises:
        UserError: the checkpoints do not fit together, a matrix has no directions, or `model`
            lacks a tensor.
    """

    def __init__(
        self,
        model: nn.Module,
        target: Decomposed,
        anchor: Decomposed,
        task: Task,
        device: torch.device | str = "cpu",
    ) -> None:
        self._target, self._task, self._device = target, task, device
        plan = make_plan(target, anchor, SAME)
        require_directions(target, anchor, plan, SAME)
        self.keys: tuple[Key, ...] = plan.keys
        self._places = Places(model, target.weights)
        self._copies: dict[str, list[str]] = {}
        for copy, original in target.weights.repeated.items():
            self._copies.setdefault(original, []).append(copy)
        for name in plan.names:
            if name not in self._places:
                raise UserError(f"the model has no tensor {name} of {target.weights.folder}")
        self._ours = [target.factors.read(key).to(device) for key in self.keys]
        self._theirs = (
            [anchor.factors.read(key).to(device) for key in self.keys]
            if task == "repair"
            else self._ours
        )
        self._now: list[int | None] = [None] * len(self.keys)

    def space(self, budget: float, choices: tuple[float, ...]) -> Space:
        """What can be chosen for this model."""
        return Space(self._task, tuple(self._subjects()), budget, choices)

    def set(self, ranks: Ranks) -> None:
        """Give the model's matrices these ranks."""
        for i, (key, rank) in enumerate(zip(self.keys, ranks, strict=True)):
            if rank != self._now[i]:
                self._put(i, key, rank)
                self._now[i] = rank

    def _put(self, i: int, key: Key, rank: int) -> None:
        weight, leading = self._target.weight(key), torch.arange(rank)
        if self._task == "repair":
            ours, theirs = (one[i].of(leading) for one in (self._ours, self._theirs))
            rng = torch.Generator()  # which this kind does not use
            new = changed(weight.to(self._device), ours, theirs, "per_matrix", rng)
        elif rank == len(self._ours[i].S):
            new = weight
        else:
            new = truncated(self._ours[i], rank).to(weight.dtype)
        name = self._target.factors.matrices[key].name
        for one in [name, *self._copies.get(name, [])]:
            self._places.put(one, new)

    def _subjects(self) -> Iterable[Subject]:
        for i, key in enumerate(self.keys):
            ours, theirs = self._ours[i], self._theirs[i]
            angle = 0.0
            if self._task == "repair":
                k = rank_count(LEADING, len(ours.S))
                sides = ((ours.U[:, :k], theirs.U[:, :k]), (ours.Vh[:k].T, theirs.Vh[:k].T))
                angles = [principal_angles(a.double(), b.double()).mean() for a, b in sides]
                angle = float(sum(angles) / 2)
            matrix = self._target.factors.matrices[key]
            yield Subject(*key, matrix.shape, theirs.S.cpu().numpy(), angle)


def truncated(factors: Factors, rank: int) -> torch.Tensor:
    """The nearest matrix of a rank (Eckart & Young 1936)."""
    return (factors.U[:, :rank] * factors.S[:rank]) @ factors.Vh[:rank]
