"""Accuracies with intervals.

Problems of one group are nearly the same problem, so they are not independent observations: a
model that knows one solution solves them all. Every interval here therefore treats the group as
the unit of sampling (the *cluster*). The tests check the coverage by simulation; a plain Wilson
interval covers as little as half the time under strong clustering, which is why the table's `low`
and `high` are not that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

PLACE = ["checkpoint", "split", "role", "shift"]
PROBLEM = [*PLACE, "problem"]
WITHIN_TRIES = "solved_within_tries"
SOLVED = ["solved_first_try", WITHIN_TRIES]
GROUP_SOLVED = [f"group_{measure}" for measure in SOLVED]
FIXED_MEASURES = [*SOLVED, "translated"]


def wilson_interval(
    successes: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Wilson score interval of a share (Wilson 1927); elementwise, any shape.

    `n` need not be whole: an effective sample size will do. Raises `ValueError` unless
    0 <= successes <= n and n > 0.
    """
    k, size = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if not (np.all(size > 0) and np.all(k >= 0) and np.all(k <= size)):
        raise ValueError("wilson_interval needs 0 <= successes <= n and n > 0")
    share = k / size
    z2 = stats.norm.isf((1 - confidence) / 2) ** 2
    centre = (share + z2 / (2 * size)) / (1 + z2 / size)
    half = np.sqrt(z2 * (share * (1 - share) / size + z2 / (4 * size**2))) / (1 + z2 / size)
    # Rounding must not exclude the share itself at 0 and 1.
    return np.clip(centre - half, 0.0, share), np.clip(centre + half, share, 1.0)


def effective_size(
    successes: ArrayLike,
    n: ArrayLike,
    clusters: ArrayLike,
    sum_yy: ArrayLike,
    sum_ym: ArrayLike,
    sum_mm: ArrayLike,
    confidence: float = 0.95,
) -> Floats:
    """Number of independent observations worth as much as `n` clustered ones; elementwise.

    With y successes among the m observations of a cluster, `sum_yy`, `sum_ym`, `sum_mm` are the
    sums over clusters of y², y·m, m². The size is n / deff, deff >= 1 the design effect of the
    ratio estimator (Kish 1965), times (z/t)² for the few clusters that deff is estimated from
    (Korn and Graubard 1998). Where every observation agrees deff cannot be estimated, and the
    worst case is taken: each cluster is one observation.
    """
    k, size, groups = (np.asarray(x, dtype=float) for x in (successes, n, clusters))
    yy, ym, mm = (np.asarray(x, dtype=float) for x in (sum_yy, sum_ym, sum_mm))
    share = k / size
    freedom = np.maximum(groups - 1, 1)
    residual = yy - 2 * share * ym + share**2 * mm
    binomial = size * share * (1 - share)
    mixed = (binomial > 0) & (groups > 1)
    deff = groups / freedom * residual / np.where(mixed, binomial, 1.0)
    independent = np.where(mixed, size / np.maximum(deff, 1.0), size**2 / mm)
    tail = (1 - confidence) / 2
    result: Floats = independent * (stats.norm.isf(tail) / stats.t.isf(tail, freedom)) ** 2
    return result


def clustered_interval(
    successes: ArrayLike, sizes: ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson interval of the pooled share at the effective sample size of clustered observations.

    `successes` and `sizes`: shape (clusters,), the successes and observations of each cluster.
    Coverage in simulations is 0.92 to 0.96 for shares of 0.1 to 0.9 and intra-cluster
    correlations up to 0.8, and about 0.9 for shares of 0.02 with strong correlation.
    """
    y, m = np.asarray(successes, dtype=float), np.asarray(sizes, dtype=float)
    n = effective_size(
        y.sum(), m.sum(), len(m), (y * y).sum(), (y * m).sum(), (m * m).sum(), confidence
    )
    low, high = wilson_interval(y.sum() / m.sum() * n, n, confidence)
    return float(low), float(high)


def error_where_all_agree(sizes: ArrayLike, reach: float, confidence: float = 0.95) -> float:
    """Standard error to take for a mean over clusters that are all alike, and so show no variance.

    Such clusters say nothing of how they vary, but limit how many others there can be: at most the
    share u up to which Wilson's interval of 0 such clusters reaches (`clustered_interval`; a finer
    rule of three). The mean of all outcomes then lies within u * `reach` of theirs, and the error
    is that over Student's t. For a paired difference of outcomes of 0 and 1 this is the score
    interval (Tango 1998, Statistics in Medicine 17:891), with each cluster as a pair.

    Args:
        sizes: observations of each cluster, shape (clusters,); at least two clusters.
        reach: how far an outcome can lie from the value of the clusters.
        confidence: of the interval that the error is for.
    """
    m = np.asarray(sizes, dtype=float)
    unseen = clustered_interval(np.zeros_like(m), m, confidence)[1]
    return reach * unseen / float(stats.t.isf((1 - confidence) / 2, len(m) - 1))


def problems_of(episodes: pd.DataFrame) -> pd.DataFrame:
    """One row a problem from the episode table's one row a try.

    Columns: `checkpoint`, `split`, `role`, `shift`, `problem`, `group`, `subsets`, `fault` and
    `translated` of the first try, `solved_first_try`, `solved_within_tries`. Raises `ValueError`
    if a try is recorded twice or a problem has no first try.
    """
    problem = episodes.groupby(PROBLEM, sort=False, dropna=False).ngroup().to_numpy()
    number = episodes["try_number"].to_numpy()
    if pd.DataFrame({"problem": problem, "try": number}).duplicated().any():
        raise ValueError("the episode table has one try of a problem more than once")
    first, solved = number == 1, np.zeros(len(set(problem)), dtype=bool)
    if first.sum() != len(solved):
        raise ValueError("the episode table has problems without a first try")
    solved[problem[episodes["solved"].to_numpy(dtype=bool)]] = True
    columns = [*PROBLEM, "group", "subsets", "fault", "translated", "solved"]
    problems: pd.DataFrame = episodes.loc[first, columns].reset_index(drop=True)
    problems = problems.rename(columns={"solved": "solved_first_try"})
    return problems.assign(solved_within_tries=solved[problem[first]])


def by_subset(problems: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Named parts of a table of problems or tries: `all`, then each of `subsets`, by name."""
    members = {text: str(text).split(",") for text in problems["subsets"].unique()}
    names = sorted({name for own in members.values() for name in own if name})
    parts = {"all": problems} if len(problems) else {}
    for name in names:
        texts = [text for text, own in members.items() if name in own]
        parts[name] = problems[problems["subsets"].isin(texts)]
    return parts


