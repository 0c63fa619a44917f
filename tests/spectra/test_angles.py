import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm, subspace_angles
from scipy.stats import ortho_group

from svdrift.spectra.angles import (
    angles_from_cosines,
    best_alignment,
    chordal_distance,
    energy_in_top,
    energy_shares,
    principal_angles,
    project,
    rank_count,
    signed_projection,
)


def basis(rng: np.random.Generator, rows: int, k: int) -> torch.Tensor:
    return torch.from_numpy(np.linalg.qr(rng.standard_normal((rows, k)))[0])


@given(st.integers(1, 30), st.data(), st.integers(0, 2**31), st.floats(-8, 1))
def test_against_scipy(rows: int, data: st.DataObject, seed: int, log_size: float) -> None:
    k = data.draw(st.integers(1, rows))
    rng = np.random.default_rng(seed)
    first = basis(rng, rows, k)
    noise = 10**log_size * rng.standard_normal((rows, k))
    second = torch.from_numpy(np.linalg.qr(first.numpy() + noise)[0])
    ours = principal_angles(first, second).numpy()
    scipys = subspace_angles(first.numpy(), second.numpy())[::-1]
    # scipy (1.17) takes sines for the wrong half when only some angles are below 45 degrees.
    exact = 1e-12 if scipys.max() < math.pi / 4 else 1e-7
    assert ours == pytest.approx(scipys, abs=exact, rel=1e-8)
    assert angles_from_cosines(first.T @ second).numpy() == pytest.approx(scipys, abs=2e-7)
    distance = chordal_distance(first.T @ second).item()
    assert distance == pytest.approx(np.sqrt(np.sum(np.sin(scipys) ** 2)), abs=1e-6)
    projectors = first @ first.T - second @ second.T
    assert distance == pytest.approx(projectors.norm().item() / math.sqrt(2), abs=1e-6)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (1e-6, 0.1, 3), (10, 45, 80), (90, 90, 90)])
def test_constructed_rotation(degrees: tuple[float, ...]) -> None:
    """Each of three directions turned by a known angle into a direction of its own outside."""
    q = torch.from_numpy(ortho_group.rvs(10, random_state=3))
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    turned = q[:, :3] * angles.cos() + q[:, 3:6] * angles.sin()
    mixed = turned @ torch.from_numpy(ortho_group.rvs(3, random_state=4))  # any basis of it
    found = principal_angles(q[:, :3], mixed)
    assert found.rad2deg().numpy() == pytest.approx(degrees, rel=1e-9, abs=1e-11)


def test_small_angles_survive_float32() -> None:
    q = torch.from_numpy(ortho_group.rvs(8, random_state=5))
    turned = q[:, :1] * math.cos(1e-5) + q[:, 1:2] * math.sin(1e-5)
    found = principal_angles(q[:, :1].float(), turned.float())
    assert found.item() == pytest.approx(1e-5, rel=0.02)  # arccos would give 0 or 5e-4


def test_best_alignment_ignores_order_and_sign() -> None:
    q = torch.from_numpy(ortho_group.rvs(6, random_state=6))
    other = -q[:, [3, 0, 1, 2, 5, 4]]
    assert best_alignment(q.T @ other).numpy() == pytest.approx(np.ones(6))


def test_energy_of_known_updates() -> None:
    torch.manual_seed(0)
    u, s, vh = torch.linalg.svd(torch.randn(9, 5, dtype=torch.float64), full_matrices=False)

    def shares(update: torch.Tensor) -> dict[str, float]:
        found = energy_shares(project(update, u, vh.T))
        return {name: share.item() for name, share in found.items()}

    scaled = shares((u * (0.1 * s)) @ vh)
    assert scaled["energy_diagonal"] == pytest.approx(1)
    generator = torch.randn(5, 5, dtype=torch.float64)
    rotation = torch.from_numpy(expm(1e-6 * (generator - generator.T).numpy()))
    rotated = shares((u @ rotation * s) @ vh - (u * s) @ vh)
    assert rotated["energy_off_diagonal"] == pytest.approx(1, abs=1e-6)
    outside = torch.randn(9, 5, dtype=torch.float64)
    outside -= u @ (u.T @ outside)
    assert shares(outside)["energy_outside"] == pytest.approx(1)
    top = torch.outer(u[:, 0], vh[1])
    for k, expected in ((1, (1, 0, 0)), (2, (1, 1, 1))):
        seen = energy_in_top(project(top, u, vh.T), k)
        assert (seen["left"], seen["right"], seen["both"]) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(shares(torch.zeros(9, 5, dtype=torch.float64))["energy_diagonal"])


def test_energy_of_a_wide_update_on_each_side() -> None:
    """Against projectors; what lies outside the thin basis counts on the other side."""
    torch.manual_seed(1)
    u, _, vh = torch.linalg.svd(torch.randn(4, 9, dtype=torch.float64), full_matrices=False)
    update = torch.randn(4, 9, dtype=torch.float64)
    found = energy_in_top(project(update, u, vh.T), 2)
    left, right = u[:, :2] @ u[:, :2].T, vh[:2].T @ vh[:2]
    energy = update.square().sum()
    for side, part in (
        ("left", left @ update),
        ("right", update @ right),
        ("both", left @ update @ right),
    ):
        assert found[side].item() == pytest.approx((part.square().sum() / energy).item())


def test_stacks_are_measured_one_by_one() -> None:
    torch.manual_seed(2)
    updates = torch.randn(3, 5, 7, dtype=torch.float64)
    bases = torch.linalg.qr(torch.randn(3, 6, 4, dtype=torch.float64)).Q
    u, _, vh = torch.linalg.svd(torch.randn(5, 7, dtype=torch.float64), full_matrices=False)
    cross = bases[0].T @ bases
    stacked = [angles_from_cosines(cross), chordal_distance(cross), best_alignment(cross)]
    together = project(updates, u, vh.T)
    stacked += [*energy_shares(together).values(), *energy_in_top(together, 2).values()]
    for i in range(3):
        alone = project(updates[i], u, vh.T)
        one = [f(cross[i]) for f in (angles_from_cosines, chordal_distance, best_alignment)]
        one += [*energy_shares(alone).values(), *energy_in_top(alone, 2).values()]
        for whole, part in zip(stacked, one, strict=True):
            torch.testing.assert_close(whole[i], part)


def test_signed_projection() -> None:
    torch.manual_seed(0)
    update = torch.randn(4, 6, dtype=torch.float64)
    other = torch.randn(4, 6, dtype=torch.float64)
    other -= (other * update).sum() / (update * update).sum() * update
    assert signed_projection(-0.3 * update, update) == pytest.approx((-0.3, -1))
    share, cosine = signed_projection(0.5 * update + other, update)
    assert share == pytest.approx(0.5)
    assert 0 < cosine < 1
    assert math.isnan(signed_projection(update, torch.zeros(4, 6))[0])


@given(st.floats(0, 1), st.integers(1, 5000))
def test_rank_count(share: float, rank: int) -> None:
    count = rank_count(share, rank)
    assert 0 <= count <= rank
    assert (count == 0) == (share == 0)
    assert abs(count - share * rank) <= max(0.5 + 1e-9, 1 - share * rank)
