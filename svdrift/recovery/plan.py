"""What an intervention chooses in two checkpoints, and whether they fit there and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from svdrift.errors import UserError
from svdrift.models.folders import listed
from svdrift.recovery import kind as kinds
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.shares import matrix_name
from svdrift.spectra.decomposition import Decomposed, mismatch
from svdrift.spectra.matrices import Key, bare
from svdrift.spectra.patterns import kind_of
from svdrift.spectra.rest import unlabelled

LEAVE_ALONE = "(--layers-only, in a study embedding_and_head: false, leaves embedding and head)"


@dataclass(frozen=True)
class Plan:
    """Tensors of the target that are made anew; all others stay as they are.

    Attributes:
        keys: matrices.
        others: names of tensors without factors (norms, biases) -> their names in the anchor.
        names: of all tensors that are made, in this order. A tied head that the file repeats
            follows its embedding.
        lacking: names of tensors that were chosen, but that the anchor has not.
    """

    keys: tuple[Key, ...]
    others: dict[str, str]
    names: tuple[str, ...]
    lacking: tuple[str, ...]


def make_plan(target: Decomposed, anchor: Decomposed, intervention: Intervention) -> Plan:
    """Find what an intervention changes.

    Raises:
        UserError: an unknown module, a block without layers, or nothing is left to change; or the
            anchor has another number of layers, or another shape of what is chosen.
    """
    chosen = _chosen(target, intervention)
    depths = anchor.weights.depth, target.weights.depth
    if depths[0] != depths[1]:
        folders = f"{anchor.weights.folder} and {target.weights.folder}"
        raise UserError(f"{folders} have {depths[0]} and {depths[1]} layers")
    lacking = [key for key in chosen if key[0] is not None and key not in anchor.factors.matrices]
    keys = tuple(key for key in chosen if key not in lacking)
    _require_shares(target, keys, intervention)
    for key in [*keys, *_outside(anchor, intervention)]:
        if problem := mismatch(anchor, target, key):
            raise UserError(f"{problem} {LEAVE_ALONE}" if key[0] is None else problem)
    theirs = {bare(name): name for name in anchor.weights.names}
    others = {name: theirs.get(bare(name)) for name in _other_names(target, intervention)}
    for name, other in others.items():
        if other and target.weights.shape(name) != anchor.weights.shape(other):
            raise UserError(
                f"{anchor.weights.folder}: {name} has shape {anchor.weights.shape(other)}, "
                f"in {target.weights.folder} {target.weights.shape(name)}"
            )
    matrices = target.factors.matrices
    copies: dict[str, list[str]] = {}
    for copy, original in target.weights.repeated.items():
        copies.setdefault(original, []).append(copy)
    made = [matrices[key].name for key in keys] + [name for name, other in others.items() if other]
    if not made:
        raise UserError(f"{anchor.weights.folder}: has none of the tensors that are to be repaired")
    return Plan(
        keys,
        {name: other for name, other in others.items() if other},
        tuple(one for name in made for one in [name, *copies.get(name, [])]),
        (
            *(matrices[key].name for key in lacking),
            *(n for n, other in others.items() if not other),
        ),
    )


def left_alone(target: Decomposed, anchor: Decomposed, intervention: Intervention) -> list[str]:
    """Lines on what stays as it is though its place was chosen.

    Raises:
        UserError: see `make_plan`.
    """
    plan = make_plan(target, anchor, intervention)
    lines = listed("chosen, but not in the anchor, so left", plan.lacking)
    unknown = unlabelled(target.weights) if plan.others == {} else ""
    return [*lines, *([f"not repaired: {unknown}"] if unknown else [])]


def require_directions(
    target: Decomposed, anchor: Decomposed, plan: Plan, intervention: Intervention
) -> None:
    """Refuse to take directions from, or give them to, a matrix of zeros, which has none.

    Raises:
        UserError: naming these matrices.
    """
    kind = kinds.kind(intervention.kind)
    if not kind.ranked or kind.takes_zeros:
        return
    for checkpoint in (anchor, target):
        names = [checkpoint.factors.matrices[key].name for key in plan.keys]
        for line in listed("all zeros", [n for n in names if checkpoint.weights.is_zero(n)]):
            raise UserError(
                f"{checkpoint.weights.folder}: matrices without directions, because {line} "
                "(choose other layers or modules, or a kind that needs none: triplets, "
                "interpolate, reset)"
            )


def _chosen(target: Decomposed, intervention: Intervention) -> list[Key]:
    inside = {kind_of(module) for layer, module in target.factors.matrices if layer is not None}
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
            else layer in layers and (modules is None or kind_of(module) in modules)
        )
    ]


def _require_shares(target: Decomposed, keys: tuple[Key, ...], intervention: Intervention) -> None:
    """Refuse shares of matrices that are not there, and matrices without one."""
    if intervention.shares is None:
        return
    names, given = {matrix_name(*key) for key in keys}, set(dict(intervention.shares))
    for line in listed("no share for", sorted(names - given)):
        raise UserError(f"shares: {line} {LEAVE_ALONE}")
    whole = intervention.modules is None and intervention.layers == (0, 1)
    if whole and intervention.embedding_and_head:  # else shares of the others may stand there too
        for line in listed("not repaired, or not there,", sorted(given - names)):
            raise UserError(f"shares: {line}: other matrices than {target.weights.folder} has")


def _outside(anchor: Decomposed, intervention: Intervention) -> list[Key]:
    """The anchor's own embedding and head: one that the target has not means another model."""
    if not intervention.embedding_and_head:
        return []
    return [key for key in anchor.factors.matrices if key[0] is None]


def _other_names(target: Decomposed, intervention: Intervention) -> list[str]:
    """Floating tensors without factors (norms, biases) where the intervention acts."""
    if intervention.ranked or intervention.modules is not None:
        return []
    layers = intervention.chosen_layers(target.weights.depth)
    weights = target.weights
    matrices = {matrix.name for matrix in weights.matrices}
    names = []
    for name in weights.names:
        layer = weights.labels.layer_of(name)
        inside = intervention.embedding_and_head if layer is None else layer in layers
        floating = weights.dtype(name).startswith(("F", "BF"))
        if inside and floating and name not in matrices and name not in weights.repeated:
            names.append(name)
    return names
