"""Accuracies of several models on the same problems, each beside the first one's."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from svdrift.evaluation.accuracy import accuracy_table
from svdrift.evaluation.comparisons import paired_difference_table

PLACE = ["model", "split", "shift"]
COMPARED = {
    "difference": "difference",
    "low": "difference_low",
    "high": "difference_high",
    "p": "p",
}


def side_by_side(played: Mapping[str, pd.DataFrame], faults: tuple[str, ...]) -> pd.DataFrame:
    """The share of problems that each model solves at the first try.

    Args:
        played: model to its episodes, labelled with it as their checkpoint, on the same problems.
        faults: of the task.

    Returns:
        A row a split and model: `model`, `split`, `shift`; `accuracy` with its 95 % interval `low`,
        `high`; `difference` from the first model's, on the same problems, with `difference_low`,
        `difference_high` and two-sided `p` (all empty for the first); `problems`, and `n`, the
        groups of similar problems, which intervals count.
    """
    models = list(played)
    first = played[models[0]]
    rows = accuracy_table(pd.concat(played.values(), ignore_index=True), faults)
    rows = rows[(rows["measure"] == "solved_first_try") & (rows["subset"] == "all")]
    rows = rows.rename(columns={"checkpoint": "model", "n": "problems", "value": "accuracy"})
    parts = [
        paired_difference_table(played[model], first).query("subset == 'all'").assign(model=model)
        for model in models[1:]
    ]
    columns = [*PLACE, *COMPARED]
    compared = pd.concat([pd.DataFrame(columns=columns), *parts])[columns]
    rows = rows.merge(
        compared.rename(columns=COMPARED).astype(dict.fromkeys(COMPARED.values(), float)),
        on=PLACE,
        how="left",
        validate="1:1",
    )
    rows = rows.rename(columns={"groups": "n"}).assign(place=rows["model"].map(models.index))
    rows = rows.sort_values(["split", "place"])
    numbers = ["accuracy", "low", "high", *COMPARED.values(), "problems", "n"]
    return rows[[*PLACE, *numbers]].reset_index(drop=True)
