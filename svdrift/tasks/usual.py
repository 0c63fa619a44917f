"""The splits that tasks beside the card game share with it, so that `config.yaml` fits them all."""

from __future__ import annotations

from collections.abc import Iterable

from svdrift.tasks.splits import ID, OOD, Kind, Split

FURTHER = "ood_test_"
"""How the name of a test under a further shift begins; the shift's name follows."""

ROLES: dict[str, Kind] = {
    "demonstrations": "training",
    "practice": "training",
    "demonstrated": "fit",
    "id_selection": "selection",
    "id_test": "test",
    "ood_selection": "selection",
    "ood_test": "test",
}


def usual_splits(problems: str, further: Iterable[str] = ()) -> tuple[Split, ...]:
    """The splits of a task whose `demonstrated` is dealt from its `demonstrations`.

    Args:
        problems: what a problem is called, in the plural.
        further: shifts that have a test of their own.
    """
    labels = {
        "demonstrations": "Demonstrations",
        "practice": "Practice",
        "demonstrated": f"ID, demonstrated {problems}",
        "id_selection": "ID selection",
        "id_test": "ID test",
        "ood_selection": "OOD selection",
        "ood_test": "OOD test",
    }
    known = (
        Split(
            name=name,
            role=role,
            shift=OOD if name.startswith(OOD) else ID,
            label=labels[name],
            after=("demonstrations",) if role == "fit" else (),
        )
        for name, role in ROLES.items()
    )
    beyond = (
        Split(name=f"{FURTHER}{name}", role="test", shift=name, label=f"OOD test, {name}")
        for name in further
    )
    return (*known, *beyond)
