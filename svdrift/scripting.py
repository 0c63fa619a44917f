"""What every script in scripts/ shares: how it ends, reads settings, and tells what it did.

Importing this module is quick: it loads neither torch nor pandas.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from tqdm import tqdm

import svdrift
from svdrift.artefacts import AGAIN as AGAIN
from svdrift.artefacts import BLANK, require_sealed, seal
from svdrift.artefacts import PROVENANCE as PROVENANCE
from svdrift.errors import UserError, explain

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "numpy")
LOG_INTERVAL_S = 5.0

T = TypeVar("T")
Progress = Callable[[Iterable[int], int, str], Iterable[int]]  # of `progress` below

REFUSALS = {  # what the machine refuses, and what to do
    errno.ENOSPC: ("no space is left on its disk", "make room"),
    errno.EDQUOT: ("the disk quota is used up", "make room or ask for more"),
    errno.EROFS: ("it lies on a file system that can only be read", "make it writable"),
    errno.EACCES: ("permission is denied", "change its owner or mode"),
    errno.EPERM: ("permission is denied", "change its owner or mode"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.EIO: ("its disk cannot be read or written", "look at the disk"),
    errno.ESTALE: ("its file system has gone", "mount it"),
}
FULL = (errno.ENOSPC, errno.EDQUOT)
LEAST_ROOM = 1 << 20  # bytes; a disk with less is full


def run(main: Callable[[], None]) -> None:
    """Run a script's `main` and turn its failure into what the user can use.

    A `UserError`, and what the machine refuses (a full disk, no permission), becomes one line on
    stderr and exit status 2. Any other exception keeps its traceback, followed by one line that
    says whose fault it is not. SIGHUP, when the terminal is closed, ends a script as SIGTERM does.
    """
    sys.excepthook = _report_unexpected
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not where nohup ignores it
        signal.signal(signal.SIGHUP, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
    try:
        main()
    except UserError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:  # libraries report a full disk in errors of their own
        if (refusal := refused_by_machine(error, [Path(text) for text in sys.argv[1:]])) is None:
            raise
        print("error:", refusal, file=sys.stderr)
        raise SystemExit(2) from None


def damaged(path: Path, problem: str) -> UserError:
    """The refusal of what a study made and what is not as it was written.

    Args:
        path: the file or folder whose removal lets the workflow make it anew.
        problem: what is wrong with it, such as `cannot be read (truncated)`.
    """
    return UserError(f"{path}: {problem}; delete it and {AGAIN}")


def refused_by_machine(error: BaseException, paths: Iterable[Path] = ()) -> str | None:
    """One line: the file or folder, what the machine refused, and what to do; None for others.

    Args:
        error: what was raised. Libraries wrap an `OSError`, or name a full disk in words.
        paths: where it may have been writing; looked at where a full disk's error names no file.
    """
    causes = [error]
    while (before := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(before)
    for cause in causes:
        number = cause.errno if isinstance(cause, OSError) else None
        if number not in REFUSALS and os.strerror(errno.ENOSPC) in str(cause):
            number = errno.ENOSPC  # safetensors
        if number not in REFUSALS:
            continue
        named = getattr(cause, "filename", None)
        where = os.fsdecode(named) if isinstance(named, str | bytes) else ""
        if number in FULL:
            where = str(Path(where).parent) if where else _full_folder(paths)
        problem, remedy = REFUSALS[number]
        return f"{where or 'a file'}: {problem}; {remedy}, then {AGAIN}"
    if isinstance(error, RuntimeError) and (where := _full_folder(paths)):  # torch gives no reason
        problem, remedy = REFUSALS[errno.ENOSPC]
        return f"{where}: {problem}; {remedy}, then {AGAIN}"
    return None


def _full_folder(paths: Iterable[Path]) -> str:
    """The first folder of these paths, or of temporary files, whose disk is full; else empty."""
    for path in (*paths, Path(tempfile.gettempdir())):
        for folder in (path, *path.parents):
            with suppress(OSError, ValueError):
                if not folder.is_dir():
                    continue
                if shutil.disk_usage(folder).free < LEAST_ROOM:
                    return str(folder)
                break
    return ""


def _report_unexpected(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    sys.__excepthook__(kind, error, traceback)
    print(
        f"error: unexpected {kind.__name__} in {Path(sys.argv[0]).name}: not a known fault of the "
        "settings or inputs; the traceback above says where, and is what a report should hold",
        file=sys.stderr,
    )


def settings_argument(
    parser: argparse.ArgumentParser, model: type[BaseModel], flag: str = "--settings"
) -> None:
    """Add `flag`, whose parsed value (such as `args.settings`) is a `model`.

    The value is one or several JSON objects, which are joined. Keys that they lack, or all of
    them, take the model's own defaults.

    Raises (when parsing): UserError, naming each wrong key, what is wrong, and what is allowed.
    """

    class Join(argparse.Action):
        def __call__(
            self, parser: object, namespace: argparse.Namespace, values: Any, option: object = None
        ) -> None:
            joined: dict[str, Any] = {}
            for text in values:
                try:
                    joined |= json.loads(text)
                except (ValueError, TypeError) as error:
                    raise UserError(f"{flag}: not a JSON object: {text!r} ({error})") from None
            try:
                setattr(namespace, self.dest, model.model_validate(joined))
            except ValidationError as error:
                raise UserError(f"{flag}: {explain(error, model)}") from None

    required = any(field.is_required() for field in model.model_fields.values())
    parser.add_argument(
        flag,
        nargs="+",
        action=Join,
        required=required,
        default=None if required else model(),
        metavar="JSON",
        help=f"{model.__name__} as JSON; keys left out take their defaults",
    )


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet table that a study made.

    Raises: UserError, naming the file and what mends it, if it is damaged or not there.
    """
    import pandas as pd
    from pyarrow import ArrowException

    try:
        require_sealed(path)
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, not a table") from None
    except (
        ArrowException,
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        TypeError,
        ValueError,
    ) as error:  # what Arrow and pandas raise where a byte is wrong
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(path, f"cannot be read as a table ({_first_line(error)})") from None


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, without its index, and with a checksum of the file in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(made.replace_schema_metadata({**made.schema.metadata, "checksum": BLANK}), path)
    seal(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that a study made.

    Raises: UserError, naming the file and what mends it, if it is damaged or not there.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise damaged(path, f"cannot be read as JSON ({_first_line(error)})") from None
    if not isinstance(found, dict):
        raise damaged(path, "is not a JSON object")
    return found


def _first_line(error: Exception) -> str:
    line = re.sub(
        r"^Could not open Parquet input source '.*?': ", "", str(error).partition("\n")[0]
    )
    return f"{type(error).__name__}: {line.rstrip('.')[:200]}"


def content_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, or of a folder's names and contents.

    A folder's hash covers the relative path and hash of each file in it, in sorted order, except
    `provenance.json`, which differs from run to run, and dot-files, in which tools note their own.

    Raises: UserError if there is nothing at `path`.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    files = {
        file.relative_to(path).as_posix(): file
        for file in path.rglob("*")
        if file.is_file() and file.name != PROVENANCE and not file.name.startswith(".")
    }
    lines = [f"{content_hash(files[name])}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def run_key(
    code: str, inputs: Mapping[str, Path], settings: Iterable[BaseModel], **others: Any
) -> str:
    """Hash of all that a training run depends on: a snapshot with another key is not resumed.

    Args:
        code: digest of the script and its modules (`svdrift.tracking.code_digest`).
        inputs: files and folders, hashed by content.
        settings: the settings given to the script.
        others: further plain values, such as the seed.
    """
    depends_on = {
        "code": code,
        "inputs": {name: content_hash(path) for name, path in inputs.items()},
        "settings": [section.model_dump(mode="json") for section in settings],
        **others,
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def write_provenance(
    folder: Path,
    *,
    inputs: Mapping[str, Path],
    settings: BaseModel | Mapping[str, Any],
    seed: int | None,
    started: float,
    name: str = PROVENANCE,
    paths: bool = True,
) -> None:
    """Write `folder/provenance.json`: what the artefact in `folder` was made from, with and on.

    Args:
        folder: the artefact's folder; made if absent.
        inputs: name -> file or folder that the stage read.
        settings: the part of the study's settings that the stage was given.
        seed: the stage's seed; None if it draws nothing at random.
        started: `time.time()` at the stage's start.
        name: of the file, where several artefacts share a folder.
        paths: whether inputs are noted with their paths, or by their last names alone, as in a
            folder that is made to be passed on.

    Raises: UserError if an input does not exist.
    """
    record = {
        "inputs": {
            name: {
                "path": str(path) if paths else path.absolute().name,
                "sha256": content_hash(path),
            }
            for name, path in inputs.items()
        },
        "settings": _plain(settings),
        "seed": seed,
        "versions": _versions(),
        "commit": _commit(),
        "hardware": _hardware(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "duration_s": round(time.time() - started, 3),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _plain(settings: BaseModel | Mapping[str, Any]) -> Any:
    if isinstance(settings, BaseModel):
        return settings.model_dump(mode="json")
    return {
        name: _plain(value) if isinstance(value, BaseModel) else value
        for name, value in settings.items()
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "svdrift": svdrift.__version__}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):  # one that took no part
            versions[package] = importlib.metadata.version(package)
    return versions


def _commit() -> str | None:
    """The commit of this source tree, with `-dirty` after local edits; None outside a clone."""
    tree = Path(__file__).resolve().parents[1]
    # An installed copy may lie inside some other project's clone, whose commit says nothing.
    if not (tree / ".git").exists() or shutil.which("git") is None:
        return None
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    answer = subprocess.run(describe, cwd=tree, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _hardware() -> dict[str, Any]:
    torch = sys.modules.get("torch")  # a stage that has not imported it used no GPU
    on_gpu = torch is not None and torch.cuda.is_available()
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch is not None and on_gpu else None,
        "system": platform.platform(),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class _LogLines:
    """What tqdm writes, one line for each update instead of one line overwritten."""

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()


def progress(
    iterable: Iterable[T], total: int | None, description: str, *, name: str = ""
) -> Iterator[T]:
    """Pass `iterable` on, telling on stderr how far it is and how long the rest will take.

    On a terminal this is a bar. In a log it is a line every 5 s at most, and none for a stage that
    is done sooner. `name` tells which run it is where several write to one terminal.
    """
    description = f"{description} {name}".rstrip()
    if sys.stderr.isatty():
        yield from tqdm(iterable, total=total, desc=description, dynamic_ncols=True)
        return
    yield from tqdm(
        iterable,
        total=total,
        desc=description,
        file=_LogLines(),
        mininterval=LOG_INTERVAL_S,
        delay=LOG_INTERVAL_S,
        miniters=1,
        bar_format="{desc}: {n_fmt}/{total_fmt}, {elapsed} elapsed, {remaining} left",
    )
