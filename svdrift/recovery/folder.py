"""A recovered checkpoint as a folder to pass on: weights, tokenizer, model card, provenance."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch

import svdrift
from svdrift.errors import UserError
from svdrift.models.folders import weight_files
from svdrift.recovery.apply import export
from svdrift.recovery.interventions import RANKED, Intervention
from svdrift.scripting import write_provenance
from svdrift.spectra.decomposition import Decomposed
from svdrift.spectra.on_demand import FLOATING
from svdrift.spectra.tensor_file import TYPES

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
KEPT = ("LICENSE*", "NOTICE*", "*.tiktoken")  # what `export` does not copy
SPARE_BYTES = 64 * 2**20  # for what lies beside the weights

WORDS = {
    "directions": "singular vectors replaced by the anchor's, singular values kept",
    "triplets": "singular vectors and values replaced by the anchor's",
    "values": "singular values replaced by the anchor's, singular vectors kept",
    "random_directions": "singular vectors turned at random, by a change of the same size as "
    "under `directions` (a control)",
    "interpolate": "tensors averaged with the anchor's",
    "reset": "tensors replaced by the anchor's",
}


def write_folder(
    target: Decomposed,
    anchor: Decomposed,
    intervention: Intervention,
    out: Path,
    *,
    device: str = "cpu",
) -> list[str]:
    """Write the recovered checkpoint as an ordinary Hugging Face folder.

    Weights are streamed by `svdrift.recovery.apply.export`, in shards with an index if the target
    has shards. Configuration, tokenizer and licences come from the target's folder. The folder is
    made beside `out` and then renamed; after an error nothing is left of it.

    Args:
        target: the checkpoint to repair.
        anchor: the checkpoint whose directions, values or weights are given to it.
        intervention: what is replaced, and where.
        out: the folder to make; parents are made too.
        device: where the products run.

    Returns:
        Names of the target's files that were not taken over.

    Raises:
        UserError: `out` exists or lies inside a source, a type cannot be written, the disk has no
            room, or see `recover_tensors`.
    """
    started = time.time()
    if out.exists():
        raise UserError(f"{out}: exists already; nothing is overwritten")
    for source in (target.weights.folder, anchor.weights.folder):
        if out.resolve().is_relative_to(source.resolve()):
            raise UserError(f"{out}: lies inside {source}, which is read")
    files = weight_files(target.weights.folder)
    require_space(out, files)
    for name in target.weights.names:
        if (dtype := target.weights.dtype(name)) not in TYPES:
            raise UserError(f"{target.weights.folder}: {name} is of type {dtype}, not written here")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as room:
            made = Path(room) / "model"
            # Shards like the target's; one file stays one, as its tensors are smaller than it.
            largest = max(path.stat().st_size for path in files)
            export(target, anchor, intervention, made, device, shard_bytes=largest)
            if files[0].name == SINGLE:
                _without_index(made)
            for pattern in KEPT:
                for path in target.weights.folder.glob(pattern):
                    shutil.copyfile(path, made / path.name)
            (made / "README.md").write_text(
                model_card(target, anchor, intervention), encoding="utf-8"
            )
            write_provenance(
                made,
                inputs={"target": target.weights.folder, "anchor": anchor.weights.folder},
                settings={"intervention": asdict(intervention)},
                seed=intervention.seed if intervention.kind == "random_directions" else None,
                started=started,
            )
            left = _left_behind(target.weights.folder, made)
            if out.exists():
                raise UserError(f"{out}: was made meanwhile; nothing is overwritten")
            made.rename(out)
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror or error}") from error
    return left


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


def model_card(target: Decomposed, anchor: Decomposed, intervention: Intervention) -> str:
    """README.md of the folder: what was done to what, and how exactly numbers were kept.

    Folders are named without their paths, because cards are published.
    """
    dtypes = {target.weights.dtype(name) for name in target.weights.names}
    fields = {k: v for k, v in asdict(intervention).items() if v not in (None, False, 0)}
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
            f"The *target* with {WORDS[intervention.kind]} {_where(target, intervention)}. All "
            "other tensors, the configuration and the tokenizer are the target's.",
            "",
            "| | model | SHA-256 of its weights |",
            "| --- | --- | --- |",
            *rows,
            "",
            "Recipe (fields of `svdrift.recovery.interventions.Intervention`; those left out have "
            "their defaults):",
            "",
            "```json",
            json.dumps(fields),
            "```",
            "",
            _rounding(intervention, dtypes),
            "",
            f"Made by svdrift {svdrift.__version__}; versions, hardware and hashes of all inputs "
            "are in `provenance.json`. The repair was not evaluated.",
            "",
        ]
    )


def _where(target: Decomposed, intervention: Intervention) -> str:
    parts = []
    if intervention.kind in RANKED:
        for share, end in ((intervention.top, "top"), (intervention.bottom, "bottom")):
            parts += [f"the {end} {100 * share:g} % of ranks"] if share else []
    if intervention.weight is not None:
        parts.append(f"with a weight of {intervention.weight:g} for the anchor")
    depth = target.weights.depth
    layers = intervention.chosen_layers(depth)
    parts.append(f"layers {layers.start} to {layers.stop - 1} of 0 to {depth - 1}")
    parts.append("modules " + ("all" if intervention.modules is None else
                               ", ".join(intervention.modules)))  # fmt: skip
    parts.append(f"embedding and head {'too' if intervention.embedding_and_head else 'left alone'}")
    return f"({'; '.join(parts)})"


def _rounding(intervention: Intervention, dtypes: set[str]) -> str:
    if intervention.kind == "reset":
        return "Nothing was computed: tensors are copies, in the target's types."
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


def _without_index(folder: Path) -> None:
    """Name the only shard as transformers names weights in a single file."""
    (shard,) = folder.glob("*.safetensors")
    shard.rename(folder / SINGLE)
    (folder / INDEX).unlink()


def _left_behind(source: Path, made: Path) -> list[str]:
    """Files of the source, other than weights, that were not copied."""
    return sorted(
        path.name
        for path in source.iterdir()
        if not path.name.startswith(".")
        and path.suffix != ".safetensors"
        and path.name != INDEX
        and not (made / path.name).exists()
    )
