"""Two checkpoints side by side: what turned, beside what noise would have turned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from svdrift.errors import UserError
from svdrift.findings.turned import Verdict, verdict
from svdrift.models.folders import listed
from svdrift.models.opening import opened
from svdrift.spectra.comparison import grouped, in_words, matrix_changes, on_average
from svdrift.spectra.decomposition import Decomposed, require_same_matrices
from svdrift.spectra.leading_drift import leading_drift
from svdrift.spectra.matrices import Matrix
from svdrift.spectra.on_demand import open_on_demand
from svdrift.spectra.patterns import INSIDE, kind_of
from svdrift.spectra.regions import check, check_nulls
from svdrift.spectra.rest import Rest, left_out, not_finite
from svdrift.spectra.settings import SpectraSettings
from svdrift.spectra.tables import matrix_rows
from svdrift.spectra.vocabulary import match_vocabularies

SHARE = SpectraSettings().shares[0]
NULLS = ("isotropic", "inputs_kept")
DRAWS = (3, 10)  # fewest and most that are made unasked
WORK = 9e10  # rank³ of all matrices and draws of a null: SmolLM2-135M has 3 draws, in a minute


@dataclass(frozen=True)
class Comparison:
    """What changed between two checkpoints.

    Attributes:
        matrices: a row a matrix; columns as in `svdrift.spectra.comparison`.
        groups: the same by kind of module, by layer and over all.
        on_average: a row a null: the mean angle, and its difference from the null.
        drift: every number measured; see `svdrift.spectra.leading_drift`.
        spectra: `anchor` and `target` to a row a matrix; column `looks_random`.
        zeros: `anchor` and `target` to the names of matrices of zeros, which have no directions.
        not_compared: all other tensors.
        hashes: `anchor` and `target` to the SHA-256 of their weights.
        summary: the main results as sentences.
        verdict: what they come to, allowing for the number of matrices and nulls.
    """

    matrices: pd.DataFrame
    groups: pd.DataFrame
    on_average: pd.DataFrame
    drift: pd.DataFrame
    spectra: Mapping[str, pd.DataFrame]
    zeros: Mapping[str, Sequence[str]]
    not_compared: Sequence[Rest]
    hashes: Mapping[str, str]
    summary: Sequence[str]
    verdict: Verdict

    @property
    def looks_random(self) -> pd.DataFrame:
        """The matrices that look never trained, so that their directions are noise."""
        return pd.concat(
            table[table["looks_random"]].assign(checkpoint=name)
            for name, table in self.spectra.items()
        )

    @property
    def faulty(self) -> bool:
        """Whether a matrix looks never trained, or what was not compared holds NaN."""
        return bool(len(self.looks_random) or not_finite(self.not_compared))


def compare(
    anchor: str | Path,
    target: str | Path,
    *,
    ranks: float = SHARE,
    modules: Collection[str] = INSIDE,
    nulls: Sequence[str] = NULLS,
    draws: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Comparison:
    """Which layers and kinds of module turned between two checkpoints, and by more than noise?

    Reads safetensors one pair of matrices at a time.

    Args:
        anchor: model before: a folder, or what else `svdrift.models.opening` takes.
        target: model after.
        ranks: leading directions that are compared, as a share of the rank.
        modules: kinds of module.
        nulls: how the update is drawn anew, `isotropic` among them.
        draws: of each null, at least 2; `default_draws` if None.
        seed: of the nulls.
        device: where to compute.

    Raises:
        UserError: a folder cannot be read or a compared matrix holds NaN, the architectures
            differ, or an argument is out of range.
    """
    with open_pair(anchor, target, modules=modules, device=device) as pair:
        return compare_pair(pair, ranks=ranks, nulls=nulls, draws=draws, seed=seed, device=device)


@dataclass(frozen=True)
class Pair:
    """Two checkpoints that can be compared, open.

    Attributes:
        before: the anchor.
        after: the target.
        notes: what is to be said of how they were opened.
    """

    before: Decomposed
    after: Decomposed
    notes: Sequence[str]


@contextmanager
def open_pair(
    anchor: str | Path,
    target: str | Path,
    *,
    modules: Collection[str] = INSIDE,
    patterns: Mapping[str, str] | None = None,
    device: str = "cpu",
) -> Iterator[Pair]:
    """Open two checkpoints, and see whether they can be compared. No weights are read.

    Args:
        anchor, target, modules, device: see `compare`.
        patterns: see `svdrift.spectra.on_demand.open_on_demand`.

    Raises:
        UserError: see `compare`.
    """
    with opened(anchor) as first, opened(target) as second:
        how: dict[str, Any] = {"modules": modules, "patterns": patterns, "device": device}
        before = open_on_demand(first.folder, **how)
        after = open_on_demand(second.folder, **how)
        before, after, left = match_vocabularies(before, after)
        require_same_matrices(before, after)
        yield Pair(before, after, [*first.notes, *second.notes, *left])


def compare_pair(
    pair: Pair,
    *,
    ranks: float = SHARE,
    nulls: Sequence[str] = NULLS,
    draws: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    processes: int = 1,
    on_done: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Compare checkpoints that are open; see `compare`, and `leading_drift` for the last two."""
    before, after = pair.before, pair.after
    draws = default_draws(before.weights.matrices) if draws is None else draws
    require_measurable(ranks, nulls, draws)
    drift, drawn = leading_drift(
        before,
        after,
        share=ranks,
        nulls=nulls,
        draws=draws,
        seed=seed,
        device=device,
        processes=processes,
        on_done=on_done,
    )
    groups = grouped(changes := matrix_changes(drift, drawn))
    average = on_average(drift, drawn)
    compared = {matrix.name for matrix in after.weights.matrices}
    rest = list(left_out(before.weights, after.weights, compared))
    both = {"anchor": before, "target": after}
    found = Comparison(
        matrices=changes,
        groups=groups,
        on_average=average,
        drift=drift,
        spectra={name: matrix_rows(one) for name, one in both.items()},
        zeros={name: _zeros(one) for name, one in both.items()},
        not_compared=rest,
        hashes={name: one.factors.content_hash for name, one in both.items()},
        summary=(words := in_words(groups, average, ranks)),
        verdict=verdict(changes, groups, average),
    )
    words += [*_remarks(found), *pair.notes]
    return found


