"""What is read is what was written: checksums beside artefacts, and their check.

A model folder holds a list of its files' checksums (`sha256sum --check checksums.sha256` reads it
too). A table or a file of factors holds its own: 64 digits that count as zeros when it is computed.

Importing this module is quick: it loads neither torch nor pandas.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from svdrift.errors import UserError

PROVENANCE = "provenance.json"
SUMS = "checksums.sha256"
AGAIN = "run the same command again"
CHUNK = 1 << 20  # bytes read at once
ZEROS = b"0" * 64
MARK = b"svdrift-sha256:"
BLANK = (MARK + ZEROS).decode()
"""What a file that is to be sealed holds once, before anything that looks like it."""

# In this process: what a file's bytes were, by device, inode, size and time of change.
_known: dict[tuple[int, int, int, int], str] = {}


def write_checksums(folder: Path) -> None:
    """List the checksums of all files of a folder in it.

    Not of provenance, which no job reads, nor of dot-files, which are tools' own.
    """
    place = folder / SUMS
    place.unlink(missing_ok=True)  # it might be a link to another folder's
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _listed(folder)]
    place.write_text("".join(lines), encoding="utf-8")


def require_unchanged(folder: Path) -> None:
    """Refuse a model folder whose files are not those that were written.

    Each file is read once in a process. A folder of a study without checksums, which an older
    version made, is reported once.

    Raises:
        UserError: a file differs or is missing. It names all that has to be deleted, which
            includes other names of the same file (links).
    """
    place = folder / SUMS
    if not place.is_file():
        if (folder / PROVENANCE).is_file():
            _tell_unchecked(folder)
        return
    for name, wanted in _read(place):
        if not (folder / name).is_file():
            raise _damaged(folder / name, "is missing")
        if _sha256(folder / name) != wanted:
            raise _damaged(folder / name, f"holds other bytes than were written ({SUMS})")


def seal(file: Path) -> None:
    """Fill in the checksum of a file that holds `BLANK`.

    Raises:
        ValueError: it does not hold it.
    """
    with file.open("r+b") as opened:
        if (place := _place(opened)) is None:
            raise ValueError(f"{file}: has no room for a checksum")
        sealed = _sealed(opened, place)
        opened.seek(place)
        opened.write(sealed.encode())


def require_sealed(file: Path) -> None:
    """Refuse a file whose bytes are not those that were sealed.

    It is read once in a process. One without a checksum, which an older version made, is reported.

    Raises:
        UserError: the checksum differs; it names all that has to be deleted.
    """
    key = _key(file)
    if key in _known:
        return
    with file.open("rb") as opened:
        if (place := _place(opened)) is None:
            _tell_unchecked(file)
            return
        opened.seek(place)
        found = opened.read(len(ZEROS)).decode(errors="replace")
        if found != _sealed(opened, place):
            raise _damaged(file, "holds other bytes than were written (its checksum differs)")
    _known[key] = found


def link_tree(source: Path, target: Path) -> Path:
    """Put a folder in another place as links, where the file system has them; else as copies."""
    return shutil.copytree(
        source, target, symlinks=True, dirs_exist_ok=True, copy_function=_link_or_copy
    )


def _link_or_copy(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _listed(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (PROVENANCE, SUMS) and not path.name.startswith(".")
    ]


def _read(place: Path) -> list[tuple[str, str]]:
    """The names and checksums in a list of them."""
    lines = place.read_text(encoding="utf-8", errors="replace").splitlines()
    parts = [line.partition("  ") for line in lines]
    if not parts or not all(len(digits) == len(ZEROS) and name for digits, _, name in parts):
        raise _damaged(place, "is no list of checksums")
    return [(name, digits) for digits, _, name in parts]


def _key(file: Path) -> tuple[int, int, int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _sha256(file: Path) -> str:
    key = _key(file)
    if key not in _known:
        with file.open("rb") as opened:
            _known[key] = hashlib.file_digest(opened, "sha256").hexdigest()
    return _known[key]


def _place(file: BinaryIO) -> int | None:
    """Where the digits of a file's own checksum stand; None where it has none."""
    file.seek(0)
    end, window = 0, b""
    while chunk := file.read(CHUNK):
        end += len(chunk)
        window = window[-len(MARK) :] + chunk
        if (found := window.find(MARK)) >= 0:
            return end - len(window) + found + len(MARK)
    return None


def _sealed(file: BinaryIO, place: int) -> str:
    """The checksum of a file, as if its own digits were zeros."""
    file.seek(0)
    digest, left = hashlib.sha256(), place
    while left:
        chunk = file.read(min(CHUNK, left))
        digest.update(chunk)
        left -= len(chunk)
    digest.update(ZEROS)
    file.seek(place + len(ZEROS))
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


@cache
def _told() -> list[None]:
    return []


def _tell_unchecked(path: Path) -> None:
    if not _told():
        _told().append(None)
        print(
            f"{path}: has no checksum, as an older version made it; such files are read unchecked",
            file=sys.stderr,
        )


def _damaged(file: Path, problem: str) -> UserError:
    """The error that names a file, what is wrong with it, and what has to be deleted."""
    made = list(dict.fromkeys(_made_as(name) for name in (file, *_other_names(file))))
    names = "it" if made == [file] else " and ".join(map(str, made))
    same = " (links to the same file)" if len(made) > 1 else ""
    return UserError(f"{file}: {problem}; delete {names}{same} and {AGAIN}")


def _made_as(file: Path) -> Path:
    """What a job made: a file, a model folder, or the folder of all steps of a run."""
    folder = file if file.is_dir() else file.parent
    if not (folder / SUMS).is_file():
        return file
    while folder.name.isdigit():
        folder = folder.parent
    return folder


def _other_names(file: Path) -> Iterator[Path]:
    """Where else the same file lies below the working directory, nearest first."""
    if not file.exists() or file.is_symlink():
        return
    looked_for, here = file.stat(), Path.cwd()
    left = looked_for.st_nlink - 1
    above = [p for p in file.absolute().parents if p != here and p.is_relative_to(here)]
    seen = {file.absolute()}
    for top in above or file.absolute().parents[:3]:
        if not left:
            return
        for folder, _, names in os.walk(top):
            for path in (Path(folder, name) for name in names):
                if path in seen or not os.path.samestat(path.lstat(), looked_for):
                    continue
                seen.add(path)
                left -= 1
                yield path.relative_to(here) if path.is_relative_to(here) else path
