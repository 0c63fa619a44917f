"""A recovered checkpoint as a folder to pass on: weights, tokenizer, model card, provenance."""

from __future__ import annotations

import glob
import json
import math
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path, PurePath
from typing import NamedTuple

import torch
from torch import Tensor

import svdrift
from svdrift.artefacts import write_checksums
from svdrift.errors import UserError
from svdrift.models.folders import INDEX, SINGLE, listed, weight_files
from svdrift.models.sources import ADAPTER
from svdrift.models.tensor_file import BYTES, TYPES, TensorFile
from svdrift.recovery import kind as kinds
from svdrift.recovery.apply import recover_tensors
from svdrift.recovery.distances import Distances, Measured
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.plan import Plan, make_plan
from svdrift.scripting import PROVENANCE, write_provenance
from svdrift.spectra.decomposition import Decomposed
from svdrift.spectra.on_demand import FLOATING
from svdrift.spectra.patterns import DEFAULT_PATTERNS, kind_of
from svdrift.spectra.rest import Rest, left_out, not_finite, sentences

# Configuration, licence, and all that the tokenizers of transformers read.
KEPT = (
    *("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "LICENSE*", "NOTICE*"),
    *("tokenizer*", "vocab*", "merges*", "spiece*", "sentencepiece*", "*.vocab", "*.bpe"),
    *("*.spm", "*.codes", "additional_chat_templates/*.jinja"),
)
CODE = (".py", ".pyc", ".so", ".pkl", ".pickle", ".bin", ".pt", ".pth", ".sh")  # never copied
SHARD_BYTES = 5 * 10**9
SPARE_BYTES = 64 * 2**20  # for the other files
NOT_EVALUATED = "The repair was not evaluated."


class Written(NamedTuple):
    """What is to be said of a folder that was written.

    Attributes:
        plan: what was made anew.
        rest: the tensors that stayed as they were.
        left: names of the target's files that were not taken over.
        distances: how far the repair moved.
    """

    plan: Plan
    rest: list[Rest]
    left: list[str]
    distances: Distances


def write_folder(
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    out: Path,
    *,
    notes: Sequence[str] = (NOT_EVALUATED,),
    device: str = "cpu",
    shard_bytes: int = SHARD_BYTES,
) -> Written:
    """Write the recovered checkpoint as an ordinary Hugging Face folder.

    Weights are streamed, into shards no larger than the target's, with an index if there are
    several. Configuration, tokenizer and licences come from the target's folder. The folder is
    made beside `out` and then renamed; after an error nothing is left of it, and what a process
    left that was killed, `remove_leftovers` finds.

    Args:
        target: the checkpoint to repair.
        anchor: the checkpoint whose directions, values or weights are given to it.
        intervention: what is replaced, and where.
        out: the folder to make; parents are made too.
        notes: further paragraphs of the card, such as on how the result was evaluated.
        device: where the products run.
        shard_bytes: largest size of a shard that holds more than one tensor.

    Raises:
        UserError: `out` exists or lies inside a source, a tensor of the target is empty, holds NaN
            or infinities or is of a type that cannot be written, the disk has no room, or see
            `recover_tensors`.
    """
    started = time.time()
    if out.exists():
        raise UserError(f"{out}: exists already; nothing is overwritten")
    for source in (target.weights.folder, anchor.weights.folder):
        if out.resolve().is_relative_to(source.resolve()):
            raise UserError(f"{out}: lies inside {source}, which is read")
    files = weight_files(target.weights.folder)
    require_space(out, files)
    for name in target.weights.stored:
        if (dtype := target.weights.dtype(name)) not in TYPES:
            raise UserError(f"{target.weights.folder}: {name} is of type {dtype}, not written here")
    plan = make_plan(target, anchor, intervention)
    measured = Measured(recover_tensors(target, anchor, intervention, device), target, anchor, plan)
    fresh = whole_tensors(measured, target, plan)
    rest = _rest(target, anchor, plan)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=partial_prefix(out), dir=out.parent) as room:
            made = Path(room) / "model"
            made.mkdir()
            largest = max(path.stat().st_size for path in files)
            shards = _shards(target, plan, min(largest, shard_bytes))
            for name, tensors in shards.items():
                _write_shard(made / name, target, tensors, fresh)
            if len(shards) > 1:
                _write_index(made / INDEX, target, shards)
            for path in kept_files(target.weights.folder):
                copy = made / path.relative_to(target.weights.folder)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)
            distances = measured.distances()
            paragraphs = [distances.words, *notes]
            card = model_card(target, anchor, intervention, plan, rest, out.name, paragraphs)
            (made / "README.md").write_text(card, encoding="utf-8")
            write_provenance(
                made,
                inputs={"target": target.weights.folder, "anchor": anchor.weights.folder},
                settings={"intervention": intervention.plain() | {"kind": kind_name(intervention)}},
                seed=intervention.seed if kinds.kind(intervention.kind).random else None,
                started=started,
                paths=False,
            )
            write_checksums(made)
            left = _left_behind(target.weights.folder, made)
            if out.exists():
                raise UserError(f"{out}: was made meanwhile; nothing is overwritten")
            made.rename(out)
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror or error}") from error
    return Written(plan, rest, left, distances)


