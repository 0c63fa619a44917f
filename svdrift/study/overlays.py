"""Laying an overlay over `config.yaml`, as Snakemake does with `--configfile`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from svdrift import yaml_files
from svdrift.errors import UserError, shown
from svdrift.scripting import run

DEFAULT = Path("config.yaml")


def read_config(overlay: Path | None, base: Path = DEFAULT) -> dict[str, Any]:
    """The configuration of a study: the default study, with an overlay laid over it.

    Raises:
        UserError: a file cannot be read or holds no YAML mapping.
    """
    config = read_yaml(base)
    return config if overlay is None else laid_over(config, read_yaml(overlay))


def require_name(config: Mapping[str, Any], overlays: Iterable[Path], base: Path) -> None:
    """Refuse overlays that leave the study its name, since results would mix with those of `base`.

    Args:
        config: `base` with everything laid over it.
        overlays: the files laid over it; `base` itself may be among them.
        base: the default study.

    Raises:
        UserError: naming the line to add.
    """
    others = [file for file in overlays if file.resolve() != base.resolve()]
    taken = read_yaml(base).get("study")
    if others and config.get("study") == taken:
        last = others[-1]
        raise UserError(
            f"{last}: no key `study`, so its results would mix with those of study {taken!r} "
            f"(add a line such as `study: {last.stem}`)"
        )


def laid_over(config: Any, overlay: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which values of the overlay replace those below; mappings are joined."""
    joined: dict[str, Any] = dict(with_on(config)) if isinstance(config, Mapping) else {}
    for key, value in with_on(overlay).items():
        joined[key] = laid_over(joined.get(key), value) if isinstance(value, Mapping) else value
    return joined


def with_on(given: Any) -> Any:
    """Nested mappings with the key `on`, which YAML 1.1 reads as the truth value True.

    Raises:
        ValueError: a mapping holds both, as Snakemake joins a file with quotes and one without.
    """
    if isinstance(given, Mapping):
        if True in given and "on" in given:
            raise ValueError("on: written with quotes in one file and without in another")
        return {"on" if key is True else key: with_on(value) for key, value in given.items()}
    return given


def read_yaml(file: Path) -> dict[str, Any]:
    """The settings that a file holds.

    Raises:
        UserError: the file cannot be read or holds no YAML mapping.
    """
    found = yaml_files.read(file)
    if not isinstance(found, dict):
        what = "it is empty" if found is None else f"not {shown(found)}"
        raise UserError(f"{file}: must hold settings by name (such as `study: NAME`), {what}")
    try:
        return with_on(found)  # type: ignore[no-any-return]
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None


def as_yaml(given: Any) -> Any:
    """Settings of a command line (`--config`) as a file would hold them.

    Snakemake leaves numbers, truth values and nulls within them as text.
    """
    if isinstance(given, Mapping):
        return {key: as_yaml(value) for key, value in given.items()}
    if isinstance(given, list):
        return [as_yaml(value) for value in given]
    if not isinstance(given, str):
        return given
    try:
        value = yaml.safe_load(given)
    except (yaml.YAMLError, ValueError):
        return given
    return value if value is None or isinstance(value, int | float) else given


def main() -> None:
    """Check that files can be read, before Snakemake reads them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="STUDY.yaml")
    for file in parser.parse_args().files:
        read_yaml(file)


if __name__ == "__main__":
    run(main)
