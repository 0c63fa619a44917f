"""All splits of a study at once, as the workflow deals them one by one."""

import pandas as pd

from svdrift.tasks.general_points.hands import make_split
from svdrift.tasks.general_points.settings import Settings


def make_hands(task: Settings, seed: int) -> dict[str, pd.DataFrame]:
    dealt: dict[str, pd.DataFrame] = {}
    for split in task.splits:
        training = {name: dealt[name] for name in split.after}
        count = task.count(split.name)
        dealt[split.name] = make_split(split.name, task.deal(split.name), count, seed, training)
    return dealt
