"""Which code a stage runs: the modules that its script imports, as one digest.

The workflow gives the digest to each rule as a parameter, so that an edited module reruns the
stages that import it and no others. Only the parsed code counts: comments, docstrings and
formatting change nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "svdrift"
# Carries values and messages to where they are used, and decides no result: a rule is given the
# values of the settings themselves. What it imports is not followed either.
PLUMBING = {f"svdrift/{name}.py" for name in ("settings", "scripting", "errors", "tracking")}


def code_digest(*scripts: str) -> str:
    """Digest of `scripts` (paths below the repository) and all of ours that they import.

    Raises:
        FileNotFoundError: a script does not exist.
    """
    modules = imported_modules(*(ROOT / script for script in scripts))
    modules = [path for path in modules if not _is_plumbing(path)]
    digest = hashlib.sha256()
    for path in modules:
        digest.update(f"{path.relative_to(ROOT)}\n{_parsed(path)}\n".encode())
    return digest.hexdigest()[:16]


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


def _is_plumbing(path: Path) -> bool:
    return path.relative_to(ROOT).as_posix() in PLUMBING


@cache
def _direct_imports(path: Path) -> tuple[Path, ...]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f"{path}: relative imports are not followed; write them in full")
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(
        file for name in sorted(names) if name.split(".")[0] == PACKAGE for file in _files(name)
    )


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
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
