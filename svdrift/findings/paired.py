"""Estimates from tables with a value for each problem: paired, clustered, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from svdrift.evaluation.comparisons import mean_over_seeds, sum_over_clusters
from svdrift.findings.estimates import over
from svdrift.findings.finding import Estimate, Side, Statement, Unit


def statement(
    kind: str,
    unit: Unit,
    claim: str,
    text: str,
    published: str,
    *,
    side: Side = "above",
    bound: float = 0.0,
    description: bool = False,
) -> Statement:
    """A paper's statement about what probes of a kind measured; for the rest see `Statement`."""
    return Statement(
        claim=claim,
        statement=text,
        unit=unit,
        side=side,
        bound=bound,
        published=published,
        figure="statements.png",
        table=f"the probe of kind {kind}",
        description=description,
    )


Terms = Sequence[tuple[float, "pd.Series[float]"]]
"""Weights and what they weigh: a value for each problem, by seed, group and problem."""


def of_problems(
    table: pd.DataFrame, checkpoint: str, place: tuple[str, str], **values: Any
) -> pd.DataFrame:
    """Rows of a checkpoint on the split of a role and a shift, by seed, group and problem.

    Args:
        table: of a probe.
        values: further columns and the value that rows must have there.
    """
    role, shift = place
    rows = table[
        (table["checkpoint"] == checkpoint) & (table["role"] == role) & (table["shift"] == shift)
    ]
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows.set_index(["seed", "group", "problem"]).sort_index()


def weighted(
    terms: Terms, *, scale: float = 1.0, bound: float = 0.0, detail: str = ""
) -> Estimate | None:
    """The mean over problems of a weighted sum, paired by problem, clustered by group, over seeds.

    Problems that a term lacks are left out.

    Args:
        terms: see there.
        scale: a factor, such as 100 for points.
        bound: of the statement, after scaling.
        detail: further words.

    Returns:
        None where no seed has two groups of problems.
    """
    weights = [weight for weight, _ in terms]
    columns = [weight * values.astype(float) for weight, values in terms]
    total = pd.concat(columns, axis=1, join="inner").sum(axis=1)
    sums = []
    for _, rows in total.groupby(level="seed"):
        groups = rows.groupby(level="group").agg(["sum", "count"])
        if len(groups) < 2:
            return None
        totals, sizes = groups["sum"].to_numpy(), groups["count"].to_numpy(float)
        sums.append(sum_over_clusters(totals, sizes, weights))
    if not sums:
        return None
    found = mean_over_seeds(sums)
    shifted = [one._replace(value=one.value - bound / scale) for one in sums]
    return Estimate(
        estimate=found.value * scale,
        low=found.low * scale,
        high=found.high * scale,
        each=tuple(one.value * scale for one in sums),
        n=found.n,
        counted="problems",
        test=over(found.seeds, "paired on the same problems, clustered by group"),
        detail=detail,
        groups=found.groups,
        exact_p=mean_over_seeds(shifted).p,
    )


def mean(values: pd.Series[float]) -> str:
    """`12.3` of 0.123: the mean in percent, for details."""
    return f"{100 * float(np.mean(values.to_numpy(float))):.1f}"
