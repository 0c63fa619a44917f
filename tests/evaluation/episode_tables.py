"""Episode tables made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd


def tries(
    solved: object,
    groups: object,
    checkpoint: str = "sft-32",
    split: str = "ood_test",
    **columns: object,
) -> pd.DataFrame:
    """An episode table of one try a problem; the split's name says its role and shift."""
    outcome = np.asarray(solved, dtype=bool)
    table = {
        "checkpoint": checkpoint,
        "split": split,
        "role": "fit" if split == "fitted" else split.rpartition("_")[2],
        "shift": "ood" if split.startswith("ood") else "id",
        "problem": [f"{split}-{i}" for i in range(len(outcome))],
        "group": np.asarray(groups).astype(str),
        "subsets": "seen,neither",
        "try_number": 1,
        "reply": "",
        "solved": outcome,
        "reward": np.where(outcome, 5.0, -1.0),
        "fault": np.where(outcome, "none", "wrong_value"),
        "translated": True,
    }
    return pd.DataFrame(table | columns)
