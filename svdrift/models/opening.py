"""A model folder of whatever a command or call is given.

| given | |
| --- | --- |
| a Hugging Face model folder | itself |
| a folder with a LoRA adapter | a temporary folder: its model with the adapter merged into it |
| one .safetensors file | a temporary folder that links to it and to what lies beside it |
| a .gguf file, `package:NAME` | a temporary folder: its weights in float32, and its tokenizer |
| `ORG/NAME`, `ORG/NAME@REVISION` | the folder in the hub's cache, downloaded if it is not there |

Temporary folders are made where Python makes such (`TMPDIR`), and are removed after use.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from svdrift.errors import UserError
from svdrift.models.adapters import merge, settings_of
from svdrift.models.folders import INDEX, SINGLE, adapters, unreadable
from svdrift.models.sources import ADAPTER, ALLOWED, HUB_ID, PACKAGE, HubModel, find_source

CONFIG = "config.json"
SHARD = re.compile(r"-\d+-of-\d+\.safetensors")
GIVEN = f"{ALLOWED}, one .safetensors file, or a folder with a LoRA adapter"


@dataclass(frozen=True)
class Opened:
    """A model folder, for as long as it is open.

    Attributes:
        folder: the model folder.
        described: whether a configuration says what model it is.
        notes: what is to be said of how it was opened.
    """

    folder: Path
    described: bool = True
    notes: tuple[str, ...] = ()


@contextmanager
def opened(source: str | Path) -> Iterator[Opened]:
    """Open what a source names as a model folder.

    Errors that are raised while it is open name the source, and no temporary folder.

    Raises:
        UserError: it names no model, or one that cannot be read; see `svdrift.models.adapters`,
            `svdrift.models.gguf` and `svdrift.models.hub`.
    """
    path = Path(source)
    if (path / CONFIG).is_file():
        yield Opened(path, notes=tuple(adapters(path)))
        return
    with tempfile.TemporaryDirectory(prefix="svdrift-") as room:
        try:
            yield _open(str(source), Path(room))
        except UserError as error:
            inside = rf"{re.escape(room)}/(base/)?[\w.-]+"
            raise UserError(re.sub(inside, lambda _: str(source), str(error))) from None


def _open(source: str, room: Path) -> Opened:
    path = Path(source)
    if (path / CONFIG).is_file():
        return Opened(path)
    if (path / ADAPTER).is_file():
        return _merged(path, room)
    if path.suffix == ".safetensors" and path.is_file():
        return _single(path, room)
    if not path.exists() and not source.startswith(PACKAGE) and not HUB_ID.fullmatch(source):
        raise UserError(f"{source}: no such folder or file (allowed: {GIVEN})")
    try:
        found = find_source(source)
        if isinstance(found, HubModel):
            from svdrift.models.hub import download

            folder = download(found)
            return _merged(folder, room) if not (folder / CONFIG).is_file() else Opened(folder)
    except UserError as error:
        raise UserError(str(error).removeprefix("source: ")) from None
    from svdrift.models.gguf import load_gguf
    from svdrift.models.loading import save_checkpoint

    folder = room / _plain(found.stem)
    save_checkpoint(*load_gguf(found), folder)
    note = f"{source}: read in full precision; what quantisation took from its weights stays lost"
    return Opened(folder, notes=(note,))


def _single(file: Path, room: Path) -> Opened:
    """A folder in which a file holds all weights, beside whatever goes with them."""
    if SHARD.search(file.name):
        raise UserError(f"{file}: one shard of several; give the folder that holds all of them")
    try:
        with safe_open(file, framework="pt") as source:
            names = list(source.keys())
    except SafetensorError as error:
        raise UserError(f"{file}: {unreadable(file, error)}") from None
    if any(".lora_" in name for name in names):
        raise UserError(f"{file}: holds an adapter; give its folder, which says for which model")
    folder = room / _plain(file.stem)
    folder.mkdir()
    (folder / SINGLE).symlink_to(file.resolve())
    if (file.parent / CONFIG).is_file():
        _link(file.parent, folder)
        return Opened(folder)
    (folder / CONFIG).write_text("{}")
    note = f"{file}: no {CONFIG} beside it, so nothing says what model it is, or ties its head"
    return Opened(folder, described=False, notes=(note,))


def _merged(adapter: Path, room: Path) -> Opened:
    """The model of an adapter, with the adapter merged into it."""
    config = settings_of(adapter)
    name = config["base_model_name_or_path"]
    if config.get("revision") and HUB_ID.fullmatch(name) and not Path(name).exists():
        name = f"{name}@{config['revision']}"
    if not Path(name).exists() and (adapter / name).is_dir():
        name = str(adapter / name)
    inner = room / "base"
    inner.mkdir()
    try:
        base = _open(name, inner)
    except UserError as error:
        raise UserError(
            f"{adapter}: its model, base_model_name_or_path of {ADAPTER}: {error}"
        ) from None
    folder = room / _plain(adapter.absolute().name)
    folder.mkdir()
    merge(adapter, base.folder, folder)
    _link(base.folder, folder)
    if (adapter / "tokenizer_config.json").is_file():  # it may have been changed with the model
        _link(adapter, folder, replace=True)
    return Opened(folder, notes=(f"{adapter}: merged into {name}", *base.notes))


def _plain(name: str) -> str:
    """A name without characters by which it could not be found in a message again."""
    return re.sub(r"[^\w.-]", "_", name)


def _link(source: Path, folder: Path, *, replace: bool = False) -> None:
    """Let a folder have the files of another one, except for weights, adapters and model cards."""
    for path in source.iterdir():
        here = folder / path.name
        if path.suffix in (".safetensors", ".bin", ".md") or path.name in (INDEX, ADAPTER):
            continue
        if path.name.startswith(".") or (here.exists() and not replace):
            continue
        here.unlink(missing_ok=True)
        here.symlink_to(path.resolve())
