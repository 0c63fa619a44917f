"""Recovered checkpoints: tensor by tensor, or inside a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor, nn

from svdrift.errors import UserError
from svdrift.recovery import kind as kinds
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.mixing import changed, chosen_ranks
from svdrift.recovery.plan import Plan, make_plan, require_directions
from svdrift.spectra.decomposition import Decomposed, Factors, is_finite
from svdrift.spectra.matrices import Matrix, Weights, bare
from svdrift.spectra.nulls import generator
from svdrift.spectra.parts import Part, model_type, parts_of

FLOAT64 = torch.finfo(torch.float64).eps


def recover_tensors(
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[str, Tensor]]:
    """Make every tensor that the intervention chooses anew; all others stay.

    The plan (`make_plan`) says which. Computed in float32, returned on the CPU in the target's
    type, one at a time: memory stays within a few times the largest matrix.

    Args:
        target: the checkpoint to repair.
        anchor: the checkpoint whose directions, values or weights are given to it.
        intervention: what is replaced, and where.
        device: where the products run.

    Returns:
        Names and new values, in the order of the plan.

    Raises:
        UserError: see `make_plan` and `require_directions`; or, later, a new value is NaN or
            infinite, as after one in a checkpoint or beyond the target's type.
    """
    plan = make_plan(target, anchor, intervention)
    require_directions(target, anchor, plan, intervention)
    return _finite_tensors(target, anchor, intervention, plan, device)


def _finite_tensors(
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    plan: Plan,
    device: torch.device | str,
) -> Iterator[tuple[str, Tensor]]:
    copies = target.weights.repeated
    for name, tensor in _new_tensors(target, anchor, intervention, plan, device):
        if not is_finite(tensor):
            raise UserError(
                f"{name}: would hold NaN or infinities; does {target.weights.folder} or "
                f"{anchor.weights.folder} hold some (svdrift check), or is a value too large "
                "for its type?"
            )
        yield name, tensor
        for copy in (copy for copy, original in copies.items() if original == name):
            yield copy, tensor


def _new_tensors(
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    plan: Plan,
    device: torch.device | str,
) -> Iterator[tuple[str, Tensor]]:
    kind = kinds.load(intervention.kind)
    blend = _blending(target, kind, intervention)
    for key in plan.keys:
        matrix, weight = target.factors.matrices[key], target.weight(key)
        ranks = chosen_ranks(intervention, matrix)
        full = len(ranks) == matrix.rank
        if intervention.full_rank_reset and full:
            new = anchor.weight(key).to(weight.dtype)
        elif not intervention.ranked:
            new = blend(weight, anchor.weight(key), key[0], key)
        else:
            some = None if full else ranks
            ours, theirs = (one.factors.read(key, some).to(device) for one in (target, anchor))
            if not (kind.KIND.takes_zeros or intervention.top_of(*key)):
                _require_values(target, matrix, ours)
                _require_values(anchor, matrix, theirs)
            new = changed(
                weight.to(device),
                ours,
                theirs,
                intervention.kind,
                generator(intervention.seed, target.factors.content_hash, *key),
            ).cpu()
        yield matrix.name, new
    for name, other in plan.others.items():
        layer = target.weights.labels.layer_of(name)
        yield name, blend(target.weights.read(name), anchor.weights.read(other), layer, (name,))


def _blending(
    target: Decomposed, kind: ModuleType, intervention: Intervention
) -> Callable[[Tensor, Tensor, int | None, tuple[object, ...]], Tensor]:
    """A kind that takes whole tensors, given its weight: the rest is the tensor's."""
    share = 1.0 if intervention.weight is None else intervention.weight
    last = max(target.weights.depth - 1, 1)

    def blend(
        weight: Tensor, other: Tensor, layer: int | None, label: tuple[object, ...]
    ) -> Tensor:
        rng = generator(intervention.seed, target.factors.content_hash, *label)
        new: Tensor = kind.blend(weight, other, share, (layer or 0) / last, rng)
        return new

    return blend


def _require_values(checkpoint: Decomposed, matrix: Matrix, factors: Factors) -> None:
    """Refuse ranks whose singular values are all 0 up to rounding: their vectors are arbitrary."""
    norm = checkpoint.weight(matrix.key).float().norm()
    if len(factors.S) and factors.S[0] <= FLOAT64 * max(matrix.shape) * norm:
        raise UserError(
            f"{checkpoint.weights.folder}: {matrix.name}: all singular values of the chosen ranks "
            "are 0, so these ranks have no directions (choose others, or other layers or modules)"
        )


@contextmanager
def recovered(
    model: nn.Module,
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    device: torch.device | str = "cpu",
) -> Iterator[None]:
    """Turn a loaded target model into the recovered one inside a `with` block.

    Afterwards the tensors that were changed are read again from the target's folder, so that many
    variants are evaluated on one loaded model, and no second copy is held in memory.

    Args:
        model: the target, loaded, in any floating type and on any device.
        target: the checkpoint that `model` was loaded from.
        anchor: see `recover_tensors`.
        intervention: see `recover_tensors`.
        device: see `recover_tensors`.

    Raises:
        UserError: see `recover_tensors`; or `model` lacks a tensor that is to be changed.
    """
    places = Places(model, target.weights)
    for name in make_plan(target, anchor, intervention).names:
        if name not in places:
            raise UserError(f"the model has no tensor {name} of {target.weights.folder}")
    touched = []
    try:
        for name, tensor in recover_tensors(target, anchor, intervention, device):
            touched.append(name)
            places.put(name, tensor)
        yield
    finally:
        for name in touched:
            places.put(name, target.weights.read(name))


class Places:
    """Where the tensors of a folder are in the model that was loaded from it.

    Loading may change a name's prefix, and stack experts whose file has a tensor for each. Such
    matrices are found by their label, or by the name of their part.

    Args:
        model: loaded.
        weights: of its folder.
    """

    def __init__(self, model: nn.Module, weights: Weights) -> None:
        self._weights = weights
        # The same memory as the parameters.
        state = model.state_dict()
        self._whole = {bare(name): tensor for name, tensor in state.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        parts = parts_of(shapes, model_type(weights.folder))
        self._parts = {bare(name): part for name, part in parts.items()}
        labels = {weights.labels.of_matrix(name): part for name, part in parts.items()}
        self._labelled = {key: part for key, part in labels.items() if key is not None}
        names = {name: weights.labels.of_matrix(name) for name in state}
        self._renamed = {key: state[name] for name, key in names.items() if key is not None}

    def __contains__(self, name: str) -> bool:
        return self._place(name) is not None

    def put(self, name: str, tensor: Tensor) -> None:
        """Write a tensor, named as in the folder, into the model."""
        place = self._place(name)
        assert place is not None
        whole, part = place
        if part is None:
            whole.copy_(tensor)
        else:
            part.put(whole, tensor)

    def _place(self, name: str) -> tuple[Tensor, Part | None] | None:
        """A parameter of the model, and the part of it; None if there is none."""
        stored, key = self._weights.stored_name(name), self._weights.labels.of_matrix(name)
        if (whole := self._whole.get(bare(stored))) is not None:
            return whole, self._weights.part(name)
        part = self._parts.get(bare(name)) or (self._labelled.get(key) if key else None)
        if part is not None:
            return self._whole[bare(part.stored)], part
        renamed = self._renamed.get(key) if key else None
        return None if renamed is None else (renamed, None)
