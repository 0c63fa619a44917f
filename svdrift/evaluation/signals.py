"""Whether a run of RL had anything to learn from, by what its updates logged."""

from __future__ import annotations

import pandas as pd

RUN = ["run", "stage", "start", "seed"]
TRIES = "solved_by_try_"
FEW = 0.01  # share of an update's episodes


def signals(metrics: pd.DataFrame) -> pd.DataFrame:
    """One row per run and seed.

    A run had a signal if some update solved more than 1 % of its episodes and the rewards of some
    update differed. Without one, its end says nothing about what RL does.

    Args:
        metrics: of RL's updates, joined over runs: `run`, `stage`, `start`, `seed`, and as
            `svdrift.training.rollout.outcomes` has them `reward_std` and `solved_by_try_1` ...
            (empty for tries that a run does not make).

    Returns:
        Columns `run`, `stage`, `start`, `seed`, `best_solved` (the largest share of an update's
        episodes that were solved within all tries), `reward_std_max`, `had_signal`.
    """
    tries = [column for column in metrics if str(column).startswith(TRIES)]
    # More tries solve no fewer episodes, so the last one has the largest share.
    solved = metrics.assign(solved=metrics[tries].max(axis=1))
    table = solved.groupby(RUN, sort=False, as_index=False).agg(
        best_solved=("solved", "max"), reward_std_max=("reward_std", "max")
    )
    had = (table["best_solved"] > FEW) & (table["reward_std_max"] > 0)
    return table.assign(had_signal=had)
