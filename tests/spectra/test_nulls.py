import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.stats import ortho_group

from svdrift.spectra.angles import angles_from_cosines
from svdrift.spectra.decomposition import Factors, decompose
from svdrift.spectra.nulls import (
    NULLS,
    draw,
    fit_random,
    generator,
    has_even_lengths,
    inputs_kept,
    isotropic,
    law_values,
    marchenko_pastur,
    minus_null,
    norms_kept,
    random_basis,
    signs_randomised,
    spectrum_kept,
    unrelated_pair,
)
from svdrift.spectra.settings import SpectraSettings

SHAPES = [(64, 64), (128, 128), (336, 128), (88, 128), (32, 256)]


def look(matrix: torch.Tensor) -> bool:
    shape = (matrix.shape[0], matrix.shape[1])
    return fit_random(torch.linalg.svdvals(matrix), shape).follows_law and has_even_lengths(matrix)


@pytest.mark.parametrize("shape", [(50, 50), (200, 50)])
def test_law_is_marchenko_and_pasturs(shape: tuple[int, int]) -> None:
    values, cdf = marchenko_pastur(shape)
    y = min(shape) / max(shape)
    low, high = (1 - math.sqrt(y)) ** 2, (1 + math.sqrt(y)) ** 2

    def density(x: float) -> float:
        return math.sqrt(max((high - x) * (x - low), 0)) / (2 * math.pi * y * x)

    for i in (1000, 2000, 3000):
        eigenvalue = values[i] ** 2 / max(shape)
        assert cdf[i] == pytest.approx(integrate.quad(density, low, eigenvalue)[0], abs=1e-4)
    edges = [math.sqrt(max(shape)) - math.sqrt(min(shape)), sum(map(math.sqrt, shape))]
    assert values[[0, -1]] == pytest.approx(edges, abs=1e-6)


def test_published_spectra_were_freshly_initialised() -> None:
    """The values read off the published tables (paper.md): law of 0.02 N(0, 1) entries."""
    q = law_values(0.02, (4096, 4096))
    assert q[0] == pytest.approx(2.55, abs=0.01)
    assert q[1024] == pytest.approx(1.63, abs=0.02)
    k = law_values(0.02, (1024, 4096))
    assert k[[0, -1]] == pytest.approx([1.92, 0.64], abs=0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["normal", "kaiming", "truncated"])
def test_fresh_matrices_are_flagged(shape: tuple[int, int], kind: str) -> None:
    torch.manual_seed(0)
    for _ in range(25):
        matrix = torch.empty(shape)
        if kind == "normal":
            torch.nn.init.normal_(matrix, std=0.02)
        elif kind == "kaiming":
            torch.nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
        else:
            torch.nn.init.trunc_normal_(matrix, std=0.02, a=-0.04, b=0.04)
        assert look(matrix)
        assert look(matrix.bfloat16().float())