def default_draws(matrices: Sequence[Matrix]) -> int:
    """Draws of each null: as many as stay near a minute, from 3 for large models to 10."""
    fewest, most = DRAWS
    return max(fewest, min(most, int(WORK / sum(matrix.rank**3 for matrix in matrices))))


def require_measurable(ranks: float, nulls: Sequence[str], draws: int) -> None:
    """Refuse impossible arguments of `compare`.

    Raises:
        UserError: naming the argument and what is allowed.
    """
    if not 0 < ranks <= 1:
        raise UserError(f"ranks: a share of the rank above 0 and up to 1, not {ranks:g}")
    check([ranks], 1, draws)
    check_nulls(nulls)


def _zeros(checkpoint: Decomposed) -> list[str]:
    """Names of the matrices of zeros, which have no directions."""
    return [
        matrix.name
        for key, matrix in checkpoint.factors.matrices.items()
        if not checkpoint.factors.singular_values(key).any()
    ]


def _remarks(found: Comparison) -> list[str]:
    """What limits a comparison, a line each."""
    rest = found.not_compared
    lines = []
    if differ := sum(bool(one.differs) for one in rest):
        lines.append(f"{differ} of {len(rest)} tensors that were not compared differ.")
    for name, matrices in found.zeros.items():
        lines += listed(f"No angle, because all zeros in the {name}", matrices)
    for checkpoint, rows in found.looks_random.groupby("checkpoint", sort=False):
        lines.append(
            f"WARNING: {len(rows)} matrices of the {checkpoint} look never trained, so their "
            f"directions are noise: {', '.join(sorted(set(map(kind_of, rows['module']))))}."
        )
    return lines + listed("WARNING: not compared, and hold NaN or infinities", not_finite(rest))
