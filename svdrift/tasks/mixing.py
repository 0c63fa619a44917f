"""Problems of several sets in given shares."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pandas as pd

from svdrift.errors import UserError


def allocate(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """How many of `count` each set gives: whole numbers in the given shares.

    Each set gives its share rounded down. What is then missing comes, one each, from the sets with
    the largest remainders; of equal ones the first.
    """
    given = {name: Fraction(str(share)) for name, share in shares.items()}
    exact = {name: share * count / sum(given.values()) for name, share in given.items()}
    counts = {name: int(number) for name, number in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])  # stable
    for name in by_remainder[: count - sum(counts.values())]:
        counts[name] += 1
    return counts


def largest_count(shares: Mapping[str, float], sizes: Mapping[str, int]) -> int:
    """The largest total for which every set has enough."""
    # No total above this fits: some set's share, rounded down, would exceed its size.
    count = min(int((sizes[name] + 1) * sum(shares.values()) / shares[name]) for name in shares)
    while not _fits(allocate(shares, count), sizes):
        count -= 1
    return count


def _fits(counts: Mapping[str, int], sizes: Mapping[str, int]) -> bool:
    return all(number <= sizes[name] for name, number in counts.items())


def mix(
    tables: Mapping[str, pd.DataFrame], shares: Mapping[str, float], count: int | None, seed: int
) -> pd.DataFrame:
    """Draw problems of each set without replacement, and shuffle them.

    The draw from one set does not depend on the other sets.

    Args:
        tables: of the sets.
        shares: of the sets, above 0; they add up to 1.
        count: problems in all; None for as many as the shares allow.
        seed: of the draw.

    Returns:
        One row a problem. `source` names its set. A column that its set lacks is null.

    Raises:
        UserError: a set has too few problems.
    """
    sizes = {name: len(tables[name]) for name in shares}
    for name, size in sizes.items():
        if size == 0:
            raise UserError(f"mix: {name} is empty (leave it out, or change how it is made)")
    largest = largest_count(shares, sizes)
    counts = allocate(shares, largest if count is None else count)
    if not _fits(counts, sizes):
        short = [f"{name} has {sizes[name]}" for name in counts if counts[name] > sizes[name]]
        raise UserError(
            f"mix: the sets have too few problems for {count} in these shares: {', '.join(short)} "
            f"(allowed: a count up to {largest}, other shares, or larger sets)"
        )
    drawn = []
    for name, number in counts.items():
        generator = np.random.default_rng([seed, *name.encode()])
        chosen = generator.choice(sizes[name], number, replace=False)
        drawn.append(tables[name].iloc[chosen].assign(source=name))
    partial = {column for table in drawn for column in table if any(column not in t for t in drawn)}
    # Types that have a null of their own, so that numbers stay whole and truths true or false.
    drawn = [
        table.assign(**{str(c): table[c].convert_dtypes() for c in table if c in partial})
        for table in drawn
    ]
    joined = pd.concat(drawn, ignore_index=True)
    order = np.random.default_rng([seed, *b"mixture"]).permutation(len(joined))
    return joined.iloc[order].reset_index(drop=True)