@pytest.mark.parametrize("shape", SHAPES)
def test_trained_like_matrices_are_not(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    rank = min(shape)
    u, s, vh = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    power_law = torch.arange(1, rank + 1) ** -0.7
    assert not look(u * power_law @ vh)
    outlier = s.clone()
    outlier[0] *= 1.3  # one direction learnt, the random bulk kept
    assert not look(u * outlier @ vh)
    assert not look(u @ vh)  # orthogonal
    assert not look(torch.randn(shape) * torch.logspace(-1, 0, shape[1]))  # uneven columns
    assert not look(torch.zeros(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_random_spectrum_is_not_enough(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(torch.randn(shape))
    u, _, vh = torch.linalg.svd(torch.randn(shape) * torch.logspace(-1, 0, shape[0])[:, None])
    # The values of a random matrix, the vectors of one whose rows are uneven.
    matrix = u[:, : len(values)] * values @ vh[: len(values)]
    assert fit_random(torch.linalg.svdvals(matrix), shape).follows_law
    for turned in (matrix, matrix.T):
        assert not has_even_lengths(turned)


def test_padding_leaves_a_matrix_random() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(1024, 64)
    matrix[-5:] = 0
    assert look(matrix)


def test_random_basis_is_haar() -> None:
    """Squared entries of a Haar basis in d dimensions are Beta(1/2, (d - 1) / 2)."""
    entries = [random_basis(6, 3, generator(0, i))[2, 1].item() for i in range(2000)]
    assert stats.kstest(np.square(entries), stats.beta(0.5, 2.5).cdf).pvalue > 0.001
    assert abs(np.mean(entries)) < 4 / math.sqrt(6 * 2000)


def test_unrelated_pair_is_that_of_two_gaussian_matrices() -> None:
    """The shortcut without singular vectors against two real decompositions."""
    shape, k = (24, 16), 4

    def angle(left: torch.Tensor, right: torch.Tensor) -> float:
        return angles_from_cosines(left[:, :k].T @ right[:, :k]).mean().item()

    fast, slow, fast_change, slow_change = [], [], [], []
    for number in range(300):
        a, b = unrelated_pair(shape, generator(1, number))
        fast.append(angle(a.U, b.U))
        fast_change.append((a.S - b.S).norm().item())
        torch.manual_seed(number)
        c, d = decompose(torch.randn(shape)), decompose(torch.randn(shape))
        slow.append(angle(c.U.double(), d.U.double()))
        slow_change.append((c.S - d.S).norm().item())
    assert stats.ks_2samp(fast, slow).pvalue > 0.001
    assert stats.ks_2samp(fast_change, slow_change).pvalue > 0.001


# ---------------------------------------------------------------------- updates drawn anew

UPDATES = [(12, 12), (20, 12), (12, 20)]


def update_of(shape: tuple[int, int]) -> torch.Tensor:
    """Of falling spectrum, with uneven rows and columns, and one row of zeros."""
    rng = torch.Generator().manual_seed(7)
    gaussian = torch.randn(shape, generator=rng, dtype=torch.float64)
    update = gaussian * torch.logspace(-2, 0, shape[0])[:, None] * torch.logspace(0, -1, shape[1])
    update[3] = 0
    return update


def before_of(shape: tuple[int, int]) -> Factors:
    rng = torch.Generator().manual_seed(8)
    gaussian = torch.randn(shape, generator=rng, dtype=torch.float64)
    return Factors(*torch.linalg.svd(gaussian, full_matrices=False))


def is_haar(basis: list[torch.Tensor]) -> bool:
    """Squared entries of unit vectors without direction are Beta(1/2, (d - 1) / 2)."""
    entries = torch.stack(basis)
    law = stats.beta(0.5, (entries.shape[1] - 1) / 2).cdf
    return bool(stats.kstest(entries[:, 0].square().numpy(), law).pvalue > 0.001)


def test_isotropic_has_the_norm_and_no_direction() -> None:
    update = torch.zeros(8, 5, dtype=torch.float64)
    update[0, 0] = 3.0
    draws = torch.stack([isotropic(update, generator(0, i)) for i in range(2000)])
    norms = draws.flatten(1).norm(dim=1)
    assert norms.numpy() == pytest.approx(np.full(2000, 3.0))
    energy = draws.square().mean(0)
    assert energy.numpy() == pytest.approx(np.full((8, 5), 9 / 40), rel=0.2)


@pytest.mark.parametrize("shape", UPDATES)
def test_spectrum_kept(shape: tuple[int, int]) -> None:
    update = update_of(shape)
    left, right = [], []
    for i in range(400):
        u, s, vh = torch.linalg.svd(spectrum_kept(update, generator(1, i)), full_matrices=False)
        left.append(u[:, 0])
        right.append(vh[0])
    torch.testing.assert_close(s, torch.linalg.svdvals(update), atol=1e-12, rtol=1e-10)
    assert is_haar(left)
    assert is_haar(right)


@pytest.mark.parametrize("shape", UPDATES)
def test_inputs_kept(shape: tuple[int, int]) -> None:
    """The Gram matrix of inputs stays, and so do values and right vectors; left ones are Haar."""
    update = update_of(shape)
    left = []
    for i in range(400):
        drawn = inputs_kept(update, generator(2, i))
        left.append(torch.linalg.svd(drawn, full_matrices=False).U[:, 0])
    torch.testing.assert_close(drawn.T @ drawn, update.T @ update, atol=1e-12, rtol=1e-10)
    assert is_haar(left)


@pytest.mark.parametrize("shape", UPDATES)
def test_norms_kept(shape: tuple[int, int]) -> None:
    update = update_of(shape)
    draws = torch.stack([norms_kept(update, generator(3, i)) for i in range(300)])
    for dim in (1, 2):
        wanted = update.norm(dim=2 - dim).expand(300, -1).numpy()
        assert draws.norm(dim=3 - dim).numpy() == pytest.approx(wanted, rel=1e-6)
    assert (draws[:, 3] == 0).all()
    signs = draws[:, 5].sign().mean(0)  # and nothing else of the update
    assert signs.abs().max() < 4.5 / math.sqrt(300)


@pytest.mark.parametrize("shape", UPDATES)
def test_signs_randomised(shape: tuple[int, int]) -> None:
    """Sizes in the basis before stay, also of columns (or rows) outside it; signs do not."""
    update, before = update_of(shape), before_of(shape)
    draws = torch.stack([signs_randomised(update, before, generator(4, i)) for i in range(300)])

    def core(matrices: torch.Tensor) -> torch.Tensor:
        return before.U.T @ matrices @ before.Vh.T

    torch.testing.assert_close(core(draws).abs(), core(update).abs().expand(300, -1, -1))
    assert core(draws).sign().mean(0).abs().max() < 4.5 / math.sqrt(300)
    tall = shape[0] >= shape[1]
    along = before.Vh.T if tall else before.U
    seen, drawn = (m @ along if tall else m.mT @ along for m in (update, draws))
    torch.testing.assert_close(
        drawn.norm(dim=1), seen.norm(dim=0).expand(300, -1), atol=1e-12, rtol=1e-10
    )
    assert draws.square().sum((1, 2)).numpy() == pytest.approx(update.square().sum().item())


def test_signs_of_a_turn_are_what_made_it_coherent() -> None:
    """A rotation within the basis changes no singular value; its update with other signs does."""
    shape = (30, 30)
    before = before_of(shape)
    rng = torch.Generator().manual_seed(0)
    skew = torch.randn(shape, generator=rng, dtype=torch.float64)
    turn = torch.linalg.matrix_exp(2e-3 * (skew - skew.T))
    after = Factors(before.U @ turn, before.S, (before.Vh.T @ turn).T)
    update = after.U * after.S @ after.Vh - before.U * before.S @ before.Vh
    sizes = []
    for i in range(40):
        drawn = signs_randomised(update, before, generator(5, i))
        values = torch.linalg.svdvals(before.U * before.S @ before.Vh + drawn)
        sizes.append((values - before.S).norm().item())
    observed = torch.linalg.svdvals(before.U * before.S @ before.Vh + update) - before.S
    assert observed.norm().item() < 1e-10
    assert min(sizes) > 1e-4


@pytest.mark.parametrize("null", NULLS)
def test_draws_of_a_null_depend_on_its_labels_alone(null: str) -> None:
    update, before = update_of((20, 12)), before_of((20, 12))
    one = draw(null, update, before, 0, (1, "q"), 3)
    assert torch.equal(one, draw(null, update, before, 0, (1, "q"), 3))
    assert one.norm().item() == pytest.approx(update.norm().item(), rel=1e-5)
    for other in ((1, (1, "q"), 3), (0, (2, "q"), 3), (0, (1, "q"), 4)):
        assert not torch.equal(one, draw(null, update, before, *other))


def test_settings_allow_every_null() -> None:
    assert SpectraSettings(nulls=tuple(NULLS)).nulls == tuple(NULLS)  # type: ignore[arg-type]
    for wrong in (("inputs_kept",), ("isotropic", "isotropic")):
        with pytest.raises(ValueError, match="isotropic and others, each once"):
            SpectraSettings(nulls=wrong)  # type: ignore[arg-type]


def test_draws_depend_on_label_and_seed_only() -> None:
    one = torch.rand(3, generator=generator(0, 1, "q"))
    assert torch.equal(one, torch.rand(3, generator=generator(0, 1, "q")))
    assert not torch.equal(one, torch.rand(3, generator=generator(0, 1, "k")))
    assert not torch.equal(one, torch.rand(3, generator=generator(1, 1, "q")))


@pytest.mark.parametrize("draws", [2, 4])
def test_interval_of_the_excess_covers(draws: int) -> None:
    rng = np.random.default_rng(0)
    sample = rng.standard_normal((4000, draws + 1))
    covered = [
        (excess := minus_null(row[0], list(row[1:]))).low <= 0 <= excess.high for row in sample
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_no_draws_no_null() -> None:
    assert all(math.isnan(number) for number in minus_null(1.0, []))


def test_rotation_invariance_of_the_fit() -> None:
    matrix = np.random.default_rng(0).standard_normal((40, 40))
    q = ortho_group.rvs(40, random_state=0)
    fits = [
        fit_random(torch.from_numpy(np.linalg.svd(m)[1]), (40, 40)) for m in (matrix, q @ matrix)
    ]
    assert fits[0] == pytest.approx(fits[1])
