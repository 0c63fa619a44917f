"""Episode tables made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd


def tries(
    solved: object,
    multisets: object,
    checkpoint: str = "sft-32",
    split: str = "ood_test",
    **columns: object,
) -> pd.DataFrame:
    """An episode table of one try a hand."""
    outcome = np.asarray(solved, dtype=bool)
    table = {
        "checkpoint": checkpoint,
        "split": split,
        "hand_id": [f"{split}-{i}" for i in range(len(outcome))],
        "multiset": np.asarray(multisets).astype(str),
        "exposure": "neither",
        "pretrained": True,
        "try_number": 1,
        "reply": "",
        "solved": outcome,
        "reward": np.where(outcome, 5.0, -1.0),
        "fault": np.where(outcome, "none", "wrong_value"),
        "translated": True,
    }
    return pd.DataFrame(table | columns)
