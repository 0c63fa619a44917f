"""What a choice of ranks leaves behind: what was tried, and what was chosen."""

from __future__ import annotations

import pandas as pd

from svdrift.ranks.search import Evaluations
from svdrift.ranks.space import Ranks, Space


def tried_rows(space: Space, evaluations: Evaluations) -> pd.DataFrame:
    """One row an evaluation: `evaluation` (from 1), `score`, `cost`, and whether that `fits`."""
    rows = [
        (number, one.score, space.cost(one.ranks), space.fits(one.ranks))
        for number, one in enumerate(evaluations.tried, 1)
    ]
    return pd.DataFrame(rows, columns=["evaluation", "score", "cost", "fits"])


def chosen_rows(space: Space, ranks: Ranks) -> pd.DataFrame:
    """One row a matrix: `layer` (-1 outside), `module`, `rank`, `share` of the full rank."""
    rows = [
        (-1 if one.layer is None else one.layer, one.module, rank, rank / one.rank)
        for one, rank in zip(space.subjects, ranks, strict=True)
    ]
    return pd.DataFrame(rows, columns=["layer", "module", "rank", "share"])


def best_so_far(searches: pd.DataFrame) -> pd.DataFrame:
    """The highest score among what fits, after each evaluation since something did.

    Args:
        searches: of `tried_rows`, with `seed`, `choice` and `method`.

    Returns:
        The rows, in order, with a column `best`.
    """
    rows = searches.sort_values(["choice", "method", "seed", "evaluation"], kind="stable")
    scores = rows["score"].where(rows["fits"])
    by = [rows[name] for name in ("choice", "method", "seed")]
    rows = rows.assign(best=scores.groupby(by).cummax().groupby(by).ffill())
    return rows[rows["best"].notna()].reset_index(drop=True)
