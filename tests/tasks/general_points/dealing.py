"""All splits of a study at once, as the workflow deals them one by one."""

import pandas as pd

from svdrift.settings.task import TaskSettings
from svdrift.tasks.general_points.hands import make_split
from svdrift.tasks.general_points.splits import DEALT_BEFORE, SIZE_KEYS, SPLITS


def make_hands(task: TaskSettings, seed: int) -> dict[str, pd.DataFrame]:
    dealt: dict[str, pd.DataFrame] = {}
    for split in SPLITS:
        training = {name: dealt[name] for name in DEALT_BEFORE[split]}
        count = getattr(task.hands, SIZE_KEYS[split])
        dealt[split] = make_split(split, task.deal(split), count, seed, training)
    return dealt
