"""A store of finished artefacts, each found again by what it was made from.

Studies that have a stage in common share its result, whatever they are called. An entry is a folder
named by a key (`key_of`), which holds copies of a job's outputs and a manifest of their hashes. It
appears whole, by a rename, and is never changed afterwards, so that studies may run side by side.

Importing this module is quick: it loads neither torch nor pandas.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from svdrift.checkpoints import ANCHOR, resolve
from svdrift.errors import UserError
from svdrift.liveness import Process
from svdrift.scripting import content_hash

MANIFEST = ".manifest.json"  # touched when an entry is used
BEAT_S = 5.0  # between signs of life of a job that makes an entry
STALE_S = 60.0  # without a sign of life, after which another job takes over
POLL_S = 0.2  # between looks of a job that waits
CLONE = 0x40049409  # Linux: share the blocks of another file until either is written to


class Entry(NamedTuple):
    """What the store holds under a key: size in bytes, time of last use, and first output."""

    folder: Path
    size: int
    used: float
    made_as: str


def key_of(parts: Iterable[str], inputs: Iterable[Path]) -> str:
    """Key of what is made from `parts` (code, settings, seed, ...) and the contents of `inputs`.

    Paths of inputs do not count, their order does. Raises: UserError if an input does not exist.
    """
    return _key(parts, [content_hash(path) for path in inputs])


def _key(parts: Iterable[str], hashes: Sequence[str]) -> str:
    made_from = {"parts": list(parts), "inputs": hashes}
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def produce(
    store: Path,
    key: str,
    outputs: Sequence[Path],
    make: Callable[[], int],
    say: Callable[[str], None],
) -> int:
    """Put the outputs in place: from the store, or else by `make`, whose result is then kept.

    While another job makes the same, this one waits for it. If that fails or dies, this one makes
    it itself: at once if the other was a process of this machine, else `STALE_S` after its last
    sign of life.

    Args:
        store: folder of all entries; made if absent.
        key: see `key_of`.
        outputs: files and folders that `make` writes. Dot-files in folders are not part of them.
        make: returns an exit status; only what ends with 0 is kept.
        say: is given a line about what was found.

    Returns:
        The exit status of `make`, or 0.

    Raises: UserError if the store cannot be a folder that is written to.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{store}: cannot be the store of artefacts ({error.strerror})") from None
    if not os.access(store, os.W_OK | os.X_OK):
        raise UserError(f"{store}: cannot be the store of artefacts (no permission to write)")
    while not _fetch(store / key, outputs, say):
        with _claim(store / f"{key}.claim") as ours:
            if not ours:
                _wait(store / f"{key}.claim", say)
            elif not _fetch(store / key, outputs, say):  # not made in the meantime either
                status = make()
                if status == 0:
                    _add(store / key, outputs, say)
                return status
            else:
                return 0
    return 0


class Ask(NamedTuple):
    """What a job asks the store for: the arguments of scripts/reuse.py.

    Attributes:
        key: all that decides the outputs, but for the inputs.
        inputs: files and folders, by their contents.
        outputs: what the job makes.
        candidates: inputs of checkpoints one of which is the anchor; the others' do not count.
        choice: which checkpoint the anchor is (JSON); None without.
        kept: what is linked in place of the only output, if it is there; None without.
    """

    key: Sequence[str]
    inputs: Sequence[Path]
    outputs: Sequence[Path]
    candidates: Sequence[Path] = ()
    choice: Path | None = None
    kept: Path | None = None

    def chosen(self, choice: Path | None) -> Ask:
        """The same with the anchor in its place, as the file `choice` says.

        Raises:
            UserError: the file is damaged.
        """
        if choice is None:
            return self
        anchor = resolve(ANCHOR, choice)
        return self._replace(
            key=[*self.key, f"{ANCHOR} {anchor}"],
            inputs=[*self.inputs, *(path for path in self.candidates if anchor in path.parts)],
        )


def served(store: Path, asks: Iterable[Ask], stale: Collection[Path], most: int) -> list[bool]:
    """Which jobs the store would serve if they ran now, one after the other.

    Args:
        store: folder of all entries.
        asks: of the jobs that would run, each after those that it depends on.
        stale: outputs of all jobs that would run; their present contents do not count.
        most: bytes of inputs that are read; a job beyond that counts as not served.

    Returns:
        For each ask, whether there is an entry. A damaged one is found out only by a job.
    """
    place: dict[Path, Path | None] = dict.fromkeys(stale)  # where contents lie, if that is known
    known: dict[Path, str] = {}
    found = []

    def lies(path: Path) -> Path | None:
        for above in (path, *path.parents):
            if above in place:
                there = place[above]
                path = path if there is None else there / path.relative_to(above)
                return path if there is not None and path.exists() else None
        return path if path.exists() else None

    for ask in asks:
        found.append(False)
        if ask.kept is not None and (there := lies(ask.kept)) is not None:
            found[-1] = True
            place[ask.outputs[0]] = there
            continue
        choice = None if ask.choice is None else lies(ask.choice)
        if ask.choice is not None and choice is None:
            continue
        ask = ask.chosen(choice)
        inputs = [there for path in ask.inputs if (there := lies(path)) is not None]
        if len(inputs) < len(ask.inputs):
            continue
        for path in inputs:
            if path not in known and (most := most - _size(path)) >= 0:
                known[path] = content_hash(path)
        if any(path not in known for path in inputs):
            continue
        entry = store / _key(ask.key, [known[path] for path in inputs])
        if _record(entry) is not None:
            found[-1] = True
            place |= {output: entry / str(i) for i, output in enumerate(ask.outputs)}
    return found


