"""The splits of hands by name. Light to import, for a workflow reads it on every start."""

SIZE_KEYS = {
    "demonstrations": "demonstrations",
    "practice": "practice",
    "demonstrated": "demonstrated_test",
    "id_selection": "selection",
    "id_test": "test",
    "ood_selection": "selection",
    "ood_test": "test",
}
"""Each split, and the setting under `task.hands` that says how many hands it has."""

SPLITS = tuple(SIZE_KEYS)
TRAINING_SPLITS = ("demonstrations", "practice")
OOD_SPLITS = ("ood_selection", "ood_test")

DEALT_BEFORE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(SPLITS, TRAINING_SPLITS),
    "demonstrations": (),
    "practice": ("demonstrations",),
}
"""The splits for training by which each is dealt, or labelled with what was seen of it."""
