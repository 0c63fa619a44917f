"""Which code a stage runs: our modules, as one digest, and versions of the libraries they import.

The workflow gives both to each rule as parameters, so that an edited module, or another version of
a library, reruns the stages that import it and no others. Only the parsed code counts: comments,
docstrings and formatting change nothing.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "svdrift"
# They carry values and messages to where they are used, and decide no result: a rule is given the
# values of the settings themselves. What they import is not followed either. The package's own
# `__init__` holds its version.
PLUMBING = {
    "__init__.py",
    "compute.py",
    "errors.py",
    "plugins.py",
    "scripting.py",
    "section.py",
    "story.py",
    "study",
    "tracking.py",
}
SETTINGS = {"settings.py", "method.py"}  # in any room


def code_digest(*scripts: str) -> str:
    """Digest of `scripts` (paths below the repository) and all of ours that they import.

    Raises:
        FileNotFoundError: a script does not exist.
    """
    digest = hashlib.sha256()
    for path in _deciding(scripts):
        digest.update(f"{_name(path)}\n{_parsed(path)}\n".encode())
    return digest.hexdigest()[:16]


def software(*scripts: str) -> str:
    """Installed versions of the libraries that `scripts` and our modules import, as plain text.

    Such as `numpy 2.3.4, torch 2.13.0`, in alphabetical order. A library that only another library
    imports is not named, nor is the build (`+cpu`), which is the machine's choice.

    Raises:
        FileNotFoundError: a script does not exist.
        KeyError: an imported library is not installed.
    """
    names = {name.split(".")[0] for path in _deciding(scripts) for name in _imported_names(path)}
    foreign = names - sys.stdlib_module_names - {PACKAGE}
    installed = {name for package in foreign for name in _distributions()[package]}
    versions = {name: version(name).split("+")[0] for name in installed}
    return ", ".join(f"{name} {versions[name]}" for name in sorted(versions, key=str.lower))


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


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


def _is_plumbing(path: Path) -> bool:
    if not path.is_relative_to(ROOT / PACKAGE):  # a script, or a file of the user's own
        return False
    return path.relative_to(ROOT / PACKAGE).parts[0] in PLUMBING or path.name in SETTINGS


def _direct_imports(path: Path) -> list[Path]:
    names = (name for name in _imported_names(path) if name.split(".")[0] == PACKAGE)
    return [file for name in names for file in _files(name)]


@cache
def _imported_names(path: Path) -> tuple[str, ...]:
    """Dotted names that a module imports, wherever in it, but for the sake of types alone."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f"{path}: relative imports are not followed; write them in full")
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(names))


def _files(name: str) -> Iterator[Path]:
    """Files that importing the dotted `name` runs: its packages' `__init__`, and its module."""
    path = ROOT
    for part in name.split("."):
        path = path / part
        if (path / "__init__.py").exists():
            yield path / "__init__.py"
        elif path.with_suffix(".py").exists():
            yield path.with_suffix(".py")


@cache
def _parsed(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_docstring(part)]  # type: ignore[attr-defined]
    return ast.unparse(tree)  # and not its dump, whose form differs between versions of Python


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
