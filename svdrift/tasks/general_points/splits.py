"""The splits of hands by name. Light, because the Snakefile imports it."""

from svdrift.tasks.usual import FURTHER

SIZE_KEYS = {
    "demonstrations": "demonstrations",
    "practice": "practice",
    "demonstrated": "demonstrated_test",
    "id_selection": "selection",
    "id_test": "test",
    "ood_selection": "selection",
    "ood_test": "test",
}
"""Each split, and the setting under `task.hands` for its number of hands."""

SPLITS = tuple(SIZE_KEYS)
TRAINING_SPLITS = ("demonstrations", "practice")
OOD_SPLITS = ("ood_selection", "ood_test")

DEALT_AFTER: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(SPLITS, TRAINING_SPLITS),
    "demonstrations": (),
    "practice": ("demonstrations",),
}
"""The training splits that dealing a split reads, to avoid them or to label what was trained on."""


def family(split: str) -> str:
    """The split of SPLITS that a split is dealt like: `ood_test` for a test of a further rule."""
    return "ood_test" if split.startswith(FURTHER) else split