def accuracy_table(episodes: pd.DataFrame, faults: Sequence[str] = ()) -> pd.DataFrame:
    """Shares of problems by checkpoint, split, subset and measure, with 95 % intervals.

    Measures: `solved_first_try`, `solved_within_tries`, `translated` (first try) and
    `fault:<kind>` (first try) for every kind in `faults` or in the table (`none` aside). Over the
    whole split also `group_solved_first_try` and `group_solved_within_tries`: shares of groups of
    which every problem is solved, such as all steps of a route.
    Subsets: see `by_subset`; one that is the whole split is left out.

    Columns: `checkpoint`, `split`, `role`, `shift`, `subset`, `measure`, `n` (what the share is of:
    problems, or groups), `groups`, `value` (0 to 1), `low` and `high` (95 %, clustered by group as
    in `clustered_interval`), `wilson_low` and `wilson_high` (95 %, as if all were independent).
    """
    problems = problems_of(episodes)
    kinds = list(dict.fromkeys([*faults, *sorted(problems["fault"].unique())]))
    shares = problems.assign(
        **{f"fault:{kind}": problems["fault"] == kind for kind in kinds if kind != "none"}
    )
    measures = [*FIXED_MEASURES, *(c for c in shares.columns if c.startswith("fault:"))]
    whole = problems.groupby(["checkpoint", "split"]).size()

    tables = []
    for subset, part in by_subset(shares).items():
        table = _shares(part, measures)
        if subset != "all":
            split_size = whole.loc[pd.MultiIndex.from_frame(table[["checkpoint", "split"]])]
            table = table[table["n"].to_numpy() < split_size.to_numpy()]
        tables.append(table.assign(subset=subset))
    tables.append(_shares(_groups_of(problems), GROUP_SOLVED).assign(subset="all"))
    columns = [*PLACE, "subset", "measure", "n", "groups"]
    columns += ["value", "low", "high", "wilson_low", "wilson_high"]
    return pd.concat(tables, ignore_index=True)[columns]


def _groups_of(problems: pd.DataFrame) -> pd.DataFrame:
    """One row a group of `problems_of`: whether all of its problems are solved (GROUP_SOLVED)."""
    solved = problems.groupby([*PLACE, "group"], sort=False)[SOLVED].all()
    return solved.set_axis(GROUP_SOLVED, axis="columns").reset_index()


def _shares(problems: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Share and intervals of each Boolean column of `problems`, by checkpoint and split."""
    keys = PLACE
    grouped = problems.astype(dict.fromkeys(measures, float)).groupby([*keys, "group"])
    counts = grouped[list(measures)].sum().assign(m=grouped.size().astype(float)).reset_index()
    long = counts.melt([*keys, "group", "m"], measures, "measure", "y")
    long = long.assign(yy=long["y"] ** 2, ym=long["y"] * long["m"], mm=long["m"] ** 2, groups=1)
    sums = ["y", "m", "yy", "ym", "mm", "groups"]
    table = long.groupby([*keys, "measure"], sort=False)[sums].sum().reset_index()

    y, m = table["y"].to_numpy(), table["m"].to_numpy()
    size = effective_size(y, m, table["groups"], table["yy"], table["ym"], table["mm"])
    low, high = wilson_interval(y / m * size, size)
    wilson_low, wilson_high = wilson_interval(y, m)
    return table.assign(
        n=m.astype(int), value=y / m, low=low, high=high, wilson_low=wilson_low,
        wilson_high=wilson_high,
    )  # fmt: skip
