"""Each kind against the published definition written out with explicit matrices."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from svdrift import plugins
from svdrift.errors import UserError
from svdrift.recovery import kind as kinds
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.kinds import directions, interpolate, random_directions
from svdrift.recovery.mixing import changed, chosen_ranks
from svdrift.spectra.decomposition import Factors, decompose
from svdrift.spectra.matrices import Matrix

sizes = st.integers(1, 20)
shares = st.floats(0, 0.5)
seeds = st.integers(0, 2**31)


class Pair(NamedTuple):
    weight: torch.Tensor
    other: torch.Tensor
    target: Factors
    anchor: Factors


def pair(rows: int, columns: int, seed: int, size: float = 0.5) -> Pair:
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=rng)
    other = weight + size * torch.randn(rows, columns, generator=rng)
    return Pair(weight, other, decompose(weight), decompose(other))


def of_rank(rank: int) -> Matrix:
    return Matrix("w", None, "w", (rank, rank))


def apply(p: Pair, kind: str, top: float = 0.0, bottom: float = 0.0) -> torch.Tensor:
    chosen = Intervention(kind, top=top, bottom=bottom)
    ranks = chosen_ranks(chosen, of_rank(len(p.target.S)))
    rng = torch.Generator().manual_seed(0)
    return changed(p.weight, p.target.of(ranks), p.anchor.of(ranks), kind, rng)


def build(u: torch.Tensor, s: torch.Tensor, vh: torch.Tensor) -> torch.Tensor:
    return u @ torch.diag(s) @ vh


@given(sizes, sizes, shares, shares, seeds)
def test_low_rank_update_is_the_explicit_mixture(
    rows: int, columns: int, top: float, bottom: float, seed: int
) -> None:
    p = pair(rows, columns, seed)
    t, a = p.target, p.anchor
    ranks = chosen_ranks(
        Intervention("values", top=top, bottom=bottom), of_rank(min(rows, columns))
    )
    assert len(set(ranks.tolist())) == len(ranks) <= min(rows, columns)
    mixed_u, mixed_s, mixed_vh = t.U.clone(), t.S.clone(), t.Vh.clone()
    mixed_u[:, ranks], mixed_s[ranks], mixed_vh[ranks] = a.U[:, ranks], a.S[ranks], a.Vh[ranks]
    for kind, expected in {
        "directions": build(mixed_u, t.S, mixed_vh),
        "triplets": build(mixed_u, mixed_s, mixed_vh),
        "values": build(t.U, mixed_s, t.Vh),
    }.items():
        made = apply(p, kind, top, bottom)
        assert torch.allclose(made, expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (9, 9)])
def test_at_the_full_rank(shape: tuple[int, int]) -> None:
    p = pair(*shape, seed=1)
    t, a = p.target, p.anchor
    assert torch.allclose(apply(p, "triplets", 1.0), p.other, atol=1e-5)
    assert torch.allclose(apply(p, "directions", 1.0), build(a.U, t.S, a.Vh), atol=1e-5)
    assert torch.allclose(apply(p, "values", 1.0), build(t.U, a.S, t.Vh), atol=1e-5)
    assert torch.allclose(apply(p, "directions", 0.5, 0.5), build(a.U, t.S, a.Vh), atol=1e-5)


@pytest.mark.parametrize("kind", ["directions", "triplets", "values", "random_directions"])
def test_no_rank_is_the_target_to_the_bit(kind: str) -> None:
    p = pair(8, 6, seed=2)
    assert torch.equal(apply(p, kind), p.weight)


@pytest.mark.parametrize("kind", ["directions", "triplets", "values", "random_directions"])
def test_the_anchor_s_signs_do_not_matter(kind: str) -> None:
    p = pair(8, 6, seed=3)
    sign = torch.tensor([1, -1, -1, 1, 1, -1])
    flipped = Factors(p.anchor.U * sign, p.anchor.S, p.anchor.Vh * sign[:, None])
    same = apply(p._replace(anchor=flipped), kind, 0.5)
    assert torch.allclose(same, apply(p, kind, 0.5), atol=1e-5)


@pytest.mark.parametrize(("top", "bottom"), [(0.2, 0.0), (0.0, 0.2), (1.0, 0.0)])
@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (20, 20), (21, 21), (31, 20)])
def test_random_directions_change_as_much_and_keep_the_spectrum(
    shape: tuple[int, int], top: float, bottom: float
) -> None:
    p = pair(*shape, seed=4, size=0.05)
    directed = apply(p, "directions", top, bottom) - p.weight
    made = apply(p, "random_directions", top, bottom)
    assert (made - p.weight).norm() == pytest.approx(directed.norm().item(), rel=1e-3)
    ranks = chosen_ranks(Intervention("values", top=top, bottom=bottom), of_rank(20))
    rng = torch.Generator().manual_seed(0)
    change = random_directions.mix(p.target.of(ranks), p.anchor.of(ranks), rng)
    turned = build(p.target.U[:, ranks], p.target.S[ranks], p.target.Vh[ranks])
    turned = turned + change.left @ change.right
    singular = torch.linalg.svdvals(turned)[: len(ranks)]
    assert torch.allclose(singular, p.target.S[ranks], rtol=1e-4)  # bases stay orthonormal
    cosine = torch.sum(directed * (made - p.weight)) / directed.norm() ** 2
    assert cosine.abs() < 0.45  # another direction than the anchor's


@pytest.mark.parametrize("size", [1e-4, 1e-5])
def test_random_directions_of_close_checkpoints_change_as_much(size: float) -> None:
    p = pair(96, 64, seed=7, size=size)
    chosen = [factors.of(torch.arange(20)) for factors in (p.target, p.anchor)]
    rng = torch.Generator().manual_seed(0)
    wanted = directions.mix(*chosen, rng)
    change = random_directions.mix(*chosen, rng)
    norms = [(c.left.double() @ c.right.double()).norm() for c in (change, wanted)]
    assert norms[0] == pytest.approx(norms[1].item(), rel=0.02)


def test_random_directions_of_equal_checkpoints_change_nothing() -> None:
    p = pair(10, 8, seed=5, size=0.0)
    assert torch.allclose(apply(p, "random_directions", 0.5), p.weight, atol=1e-5)


def test_random_directions_stop_at_a_right_angle() -> None:
    p = pair(10, 4, seed=6)
    opposed = p._replace(anchor=Factors(-p.target.U, p.target.S, p.target.Vh))
    made = apply(opposed, "random_directions", 0.25)
    assert (made - p.weight).norm() == pytest.approx(2**0.5 * p.target.S[0].item(), rel=1e-3)


@given(st.floats(0, 1), seeds)
def test_interpolated(share: float, seed: int) -> None:
    p = pair(3, 4, seed)
    expected = (1 - share) * p.weight + share * p.other
    place = (0.0, torch.Generator())  # which it ignores
    assert torch.allclose(interpolate.blend(p.weight, p.other, share, *place), expected, atol=1e-6)
    assert torch.equal(interpolate.blend(p.weight, p.other, 0, *place), p.weight)
    assert torch.equal(interpolate.blend(p.weight, p.other, 1, *place), p.other)


def test_half_precision_is_computed_in_float32() -> None:
    p = pair(16, 16, seed=7)
    half = p.weight.bfloat16()
    rng, ranks = torch.Generator(), torch.arange(5)
    target, anchor = decompose(half).of(ranks), p.anchor.of(ranks)
    made = changed(half, target, anchor, "directions", rng)
    exact = changed(half.float(), target, anchor, "directions", rng)
    assert made.dtype == torch.bfloat16
    assert torch.equal(made, exact.bfloat16())


@pytest.mark.parametrize("kind", ["directions", "triplets", "values", "random_directions"])
def test_blocks_of_rows_are_the_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    p = pair(23, 6, seed=8)
    whole = apply(p, kind, 0.5)
    monkeypatch.setattr("svdrift.recovery.mixing.BLOCK", 7)
    assert torch.allclose(apply(p, kind, 0.5), whole, atol=1e-6)


def test_every_kind_says_all_about_itself() -> None:
    for name in plugins.names(kinds.ROOM):
        module = kinds.load(name)
        assert module.KIND.label
        assert hasattr(module, "mix" if module.KIND.ranked else "blend")
    records = [kinds.kind(name) for name in plugins.names(kinds.ROOM)]
    assert len({record.marker for record in records}) == len(records)
    assert len({record.colour for record in records}) == len(records)


OWN = """
from svdrift.recovery.kind import Kind

KIND = Kind(label="half of the values", colour="#009E73", marker="v")


def mix(target, anchor, rng):
    from svdrift.recovery.mixing import LowRank

    return LowRank(target.U * (anchor.S - target.S) / 2, target.Vh)
"""


def test_a_kind_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "half.py"
    file.write_text(OWN)
    p = pair(9, 7, seed=9)
    expected = build(p.target.U, (p.target.S + p.anchor.S) / 2, p.target.Vh)
    assert torch.allclose(apply(p, str(file), 1.0), expected, atol=1e-5)
    assert Intervention(str(file), top=1.0).id == "half-top1"


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"kind: 'turn' is unknown \(allowed: directions, drop_an"):
        Intervention("turn", top=1.0)