def _size(path: Path) -> int:
    files = [path] if path.is_file() else list(_files(path).values())
    return sum(file.stat().st_size for file in files)


def entries(store: Path) -> Iterator[Entry]:
    """All entries of a store, and what jobs that were killed left unfinished."""
    for folder in sorted(path for path in store.glob("*") if path.is_dir()):
        manifest = folder / MANIFEST
        size = sum(path.stat().st_size for path in _files(folder).values())
        if not manifest.is_file():
            yield Entry(folder, size, folder.stat().st_mtime, "(unfinished)")
            continue
        record = _record(folder)
        made_as = "(damaged)" if record is None else record["made_as"]
        yield Entry(folder, size, manifest.stat().st_mtime, made_as)


def _record(entry: Path) -> dict[str, Any] | None:
    """What an entry's manifest says; None if it is missing or damaged."""
    try:
        record = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kinds = {"made_as": str, "files": dict}
    if not isinstance(record, dict) or any(
        not isinstance(record.get(name), kind) for name, kind in kinds.items()
    ):
        return None
    return record


def _fetch(entry: Path, outputs: Sequence[Path], say: Callable[[str], None]) -> bool:
    """Put an entry's artefacts in place, if there is a sound one."""
    if not entry.is_dir():
        return False
    record = _record(entry)
    try:
        sound = record is not None and record["files"] == _hashes(entry)
    except OSError:  # a file that cannot be read
        sound = False
    if record is None or not sound:
        shutil.rmtree(entry, ignore_errors=True)
        done = "passed over" if entry.exists() else "removed"  # others' files cannot be removed
        say(f"{done} {entry}: it is not what was stored there")
        return False
    for number, output in enumerate(outputs):
        partial = output.with_name(f".{output.name}.partial")
        _remove(partial)
        _remove(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        _duplicate(entry / str(number), partial)
        partial.rename(output)
    with suppress(PermissionError):  # an entry of another user
        os.utime(entry / MANIFEST)
    say(f"reused from {entry}, made as {record['made_as']}")
    return True


def _add(entry: Path, outputs: Sequence[Path], say: Callable[[str], None]) -> None:
    """Keep outputs under a key; that they could not be kept is said, and harms no job."""
    partial = entry.with_name(f".{entry.name}.{uuid.uuid4().hex}")
    try:
        partial.mkdir()
        for number, output in enumerate(outputs):
            _duplicate(output, partial / str(number))
        for path in _files(partial).values():
            path.chmod(0o444)
        record = {"made_as": str(outputs[0]), "files": _hashes(partial)}
        (partial / MANIFEST).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial.rename(entry)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not entry.is_dir():  # else another job was quicker; its entry is as good
            say(f"not kept in the store: {error}")


def _duplicate(source: Path, target: Path) -> None:
    """A file as a copy of its own, with a new time; a folder as links to its files.

    Snakemake looks at the times of files that are outputs, and at whether they can be written to.
    Of a folder it looks at neither for the files in it.
    """
    if source.is_file():
        _copy(source, target)
        return
    target.mkdir()
    for name, file in _files(source).items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, place)
        except OSError:  # another file system
            _copy(file, place)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        try:
            fcntl.ioctl(writing, CLONE, reading.fileno())
        except OSError:  # this file system cannot
            shutil.copyfileobj(reading, writing, 1 << 20)


def _files(folder: Path) -> dict[str, Path]:
    """The files in a folder by relative path, without dot-files."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def _hashes(folder: Path) -> dict[str, str]:
    return {name: content_hash(path) for name, path in _files(folder).items()}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _claim(path: Path) -> Iterator[bool]:
    """Say by a file that an entry is being made; yield whether nobody else says so.

    The file names this process, and its text changes as long as that lives. It saves work and
    nothing depends on it: two jobs that both believe to be alone make the same entry twice.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        yield False
        return
    name, done = uuid.uuid4().hex, threading.Event()
    process = json.dumps(Process.current()._asdict())

    def say(count: int) -> None:
        path.write_text(f"{name} {count}\n{process}", encoding="utf-8")

    def ours() -> bool:
        try:
            return path.read_text(encoding="utf-8").startswith(name)
        except FileNotFoundError:
            return False

    def beat() -> None:
        count = 0
        while not done.wait(BEAT_S) and ours():
            count += 1
            say(count)

    say(0)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        done.set()
        thread.join()
        if ours():
            path.unlink(missing_ok=True)


def _wait(claim: Path, say: Callable[[str], None]) -> None:
    """Wait until a claim is given up, or removed because the one who made it is dead.

    Of a process of another machine, whether the text changes is looked at, not its time: clocks of
    machines need not agree.
    """
    seen, since, told, entry = "", time.monotonic(), False, claim.stem[:16]
    while True:
        try:
            text = claim.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        process = _claimant(text)
        lives = None if process is None else process.lives()
        who = "another job" if process is None else process
        if text != seen:
            seen, since = text, time.monotonic()
        quiet = time.monotonic() - since > STALE_S
        if lives is False or (lives is None and quiet):
            why = f"showed no life for {STALE_S:g} s" if lives is None else "is dead"
            say(f"takes over {entry}: {who}, which was making it, {why}")
            claim.unlink(missing_ok=True)
            return
        if text and not told:
            unsure = "" if lives else f", at most {STALE_S:g} s should that be dead"
            say(f"waits for {who}, which makes {entry}{unsure}")
            told = True
        time.sleep(POLL_S)


def _claimant(text: str) -> Process | None:
    try:
        return Process.read(json.loads(text.partition("\n")[2]))
    except ValueError:
        return None