def kept_files(folder: Path) -> list[Path]:
    """Files of a model folder that a repaired one takes over: all that go with any weights."""
    found = {path for pattern in KEPT for path in folder.glob(pattern) if path.is_file()}
    return sorted(
        path
        for path in found
        if path.suffix not in CODE
        and path.name not in (PROVENANCE, ADAPTER)  # an adapter's weights are not taken over
        and not path.name.endswith(".index.json")
    )


def _rest(target: Decomposed, anchor: Decomposed, plan: Plan) -> list[Rest]:
    """The tensors that stay as they are.

    Raises:
        UserError: one of the target's is empty, or holds NaN or infinities.
    """
    weights = target.weights
    for line in listed("empty tensors", [n for n in weights.names if not weights.size(n)]):
        raise UserError(f"{weights.folder}: {line}")
    rest = list(left_out(anchor.weights, weights, plan.names))
    broken = not_finite(rest, ["target"])
    for line in listed("NaN or infinities, which would be copied, in", broken):
        raise UserError(f"{weights.folder}: {line}")
    return rest


def remove_leftovers(out: Path) -> None:
    """Remove what `write_folder` has left beside `out` where it was killed.

    Only for who knows that no other process is making `out`.
    """
    for room in out.parent.glob(f"{glob.escape(partial_prefix(out))}*"):
        shutil.rmtree(room)


def partial_prefix(out: Path) -> str:
    """How the name of the folder begins in which `out` is made."""
    return f".{out.name}.svdrift-partial-"


def require_space(out: Path, files: Iterable[Path]) -> None:
    """Refuse before anything is written if a copy of `files` does not fit where `out` will be.

    Raises:
        UserError: the file system has too little room.
    """
    needed = sum(path.stat().st_size for path in files) + SPARE_BYTES
    place = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            f"{out}: needs {needed / 1e9:.2f} GB, but the disk has {free / 1e9:.2f} GB left"
        )


def model_card(
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    plan: Plan,
    rest: list[Rest],
    name: str,
    notes: Sequence[str],
) -> str:
    """README.md of the folder: what was done to what, and how exactly numbers were kept.

    Folders and files are named without their paths, because cards are published.
    """
    dtypes = {target.weights.dtype(name) for name in target.weights.stored}
    defaults = {field.name: field.default for field in fields(intervention)}
    recipe = {k: value for k, value in intervention.plain().items() if value != defaults[k]}
    recipe["kind"] = kind_name(intervention)
    record = kinds.kind(intervention.kind)
    done = record.description or f"tensors changed by `{record.label}`"
    rows = [
        f"| {role} | {checkpoint.weights.folder.absolute().name} "
        f"| `{checkpoint.factors.content_hash}` |"
        for role, checkpoint in (("target", target), ("anchor", anchor))
    ]
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "tags: [svdrift]",
            "---",
            "",
            f"# {target.weights.folder.absolute().name}, repaired",
            "",
            f"The *target* with {done} {_where(target, intervention, plan)}: "
            f"{len(plan.names)} of {len(target.weights.names)} tensors. All other tensors, the "
            "configuration and the tokenizer are the target's.",
            "",
            *([*stayed, ""] if (stayed := as_they_were(plan, rest)) else []),
            "| | model | SHA-256 of its weights |",
            "| --- | --- | --- |",
            *rows,
            "",
            "Recipe (fields of `svdrift.recovery.interventions.Intervention`; those left out have "
            "their defaults):",
            "",
            "```json",
            json.dumps(recipe),
            "```",
            "",
            _rounding(intervention, dtypes),
            "",
            f"Made by svdrift {svdrift.__version__}; versions, hardware and hashes of all inputs "
            "are in `provenance.json`.",
            "",
            *(line for note in notes for line in (note, "")),
            f"To upload this folder, as its models' licences allow: `hf upload YOUR-NAME/{name} .`",
            "",
        ]
    )


def kind_name(intervention: Intervention) -> str:
    """The kind without the path of one's own file."""
    return PurePath(intervention.kind).name


def as_they_were(plan: Plan, rest: list[Rest]) -> list[str]:
    """Lines on the tensors of the target that stayed as they were; "differ" is from the anchor."""
    lines = sentences(rest)
    lines += listed("- chosen, but not in the anchor, so left", plan.lacking)
    return ["Left as they are in the target (those that differ from the anchor's are named):",
            *lines] if lines else []  # fmt: skip


