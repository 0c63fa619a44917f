"""What `svdrift compare` measures in the smaller dimension is what whole decompositions give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from svdrift.spectra import leading, nulls
from svdrift.spectra.decomposition import decompose, decompose_stack
from svdrift.spectra.drift import drift_tables
from svdrift.spectra.leading_drift import leading_drift
from svdrift.spectra.on_demand import open_on_demand
from svdrift.spectra.regions import top_angles, values_of
from tests.spectra.synthetic import llama, moved, save

SHAPES = ((24, 24), (48, 24), (24, 48))
K, DRAWS = 5, 150


def pair(shape: tuple[int, int], rank: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix and an update of a rank, both with falling spectra."""
    rng = torch.Generator().manual_seed(3)
    made = []
    for power, size, count in ((0.7, 1.0, 24), (1.0, 0.15, rank)):
        gaussian = torch.randn(shape, generator=rng, dtype=torch.float64)
        U, _, Vh = torch.linalg.svd(gaussian, full_matrices=False)
        values = torch.arange(1, 25, dtype=torch.float64) ** -power * size
        values[count:] = 0
        made.append(U * values @ Vh)
    return made[0], made[1]


def exactly(weight: torch.Tensor, updates: torch.Tensor) -> np.ndarray:
    """Left and right angle and change of values of each update, by whole decompositions."""
    before = decompose(weight).double()
    after = decompose_stack(weight + updates)
    angles = values_of([top_angles(before, after, [K / 24])])
    by_side = {r.side: v for r, v in angles.items() if r.measure == "mean_angle"}
    change = (after.S - before.S).norm(dim=-1) / before.S.norm()
    return np.array([by_side["left"], by_side["right"], change.tolist()])


def quickly(of: leading.Basis, by: leading.Update) -> list[float]:
    found = leading.turned(of, by, K)
    sides = [found.right, found.left] if of.wide else [found.left, found.right]
    return [*sides, ((found.values - of.S).norm() / of.S.norm()).item()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [24, 2])
def test_an_update(shape: tuple[int, int], rank: int) -> None:
    weight, update = pair(shape, rank)
    of = leading.basis(weight)
    found = quickly(of, leading.seen(update, of))
    assert found == pytest.approx(exactly(weight, update[None])[:, 0], abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("left", [1.0, 1e-5])
def test_a_matrix_of_which_little_is_left(shape: tuple[int, int], left: float) -> None:
    weight, update = pair(shape)
    later = left * (weight + update)
    of, k = leading.basis(weight), K
    found = leading.beside(of, leading.basis(later), k)
    sides = [found.right, found.left] if of.wide else [found.left, found.right]
    change = ((found.values - of.S).norm() / of.S.norm()).item()
    expected = exactly(weight, (later - weight)[None])[:, 0]
    assert [*sides, change] == pytest.approx(expected, abs=1e-4)  # left sides are in float32


def test_nothing_has_no_directions() -> None:
    weight, _ = pair(SHAPES[0])
    found = leading.beside(leading.basis(weight), leading.basis(0 * weight), K)
    assert np.isnan([found.left, found.right]).all()
    assert not found.values.any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("null", nulls.NULLS)
def test_draws_have_the_distribution_of_those_of_a_study(shape: tuple[int, int], null: str) -> None:
    weight, update = pair(shape)
    of, before = leading.basis(weight), decompose(weight).double()
    by = leading.seen(update, of)
    ours = np.array(
        [quickly(of, leading.draw(null, update, by, of, 7, (0, "q"), i)) for i in range(DRAWS)]
    ).T
    drawn = [nulls.draw(null, update, before, 1, (0, "q"), i) for i in range(DRAWS)]
    theirs = exactly(weight, torch.stack(drawn))
    error = np.sqrt((ours.var(1) + theirs.var(1)) / DRAWS)
    assert (np.abs(ours.mean(1) - theirs.mean(1)) < 4 * error).all()
    assert ours.std(1) == pytest.approx(theirs.std(1), rel=0.45)


def test_matrices_of_one_shape_share_draws_and_turn_independently() -> None:
    """Angles of two matrices under the same draws: correlated by less than chance would allow."""
    weight, update = pair((24, 24))
    of = leading.basis(weight)
    by = leading.seen(update, of)
    for null in ("isotropic", "inputs_kept"):
        angles = np.array(
            [
                [
                    quickly(of, leading.draw(null, update, by, of, 0, (layer, "q"), number))[0]
                    for number in range(200)
                ]
                for layer in (0, 1)
            ]
        )
        assert abs(np.corrcoef(angles)[0, 1]) < 3.3 / np.sqrt(200)


def test_directions_that_are_not_there_have_no_angle() -> None:
    weight, update = pair((24, 24), rank=2)
    of = leading.basis(update)  # of rank 2, and k is 5
    found = leading.turned(of, leading.seen(weight, of), K)
    assert np.isnan([found.left, found.right]).all()


def test_the_tables_of_a_study_and_processes_side_by_side(tmp_path) -> None:
    save(llama(0), tmp_path / "a")
    save(moved(llama(0), 1), tmp_path / "b")
    how = {"nulls": ["isotropic", "inputs_kept"], "draws": 2, "seed": 3}
    done: list[str] = []
    tables = []
    for processes in (1, 2):
        anchor, target = (open_on_demand(tmp_path / name) for name in ("a", "b"))
        tables.append(
            leading_drift(
                anchor, target, share=0.25, **how, processes=processes, on_done=done.append
            )
        )
        key = (1, "up")
        again = open_on_demand(tmp_path / "b").factors.singular_values(key)
        assert torch.allclose(target.factors.singular_values(key), again, atol=1e-6)
    for one, other in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert sorted(done) == sorted(2 * [m.name for m in anchor.weights.matrices])
    whole = drift_tables(anchor, target, shares=[0.25], windows=1, **how).drift
    names = ["layer", "module", "measure", "side", "region", "start", "stop", "k"]
    merged = tables[0].drift.merge(whole, on=names, how="left", validate="1:1")
    assert merged["observed_x"].to_numpy() == pytest.approx(merged["observed_y"], abs=1e-4)
    assert list(tables[0].drift) == list(whole)
