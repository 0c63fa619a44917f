"""Imports between the rooms of the library go down, and nowhere in a circle."""

from pathlib import Path

import pytest

from svdrift import tracking

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "svdrift"

# From the ground up. A room may import from its own floor's rooms below it in this list alone.
FLOORS = [
    {"__init__", "errors"},
    {"artefacts", "section", "yaml_files"},
    {
        "checkpoints",
        "compute",
        "forkserver",
        "live",
        "liveness",
        "plugins",
        "running",
        "scripting",
        "site",
        "slurm",
        "story",
        "tracking",
    },
    {"reference", "store", "tables"},
    {"models", "tasks"},
    {"training", "spectra"},
    {"evaluation", "recovery"},
    {"figures", "findings", "probes", "ranks", "sweeps", "budget"},
    {"study"},
    {"api"},
    {"cli"},
    {"__main__"},
]
# `budget` and `sweeps` describe whole studies.
ABOVE_STUDY = {"budget", "sweeps"}
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FLOOR |= dict.fromkeys(ABOVE_STUDY, FLOOR["study"] + 1)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    files = tracking._direct_imports(path)
    return {room(file) for file in files} - {room(path), "__init__"}


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_has_its_floor():
    assert {room(path) for path in MODULES} <= set(FLOOR)


@pytest.mark.parametrize("name", sorted(FLOOR))
def test_no_import_goes_up(name):
    for path in MODULES:
        if room(path) == name:
            for other in imported_rooms(path):
                assert FLOOR[other] <= FLOOR[name], f"{path.relative_to(ROOT)} imports {other}"


def test_rooms_import_in_no_circle():
    import graphlib

    needs: dict[str, set[str]] = {}
    for path in MODULES:
        needs.setdefault(room(path), set()).update(imported_rooms(path))
    list(graphlib.TopologicalSorter(needs).static_order())  # raises on a circle


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= 450
