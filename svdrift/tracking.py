"""Which code a stage runs: our modules, as one digest, and versions of the libraries they import.

The workflow gives both to each rule as parameters, so that an edited module, or another version of
a library, reruns the stages that import it and no others. Only the parsed code counts: comments,
docstrings and formatting change nothing.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import json
import os
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

from svdrift.errors import UserError, listed

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "svdrift"
# They carry values and messages to where they are used, and decide no result: a rule is given the
# values of the settings themselves. What they import is not followed either. The package's own
# `__init__` holds its version.
PLUMBING = {
    "__init__.py",
    "artefacts.py",
    "compute.py",
    "errors.py",
    "live.py",
    "plugins.py",
    "scripting.py",
    "section.py",
    "story.py",
    "study",
    "tracking.py",
}
SETTINGS = {"settings.py", "method.py"}  # in any room
Read = tuple[tuple[str, ...], str]  # names, digest of the code


def code_digest(*scripts: str) -> str:
    """Digest of `scripts` (paths below the repository) and all of ours that they import.

    Raises:
        FileNotFoundError: a script does not exist.
    """
    digest = hashlib.sha256()
    for path in _deciding(scripts):
        digest.update(f"{_name(path)}\n{_code(path)}\n".encode())
    return digest.hexdigest()[:16]


def software(*scripts: str) -> str:
    """Installed versions of the libraries that `scripts` and our modules import, as plain text.

    Such as `numpy 2.3.4, torch 2.13.0`, in alphabetical order. A library that only another library
    imports is not named, nor is the build (`+cpu`), which is the machine's choice.

    Raises:
        FileNotFoundError: a script does not exist.
        UserError: an imported library is in no installed distribution.
    """
    names = {name.split(".")[0] for path in _deciding(scripts) for name in _imported_names(path)}
    foreign = names - sys.stdlib_module_names - {PACKAGE}
    for package in sorted(foreign - set(_distributions())):
        raise UserError(
            f"{package} is imported by {listed(scripts)}, and belongs to no installed "
            "distribution, so that nobody could say later which version ran (allowed: install it)"
        )
    installed = {name for package in foreign for name in _distributions()[package]}
    versions = {name: _version(name) for name in installed}
    return ", ".join(f"{name} {versions[name]}" for name in sorted(versions, key=str.lower))


@cache
def _version(distribution: str) -> str:
    return version(distribution).split("+")[0]


@cache
def _distributions() -> dict[str, list[str]]:
    """Packages to the distributions that hold them.

    To find them takes a second of CPU, so they are kept for as long as the same are installed.
    """
    places = [place for place in sys.path if os.path.isdir(place)]
    installed = sorted(name for place in places for name in os.listdir(place) if "-info" in name)
    memory = MEMORY.with_name(f"packages.{sys.implementation.cache_tag}.json")
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["installed"] == installed:
            return dict(known["packages"])
    packages = dict(packages_distributions())
    _keep(memory, {"installed": installed, "packages": packages})
    return packages


def _deciding(scripts: tuple[str, ...]) -> list[Path]:
    """The modules that decide what the scripts compute."""
    modules = imported_modules(*((ROOT / script).resolve() for script in scripts))
    return [path for path in modules if not _is_plumbing(path)]


def imported_modules(*paths: Path) -> list[Path]:
    """`paths` and the modules of this package that they import, directly or not, sorted."""
    found: set[Path] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(() if _is_plumbing(path) else _direct_imports(path))
    return sorted(found)


def _name(path: Path) -> str:
    """How the digest names a file: by its place in the repository, or else by its name."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


@cache
def _is_plumbing(path: Path) -> bool:
    if not path.is_relative_to(ROOT / PACKAGE):  # a script, or a file of the user's own
        return False
    return path.relative_to(ROOT / PACKAGE).parts[0] in PLUMBING or path.name in SETTINGS


@cache
def _direct_imports(path: Path) -> tuple[Path, ...]:
    names = (name for name in _imported_names(path) if name.split(".")[0] == PACKAGE)
    return tuple({file: None for name in names for file in _files(name)})


def _imported_names(path: Path) -> tuple[str, ...]:
    """Dotted names that a module imports, wherever in it, but for the sake of types alone."""
    return _read(path)[0]


@cache
def _files(name: str) -> tuple[Path, ...]:
    """Files that importing the dotted `name` runs: its packages' `__init__`, and its module."""
    if not name:
        return ()
    package, _, _ = name.rpartition(".")
    path = ROOT.joinpath(*name.split("."))
    own = [file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists()]
    return (*_files(package), *own[:1])


def _code(path: Path) -> str:
    """The digest of a module's code without comments, docstrings and formatting."""
    return _read(path)[1]


@cache
def _read(path: Path) -> Read:
    """What a module imports, and the digest of its code; see `_imported_names` and `_code`."""
    source = path.read_bytes()
    key = hashlib.sha256(source).hexdigest()
    known = _remembered()
    if key in known:
        _parsed[key] = known[key]
    else:
        _parsed[key] = _parse(source, path)
        atexit.unregister(_remember)
        atexit.register(_remember)
    return _parsed[key]


# Parsing all modules takes a second of CPU at each start of the workflow, so what came out is kept
# beside the bytecode, by the content of the source.
MEMORY = Path(__file__).parent / "__pycache__" / f"tracking.{sys.implementation.cache_tag}.json"
_parsed: dict[str, Read] = {}  # in this process


@cache
def _remembered() -> dict[str, Read]:
    """What earlier processes parsed; nothing if this very file has changed since."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        memory = json.loads(MEMORY.read_text(encoding="utf-8"))
        if memory["by"] == _own_digest():
            return {key: (tuple(names), code) for key, (names, code) in memory["sources"].items()}
    return {}


def _remember() -> None:
    """Keep what this process has read, for the next one."""
    _keep(MEMORY, {"by": _own_digest(), "sources": _parsed})


def _keep(memory: Path, what: object) -> None:
    """Write a memory whole; never mind where that is not allowed."""
    with suppress(OSError):
        memory.parent.mkdir(exist_ok=True)
        written = memory.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps(what), encoding="utf-8")
        written.replace(memory)


@cache
def _own_digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _parse(source: bytes, path: Path) -> Read:
    """See `_read`.

    Raises:
        ValueError: it imports by a relative name.
    """
    tree = ast.parse(source)
    names: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        # An expression imports nothing.
        waiting.extend(n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.expr))
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f"{path}: relative imports are not followed; write them in full")
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_docstring(part)]  # type: ignore[attr-defined]
    # And not its dump, whose form differs between versions of Python.
    code = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
    return tuple(sorted(names)), code


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
