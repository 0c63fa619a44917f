"""Recovered checkpoints: tensor by tensor, or inside a loaded model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from svdrift.errors import UserError
from svdrift.recovery import kind as kinds
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.mixing import changed, chosen_ranks
from svdrift.spectra.decomposition import Decomposed, is_finite, require_same_matrices
from svdrift.spectra.matrices import Key
from svdrift.spectra.nulls import generator
from svdrift.spectra.patterns import PREFIX


def recover_tensors(
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[str, Tensor]]:
    """Yield name and new value of every tensor that the intervention chooses; all others stay.

    Computed in float32, returned on the CPU in the target's type, one at a time: memory stays
    within a few times the largest matrix.

    Args:
        target: the checkpoint to repair.
        anchor: the checkpoint whose directions, values or weights are given to it.
        intervention: what is replaced, and where.
        device: where the products run.

    Raises:
        UserError: different architectures, an unknown module, or a block without layers; or a new
            value is NaN or infinite, as after one in a checkpoint or beyond the target's type.
    """
    for name, tensor in _new_tensors(target, anchor, intervention, device):
        if not is_finite(tensor):
            raise UserError(
                f"{name}: would hold NaN or infinities; does {target.weights.folder} or "
                f"{anchor.weights.folder} hold some (svdrift check), or is a value too large "
                "for its type?"
            )
        yield name, tensor


def _new_tensors(
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    device: torch.device | str,
) -> Iterator[tuple[str, Tensor]]:
    require_same_matrices(target, anchor)
    kind = kinds.load(intervention.kind)
    share = 1.0 if intervention.weight is None else intervention.weight
    for key in _chosen(target, intervention):
        matrix, weight = target.factors.matrices[key], target.weight(key)
        ranks = chosen_ranks(intervention, matrix.rank)
        full = len(ranks) == matrix.rank
        if intervention.full_rank_reset and full:
            new = anchor.weight(key).to(weight.dtype)
        elif not intervention.ranked:
            new = kind.blend(weight, anchor.weight(key), share)
        else:
            some = None if full else ranks
            new = changed(
                weight.to(device),
                target.factors.read(key, some).to(device),
                anchor.factors.read(key, some).to(device),
                intervention.kind,
                generator(intervention.seed, target.factors.content_hash, *key),
            ).cpu()
        yield matrix.name, new
    theirs = {_bare(name): name for name in anchor.weights.names}
    for name in _other_names(target, intervention):
        if _bare(name) not in theirs:
            raise UserError(f"{anchor.weights.folder}: has no tensor {name}")
        old, new = target.weights.read(name), anchor.weights.read(theirs[_bare(name)])
        if old.shape != new.shape:
            raise UserError(
                f"{anchor.weights.folder}: {name} has shape {tuple(new.shape)}, "
                f"in {target.weights.folder} {tuple(old.shape)}"
            )
        yield name, kind.blend(old, new, share) if old.is_floating_point() else old


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
    # The same memory as the parameters, under names without the prefix that loading may change.
    state = {_bare(name): tensor for name, tensor in model.state_dict().items()}
    for name in chosen_names(target, intervention):
        if _bare(name) not in state:
            raise UserError(f"the model has no tensor {name} of {target.weights.folder}")
    touched = []
    try:
        for name, tensor in recover_tensors(target, anchor, intervention, device):
            touched.append(name)
            state[_bare(name)].copy_(tensor)
        yield
    finally:
        for name in touched:
            state[_bare(name)].copy_(target.weights.read(name))


# --------------------------------------------------------------------------------------
# What an intervention chooses


def chosen_names(target: Decomposed, intervention: Intervention) -> list[str]:
    """Names of the tensors that `recover_tensors` yields, in its order.

    Raises:
        UserError: an unknown module, or a block without layers.
    """
    matrices = target.factors.matrices
    chosen = [matrices[key].name for key in _chosen(target, intervention)]
    return chosen + _other_names(target, intervention)


def _chosen(target: Decomposed, intervention: Intervention) -> list[Key]:
    inside = {module for layer, module in target.factors.matrices if layer is not None}
    for module in intervention.modules or ():
        if module not in inside:
            raise UserError(
                f"modules: {module!r} is in no layer (allowed: {', '.join(sorted(inside))}; "
                "for what is outside use embedding_and_head)"
            )
    layers = intervention.chosen_layers(target.weights.depth)
    modules = intervention.modules
    return [
        (layer, module)
        for layer, module in target.factors.matrices
        if (
            intervention.embedding_and_head
            if layer is None
            else layer in layers and (modules is None or module in modules)
        )
    ]


def _other_names(target: Decomposed, intervention: Intervention) -> list[str]:
    """Tensors without factors (norms, biases) in the layers that the intervention chooses."""
    if intervention.ranked or intervention.modules is not None:
        return []
    layers = intervention.chosen_layers(target.weights.depth)
    matrices = {matrix.name for matrix in target.weights.matrices}
    names = []
    for name in target.weights.names:
        layer = target.weights.labels.layer_of(name)
        inside = intervention.embedding_and_head if layer is None else layer in layers
        if inside and name not in matrices:
            names.append(name)
    return names


# --------------------------------------------------------------------------------------
# Where tensors go


def _bare(name: str) -> str:
    return re.sub(f"^{PREFIX}", "", name)