def _where(target: Decomposed, intervention: Intervention, plan: Plan) -> str:
    parts = []
    if intervention.ranked:
        if intervention.shares is not None:
            parts.append("a share of the ranks for each matrix")
        for share, end in ((intervention.top, "top"), (intervention.bottom, "bottom")):
            parts += [f"the {end} {100 * share:g} % of ranks"] if share else []
    if intervention.weight is not None:
        meaning = kinds.kind(intervention.kind).weight_meaning
        parts.append(f"with a weight of {intervention.weight:g} {meaning}")
    depth = target.weights.depth
    layers = intervention.chosen_layers(depth)
    if len(layers) == 1:
        parts.append(f"layer {layers.start} of {depth}, counted from 0")
    else:
        parts.append(f"layers {layers.start} to {layers.stop - 1} of 0 to {depth - 1}")
    inside = {kind_of(module) for layer, module in plan.keys if layer is not None}
    parts.append(
        f"modules {', '.join(sorted(inside, key=[*DEFAULT_PATTERNS, *sorted(inside)].index))}"
    )
    parts.append(f"embedding and head {'too' if intervention.embedding_and_head else 'left alone'}")
    return f"({'; '.join(parts)})"


def _rounding(intervention: Intervention, dtypes: set[str]) -> str:
    if kinds.kind(intervention.kind).copies:
        return "Nothing was computed: entries are copies, in the target's types."
    floating = [name for name in FLOATING if name in dtypes]
    bounds = [
        f"{name}: at most {100 * _unit_roundoff(name):.2g} % of an entry" for name in floating
    ]
    return (
        "Changed tensors were computed in float32 and rounded to the target's type "
        f"({'; '.join(bounds)}). A change smaller than this rounding is lost."
    )


def _unit_roundoff(name: str) -> float:
    return torch.finfo(TYPES[name]).eps / 2


def _shards(target: Decomposed, plan: Plan, shard_bytes: int) -> dict[str, list[str]]:
    """File names to the names of their tensors, in the order of writing.

    What is changed comes first, in the order in which it is made.
    """
    changed = stored_names(target, plan)
    kept = [name for name in target.weights.stored if name not in set(changed)]
    shards: list[list[str]] = [[]]
    filled = 0
    for name in [*changed, *kept]:
        size = _size(target, name)
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    if len(shards) == 1:
        return {SINGLE: shards[0]}
    return {f"model-{i:05}-of-{len(shards):05}.safetensors": s for i, s in enumerate(shards, 1)}


def _write_shard(
    path: Path, target: Decomposed, names: list[str], fresh: Iterator[tuple[str, Tensor]]
) -> None:
    """Write the next tensors that were made and, when there are no more, the target's own."""
    weights = target.weights
    entries = {name: (weights.dtype(name), weights.stored_shape(name)) for name in names}
    with TensorFile(path, entries, {}) as file:
        for name in names:
            made, tensor = next(fresh, (name, None))
            file.write(made, weights.read_stored(name) if tensor is None else tensor)


def stored_names(target: Decomposed, plan: Plan) -> list[str]:
    """Names of the tensors of the files that a plan changes, in the order of their last parts."""
    last = {target.weights.stored_name(name): i for i, name in enumerate(plan.names)}
    return sorted(last, key=last.__getitem__)


def whole_tensors(
    fresh: Iterable[tuple[str, Tensor]], target: Decomposed, plan: Plan
) -> Iterator[tuple[str, Tensor]]:
    """Put parts that were made into the tensors of the files; parts not made are the target's.

    A tensor is held from its first part that was made to its last.

    Args:
        fresh: names and new values, in the order of the plan.
        target: the checkpoint that is repaired.
        plan: of the repair.

    Returns:
        Names and values of the tensors of the files, in the order of `stored_names`.
    """
    weights = target.weights
    waiting = Counter(map(weights.stored_name, plan.names))
    held: dict[str, Tensor] = {}
    for name, tensor in fresh:
        if (part := weights.part(name)) is None:
            yield name, tensor
            continue
        if part.stored not in held:
            held[part.stored] = weights.read_stored(part.stored)
        part.put(held[part.stored], tensor)
        waiting[part.stored] -= 1
        if not waiting[part.stored]:
            yield part.stored, held.pop(part.stored)


def _write_index(path: Path, target: Decomposed, shards: dict[str, list[str]]) -> None:
    index = {
        "metadata": {"total_size": sum(_size(target, name) for name in target.weights.stored)},
        "weight_map": {name: file for file, names in shards.items() for name in names},
    }
    path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _size(target: Decomposed, name: str) -> int:
    return BYTES[target.weights.dtype(name)] * math.prod(target.weights.stored_shape(name))


def _left_behind(source: Path, made: Path) -> list[str]:
    """Files of the source, other than its weights, that were not copied."""
    weights = weight_files(source)
    return sorted(
        path.name
        for path in source.iterdir()
        if not path.name.startswith(".")
        and path not in weights
        and path.name != INDEX
        and not (made / path.name).exists()
    )
