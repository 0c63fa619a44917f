"""Finding a method, a task or an intervention kind by its name.

A name is that of a module or folder in its room of the library, the path of a Python file of your
own (`path/to/my_method.py`), or that of a module which an installed package offers as an entry
point of the room's name (`[project.entry-points."svdrift.tasks"]`). There is no registry: a script
that imported every method would run again whenever any of them changed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os.path
import pkgutil
import sys
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType

from svdrift.errors import UserError, meant

ROOT = Path(__file__).resolve().parents[1]


def load(room: str, name: str, part: str = "", holds: tuple[str, ...] = ()) -> ModuleType:
    """The module that a name stands for.

    Args:
        room: dotted package, such as `svdrift.training`.
        name: of a module (or, with a `part`, a folder) in the room, the path of a file, or the name
            of an entry point.
        part: module within the folder, such as `settings`; a module of your own holds all parts.
        holds: what it must define.

    Raises:
        UserError: there is no such module or file, naming the ones that there are; or a file of
            your own, or of an installed package, cannot be imported, or lacks what it must define.
    """
    if name in names(room, part):
        return importlib.import_module(f"{room}.{name}.{part}" if part else f"{room}.{name}")
    if name.endswith(".py"):
        module = _load_file(Path(name))
    elif name in offered(room):
        module = _load_offered(room, name)
    else:
        known = tuple(dict.fromkeys([*names(room, part), *offered(room)]))
        raise UserError(
            f"{name!r} is unknown{meant(name, known)} (allowed: {', '.join(known)}, or the path "
            "of a .py file)"
        )
    for wanted in holds:
        if not hasattr(module, wanted):
            raise UserError(f"{name}: defines no {wanted} (docs/extending.md has examples)")
    return module


@cache
def names(room: str, part: str = "") -> tuple[str, ...]:
    """The names that a room of the library knows, in alphabetical order."""
    (folder,) = importlib.import_module(room).__path__
    modules = [module.name for module in pkgutil.iter_modules([folder])]
    if part:
        modules = [name for name in modules if (Path(folder) / name / f"{part}.py").is_file()]
    return tuple(sorted(modules))


@cache
def offered(room: str) -> dict[str, str]:
    """What installed packages offer a room: name to dotted module, in alphabetical order.

    Raises:
        UserError: two of them offer one name.
    """
    found: dict[str, str] = {}
    for point in sorted(importlib.metadata.entry_points(group=room), key=lambda point: point.name):
        if found.setdefault(point.name, point.module) != point.module:
            raise UserError(
                f"{room}: two installed packages offer {point.name!r}: {found[point.name]} and "
                f"{point.module} (allowed: one; uninstall the other)"
            )
    return found


def files(room: str, name: str, part: str = "") -> tuple[str, ...]:
    """The file behind a name, below the repository where it lies there, for `tracking`."""
    if name.endswith(".py"):
        return (name,)
    if name not in names(room, part) and name in offered(room):
        spec = importlib.util.find_spec(offered(room)[name])
        assert spec is not None  # `load` has imported it
        assert spec.origin is not None
        return (spec.origin,)
    path = "/".join([*room.split("."), *([name, part] if part else [name])]) + ".py"
    return (path,)


def _load_offered(room: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(offered(room)[name])
    except Exception as error:  # whatever the package does
        raise UserError(
            f"{name}: {offered(room)[name]} cannot be imported: {type(error).__name__}: {error}"
        ) from None


def _load_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):  # pathlib raises on names that are too long
        raise UserError(f"{path}: no such file")
    name = f"svdrift_own_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as importing does
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        place = f"{error.filename or path}: line {error.lineno}" if error.lineno else f"{path}"
        raise UserError(f"{place}: not Python: {error.msg}") from None
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f"line {frame.lineno}: " for frame in frames if frame.filename == spec.origin]
        said = str(error).partition("\n")[0]
        place = f"{path}: {lines[-1] if lines else ''}"
        raise UserError(f"{place}{type(error).__name__}: {said}") from None
    return module
