"""Drift minus a null, where the update is itself a draw of that null."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from svdrift.findings.excess import beyond, ends_of_spectrum
from svdrift.findings.turned import verdict
from svdrift.spectra.comparison import grouped, matrix_changes, on_average
from svdrift.spectra.decomposition import Decomposed, Factors, decompose
from svdrift.spectra.drift import Drift, drift_tables
from svdrift.spectra.leading_drift import leading_drift
from svdrift.spectra.matrices import Key, Matrix
from svdrift.spectra.nulls import NULLS, generator
from tests.validation.checks import NOTHING, Said, Simulate, Simulation, Statement

TITLE = "Drift minus a null, where the update is a draw of the null"
SHAPES = {"q": (32, 32), "k": (16, 32), "up": (48, 32), "down": (32, 48)}
SIZE = 0.1  # the update's Frobenius norm over that of the matrix
TOP = 0.15  # of the rank
ANGLES = "leading directions turn as far as the null turns them, mean over matrices"
VALUES = "singular values change as much as under the null, mean over matrices"
VERDICT = "verdict of `svdrift compare`, 28 matrices: directions turned further, or less far"
COMPARED = ("isotropic", "inputs_kept")  # its nulls
LAYERS = 7
MATRIX = "one matrix turned further, or less far, than the null (`svdrift compare`)"


class Held:
    """Matrices in memory, as weights and as factors: what drift reads."""

    content_hash, folder = "", "in memory"

    def __init__(self, tensors: dict[Key, torch.Tensor]) -> None:
        self._tensors = {f"{layer}.{module}": t for (layer, module), t in tensors.items()}
        self.matrices = {
            key: Matrix(f"{key[0]}.{key[1]}", *key, tuple(t.shape)) for key, t in tensors.items()
        }

    def read(self, name: str | Key) -> torch.Tensor | Factors:
        """A tensor by its name, or the factors of one by its key."""
        if isinstance(name, str):
            return self._tensors[name]
        return decompose(self._tensors[self.matrices[name].name])


def moved(rng: np.random.Generator, null: str, layers: int = 1) -> list[Decomposed]:
    """Random matrices with falling spectra, and the same moved by a draw of the null."""
    before, after = {}, {}
    for layer, (module, shape) in itertools.product(range(layers), SHAPES.items()):
        own = generator(int(rng.integers(2**62)))
        weight, update = falling(shape, 0.5, own), falling(shape, 1.0, own)
        drawn = NULLS[null](update, exact_factors(weight), own)
        before[layer, module] = weight
        after[layer, module] = weight + SIZE * weight.norm() / drawn.norm() * drawn
    return [Decomposed(held, held) for held in (Held(before), Held(after))]  # type: ignore[arg-type]


def study(rng: np.random.Generator, null: str, draws: int, seed: int) -> Drift:
    """One seed's tables."""
    tables = drift_tables(
        *moved(rng, null),
        shares=[TOP],
        windows=1,
        nulls=list(dict.fromkeys(["isotropic", null])),
        draws=draws,
        seed=int(rng.integers(2**62)),
    )
    return Drift(*(table.assign(seed=seed) for table in tables))


def falling(shape: tuple[int, int], power: float, rng: torch.Generator) -> torch.Tensor:
    """A random matrix whose singular values fall as a power of their rank."""
    gaussian = torch.randn(shape, generator=rng, dtype=torch.float64)
    U, S, Vh = torch.linalg.svd(gaussian, full_matrices=False)
    return U * torch.arange(1, len(S) + 1) ** -power @ Vh


def exact_factors(weight: torch.Tensor) -> Factors:
    return Factors(*torch.linalg.svd(weight, full_matrices=False))


def said_of(studies: Sequence[Drift], null: str, measure: str) -> Said:
    """The mean of `value_change`, or of `mean_angle` of the leading directions, minus the null."""
    drift, nulls = (pd.concat(tables) for tables in zip(*studies, strict=True))
    rows = drift[drift["measure"] == measure]
    if measure == "mean_angle":
        rows = ends_of_spectrum(rows)["top"]
    found = beyond(rows, nulls, null, 1, "")
    return NOTHING if found is None else Said(found.low, found.high)


def of_matrices(study: Drift, null: str) -> list[Said]:
    """Which matrices `svdrift compare` counts as having turned further, or less far."""
    changes = matrix_changes(*study)
    counted = changes[f"more_{null}"] - changes[f"less_{null}"]
    return [Said(-1.0 + 2 * (sign > 0), 1.0 - 2 * (sign < 0)) for sign in counted]


def compared(draws: int) -> Simulate:
    """What `svdrift compare` comes to where the update is isotropic noise."""

    def simulate(rng: np.random.Generator) -> dict[str, Said]:
        before, after = moved(rng, "isotropic", LAYERS)
        seed = int(rng.integers(2**62))
        drift, drawn = leading_drift(
            before, after, share=TOP, nulls=COMPARED, draws=draws, seed=seed
        )
        changes = matrix_changes(drift, drawn)
        found = verdict(changes, grouped(changes), on_average(drift, drawn)).which
        assert found in ("noise", "further", "less far")
        sign = {"noise": 0, "further": 1, "less far": -1}[found]
        return {VERDICT: Said(sign - 0.5, sign + 0.5)}

    return simulate


def studies(null: str, draws: int, seeds: int = 1) -> Simulate:
    def simulate(rng: np.random.Generator) -> dict[str, Said | list[Said]]:
        found = [study(rng, null, draws, seed) for seed in range(seeds)]
        return {
            ANGLES: said_of(found, null, "mean_angle"),
            VALUES: said_of(found, null, "value_change"),
            MATRIX: of_matrices(found[0], null),
        }

    return simulate


MEANS = (Statement(ANGLES), Statement(VALUES))
LONG_TAIL = "angles have a long upper tail, and these studies average only four matrices"

SIMULATIONS = [
    *(
        Simulation(
            f"isotropic noise, {draws} draws, one seed",
            [*MEANS, Statement(MATRIX)] if draws > 3 else MEANS,
            studies("isotropic", draws),
            400,
            10,
        )
        for draws in (3, 5, 10)
    ),
    *(
        Simulation(
            f"{words}, 10 draws, one seed",
            [Statement(ANGLES, limit=0.09, note=LONG_TAIL), Statement(VALUES), Statement(MATRIX)],
            studies(null, 10),
            long,
            6,
        )
        for null, words, long in (
            ("inputs_kept", "noise with the update's inputs", 800),
            ("signs_randomised", "signs randomised", 200),
        )
    ),
    Simulation("isotropic noise, 5 draws, five seeds", MEANS, studies("isotropic", 5, 5), 120, 3),
    *(
        Simulation(
            f"isotropic noise, {draws} draws of each null",
            [Statement(VERDICT)],
            compared(draws),
            200,
            4,
        )
        for draws in (3, 10)
    ),
]
