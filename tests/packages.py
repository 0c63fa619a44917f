"""Packages as pip leaves them, as far as finding their files goes."""

from pathlib import Path


def install(folder: Path, name: str, files: list[str]) -> None:
    """Make a package that is found where `folder` is searched for packages."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"")
