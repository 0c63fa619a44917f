"""Hugging Face model folders as files: what holds the weights, and their hash.

Imports no transformers, so that stages which read weights alone start quickly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from svdrift.errors import UserError
from svdrift.models.sources import ADAPTER, AS_SAFETENSORS, without_config

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
POINTER = b"version https://git-lfs.github.com/spec/"
POINTERS = "pointer of Git LFS in place of the file (git lfs pull fetches it)"
BESIDE = f"other weights beside {SINGLE}, which alone is read"
LONGEST_REASON = 300  # characters of a library's message


def weight_files(folder: Path) -> list[Path]:
    """List the safetensors files that hold the weights of a model folder, as transformers does.

    Raises:
        UserError: there are none, or the index is unreadable or names a file that is missing.
    """
    single = folder / SINGLE
    if single.is_file():
        return [single]
    index = folder / INDEX
    if not index.is_file():
        raise UserError(
            f"{folder}: no {SINGLE} or {INDEX} (pickled weights are refused; {AS_SAFETENSORS})"
        )
    shards = sorted(set(_weight_map(index).values()))
    for shard in shards:
        if not (folder / shard).is_file():
            raise UserError(f"{folder}: shard {shard} named in {index.name} is missing")
    return [folder / shard for shard in shards]


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor to file, as the index says; raises UserError where it is no index."""
    try:
        said = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = set(said.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index}: not a safetensors index: {one_line(error)}") from error
    if not files or not all(isinstance(file, str) for file in files):
        raise UserError(f"{index}: not a safetensors index: weight_map names no files")
    return dict(said)


def file_faults(folder: Path) -> list[str]:
    """What is wrong with the files of weights, one line each: unreadable, stale, not as indexed.

    Args:
        folder: with a config.json.
    """
    if pointers := [path.name for path in folder.iterdir() if is_pointer(path)]:
        return listed(POINTERS, pointers)
    try:
        files = weight_files(folder)
    except UserError as error:
        return [str(error).removeprefix(f"{folder}: ")]
    faults = []
    single, index = files[0].name == SINGLE, folder / INDEX
    said: dict[str, str] | None = None
    if index.exists():
        try:
            said = _weight_map(index)
        except UserError as error:
            return [str(error).removeprefix(f"{folder}/")]
    if single and said is not None and set(said.values()) != {SINGLE}:
        faults.append(f"{SINGLE} and {INDEX} are both there, and may hold different weights")
        said = None
    stray = {path.name for path in folder.glob("model*.safetensors")} - {f.name for f in files}
    faults += listed(BESIDE if single else "not in the index", stray)
    found: dict[str, str] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
        except SafetensorError as error:
            faults.append(f"{path.name} {unreadable(path, error)}")
            continue
        faults += listed(f"in {path.name} and another shard", [n for n in names if n in found])
        found |= dict.fromkeys(names, path.name)
    return faults if said is None else faults + _index_faults(said, found)


def _index_faults(said: dict[str, str], found: dict[str, str]) -> list[str]:
    """Where the index and the tensors that files hold (both name to file) disagree."""
    return [
        *listed("indexed but in no shard", [name for name in said if name not in found]),
        *listed("in a shard but not indexed", [name for name in found if name not in said]),
        *listed(
            "in another shard than indexed",
            [name for name, file in found.items() if said.get(name, file) != file],
        ),
    ]


def weights_hash(folder: Path) -> str:
    """Hash the weights of a model folder: SHA-256 over each tensor's name, type, shape and bytes.

    The hash does not depend on how tensors are spread over files, nor on config or tokenizer.
    One tensor at a time is read.

    Returns:
        64 hexadecimal digits.

    Raises:
        UserError: the folder has no readable safetensors.
    """
    place: dict[str, Path] = {}
    digest = hashlib.sha256()
    try:
        for path in weight_files(folder):
            with safe_open(path, framework="pt") as file:
                place.update(dict.fromkeys(file.keys(), path))
        for name in sorted(place):
            path = place[name]
            with safe_open(path, framework="pt") as file:
                tensor = file.get_tensor(name)
            heading = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
            digest.update(heading.encode() + b"\n")
            digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    except SafetensorError as error:
        raise UserError(f"{path}: {unreadable(path, error)}") from error
    return digest.hexdigest()


def floating_types(folder: Path) -> set[str]:
    """Floating types of a model folder's tensors in safetensors' notation, such as `BF16`.

    Raises:
        UserError: the folder has no readable safetensors.
    """
    found = set()
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise UserError(f"{path}: {unreadable(path, error)}") from error
    return {name for name in found if name.startswith(("F", "BF"))}


def tensor_names(folder: Path) -> list[str]:
    """Names of all tensors of a model folder.

    Raises:
        UserError: the folder has no readable safetensors.
    """
    names: list[str] = []
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                names += file.keys()
        except SafetensorError as error:
            raise UserError(f"{path}: {unreadable(path, error)}") from error
    return names


def require_config(folder: Path) -> None:
    """Check that there is a Hugging Face model folder.

    Raises:
        UserError: no such folder, or it has no config.json.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder (a Hugging Face model folder is wanted)")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: not a Hugging Face model folder: {without_config(folder)}")


def adapters(*folders: Path) -> list[str]:
    """A line for each model folder in which an adapter lies beside the weights."""
    return [
        f"{folder}: {ADAPTER} lies beside the weights: where peft is installed, transformers "
        "applies that adapter on top of them; only the weights are read here"
        for folder in folders
        if (folder / ADAPTER).is_file()
    ]


def is_pointer(path: Path) -> bool:
    """Whether Git LFS has left a pointer in place of a file's contents."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def unreadable(path: Path, error: Exception) -> str:
    """What is wrong with a file that safetensors refuses."""
    return f"is a {POINTERS}" if is_pointer(path) else f"cannot be read: {one_line(error)}"


def one_line(error: Exception) -> str:
    """Message of an error without its line breaks; a long one is cut."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


def listed(fault: str, names: Collection[str], most: int = 5) -> list[str]:
    """Name the first few tensors that have a fault, for a message in one line.

    Args:
        fault: what is wrong with them.
        names: of the tensors.
        most: how many are named; the others are counted.

    Returns:
        One text, or none if no tensor has the fault.
    """
    if not names:
        return []
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return [f"{fault}: {', '.join(sorted(names)[:most])}{rest}"]
