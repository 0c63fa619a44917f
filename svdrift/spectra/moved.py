"""What an update changed at all."""

from __future__ import annotations

import pandas as pd


def moved(drift: pd.DataFrame) -> pd.DataFrame:
    """The rows of matrices that the update of their pair changed at all; frozen ones stay out.

    So do measures that a matrix has none of, such as the angles of one of zeros.
    """
    key = ["pair", "seed", "layer", "module"]
    norms = drift[drift["measure"] == "update_norm"]
    return drift[drift["observed"].notna()].merge(norms.loc[norms["observed"] > 0, key], on=key)
