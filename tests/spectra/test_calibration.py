"""How often `svdrift compare` puts a matrix above or below a null that made its update."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from svdrift.spectra.comparison import matrix_changes
from svdrift.spectra.decomposition import Factors, decompose_stack
from svdrift.spectra.nulls import draw
from svdrift.spectra.regions import top_angles, values_of

SHAPE, SHARE = (32, 24), 0.2


def angles_of_noise(number: int, null: str, draws: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drift of one matrix whose update is a draw of the null, beside further draws."""
    rng = torch.Generator().manual_seed(number)
    gaussian = torch.randn(2, *SHAPE, generator=rng, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(gaussian[0], full_matrices=False)
    before = Factors(u, torch.arange(1, 25, dtype=torch.float64) ** -0.7, vh)  # as after training
    weight = before.U * before.S @ before.Vh
    update = 0.02 * gaussian[1] * torch.logspace(0, -1, SHAPE[1])
    key = (number, "q")
    drawn = [draw(null, update, before, 0, key, i) for i in range(draws + 1)]
    stack = decompose_stack(weight + torch.stack(drawn))
    rows, draws_of = [], []
    for region, values in values_of([top_angles(before, stack, [SHARE])]).items():
        place = {"layer": number, "module": "q", "measure": region.measure, "side": region.side}
        place |= {"region": "top", "start": 0.0, "stop": SHARE}
        found = {"isotropic": values[1], "random": 90.0}
        rows.append(place | {"observed": values[0]} | found)
        draws_of += [place | {"draw": i, "isotropic": v} for i, v in enumerate(values[1:])]
    for measure in ("value_change", "update_norm", "energy_top"):
        row = {"layer": number, "module": "q", "measure": measure, "side": "both", "region": "all"}
        rows.append(row | {"start": 0.0, "stop": 1.0, "observed": 1.0, "isotropic": 1.0})
    return pd.DataFrame(rows), pd.DataFrame(draws_of)


@pytest.mark.parametrize(("null", "draws"), [("isotropic", 5), ("inputs_kept", 10)])
def test_noise_is_beyond_its_null_in_one_matrix_of_twenty(null: str, draws: int) -> None:
    """What the legend says: up to 1 in 40 above, 1 in 40 below."""
    cases = [angles_of_noise(number, null, draws) for number in range(500)]
    drift, nulls = (
        pd.concat(parts, ignore_index=True).astype({"layer": "Int64"})
        for parts in zip(*cases, strict=True)
    )
    changes = matrix_changes(drift, nulls)
    above, below = (changes[f"{which}_isotropic"].mean() for which in ("more", "less"))
    assert above <= 0.025 + 0.014  # two standard errors
    assert below <= 0.025 + 0.014
