"""Kinds that take whole tensors, by hand on 2 x 3 matrices and for any matrix."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from svdrift.recovery import kind as kinds
from svdrift.recovery.apply import recover_tensors
from svdrift.recovery.entries import largest
from svdrift.recovery.folder import model_card
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.plan import make_plan
from tests.spectra.synthetic import llama, moved, save

ENTRIES = ["restore_entries", "trim"]
KINDS = [*ENTRIES, "drop_and_rescale", "scale_layers"]
ANCHOR = torch.tensor([[1.0, 0.0, -4.0], [10.0, 0.5, 0.0]])
TARGET = torch.tensor([[2.0, 0.1, -4.0], [13.0, 0.0, 0.0]])
# It moved by         1.0  0.1    0.0     3.0  0.5  0.0
# relatively          1.0  inf    0.0     0.3  1.0  0.0

matrices = st.integers(0, 2**31).map(
    lambda seed: torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(seed))
)


def blend(
    kind: str,
    share: float,
    weight: torch.Tensor = TARGET,
    anchor: torch.Tensor = ANCHOR,
    depth: float = 0.0,
    seed: int = 0,
) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    made: torch.Tensor = kinds.load(kind).blend(weight, anchor, share, depth, rng)
    return made


@pytest.mark.parametrize(
    ("kind", "share", "expected"),
    [
        ("restore_entries", 1 / 6, [[2.0, 0.0, -4.0], [13.0, 0.0, 0.0]]),
        # Of equals the first.
        ("restore_entries", 2 / 6, [[1.0, 0.0, -4.0], [13.0, 0.0, 0.0]]),
        ("restore_entries", 3 / 6, [[1.0, 0.0, -4.0], [13.0, 0.5, 0.0]]),
        ("restore_entries", 4 / 6, [[1.0, 0.0, -4.0], [10.0, 0.5, 0.0]]),
        ("trim", 2 / 6, [[2.0, 0.1, -4.0], [13.0, 0.0, 0.0]]),
        ("trim", 3 / 6, [[2.0, 0.0, -4.0], [13.0, 0.0, 0.0]]),
        ("trim", 4 / 6, [[2.0, 0.0, -4.0], [13.0, 0.5, 0.0]]),
        ("trim", 5 / 6, [[1.0, 0.0, -4.0], [13.0, 0.5, 0.0]]),
    ],
)
def test_chosen_entries_by_hand(kind: str, share: float, expected: list[list[float]]) -> None:
    assert blend(kind, share).tolist() == torch.tensor(expected).tolist()


@pytest.mark.parametrize(
    ("depth", "alpha"),
    [(0.0, 0.25), (1 / 3, 0.5), (2 / 3, 0.75), (1.0, 1.0)],  # four layers, weight 0.75
)
def test_an_update_is_scaled_by_depth(depth: float, alpha: float) -> None:
    made = blend("scale_layers", 0.75, depth=depth)
    assert torch.allclose(made, ANCHOR + alpha * (TARGET - ANCHOR))
    if depth == 1:
        assert torch.equal(made, TARGET)


def test_dropped_changes_are_the_anchor_s_and_the_others_are_scaled() -> None:
    made = blend("drop_and_rescale", 0.75)
    update, expected = made - ANCHOR, 4 * (TARGET - ANCHOR)
    dropped = made == ANCHOR
    assert torch.allclose(update[~dropped], expected[~dropped])
    assert {0, 1} == set(torch.unique(dropped).long().tolist())


def test_the_mean_over_draws_is_the_target() -> None:
    draws = torch.stack([blend("drop_and_rescale", 0.5, seed=seed) for seed in range(4000)])
    # Of a change c and a share p the standard deviation is c sqrt(p / (1 - p)), here c.
    error = (TARGET - ANCHOR).abs() / 4000**0.5
    assert torch.all((draws.mean(0) - TARGET).abs() <= 4 * error + 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_both_ends_are_exact(kind: str, dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(1)
    weight, anchor = (torch.randn(6, 9, generator=rng).to(dtype) for _ in range(2))
    assert torch.equal(blend(kind, 0, weight, anchor), weight)
    assert torch.equal(blend(kind, 1, weight, anchor), anchor)
    assert blend(kind, 0.3, weight, anchor).dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_neither_checkpoint_is_changed(kind: str) -> None:
    weight, anchor = TARGET.clone(), ANCHOR.clone()
    blend(kind, 0.5, weight, anchor)
    assert torch.equal(weight, TARGET)
    assert torch.equal(anchor, ANCHOR)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_computed_in_float32(kind: str) -> None:
    rng = torch.Generator().manual_seed(2)
    weight, anchor = (torch.randn(6, 9, generator=rng).bfloat16() for _ in range(2))
    made = blend(kind, 0.4, weight, anchor)
    assert torch.equal(made, blend(kind, 0.4, weight.float(), anchor.float()).bfloat16())


@pytest.mark.parametrize("kind", KINDS)
@given(weight=matrices, share=st.floats(0, 1))
def test_what_did_not_move_stays(kind: str, weight: torch.Tensor, share: float) -> None:
    assert torch.allclose(blend(kind, share, weight, weight.clone()), weight, atol=1e-6)


@pytest.mark.parametrize("kind", ENTRIES)
@given(weight=matrices, anchor=matrices, shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_larger_share_gives_back_more(
    kind: str, weight: torch.Tensor, anchor: torch.Tensor, shares: tuple[float, float]
) -> None:
    few, many = (blend(kind, share, weight, anchor) == anchor for share in sorted(shares))
    assert torch.all(many | ~few)


@given(weight=matrices, anchor=matrices, share=st.floats(0, 1))
def test_trimming_is_the_nearest_of_those_that_give_back_as_many(
    weight: torch.Tensor, anchor: torch.Tensor, share: float
) -> None:
    made = blend("trim", share, weight, anchor)
    back = (made == anchor) & (weight != anchor)
    other = torch.where(back.flatten().roll(3).reshape(back.shape), anchor, weight)
    assert (made - weight).norm() <= (other - weight).norm() + 1e-6


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=30), st.floats(0, 1))
def test_the_nearest_number_of_entries_is_chosen_even_of_equals(
    values: list[float], share: float
) -> None:
    scores = torch.tensor(values)
    chosen = largest(scores, share)
    assert abs(int(chosen.sum()) - share * len(values)) <= 0.5
    if chosen.any() and not chosen.all():
        assert scores[chosen].min() >= scores[~chosen].max()


def test_what_is_broken_in_the_anchor_counts_as_infinitely_far_and_so_is_found() -> None:
    anchor = ANCHOR.clone()
    anchor[1, 2] = torch.nan
    made = blend("restore_entries", 2 / 6, anchor=anchor)  # the entry that left 0 is the other one
    assert made.isnan().tolist() == [[False] * 3, [False, False, True]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_repaired_layer_by_layer(kind: str, tmp_path: Path) -> None:
    target = save(llama(0), tmp_path / "target")
    anchor = save(moved(llama(0), 1), tmp_path / "anchor")
    chosen = Intervention(kind, weight=0.5)
    made = dict(recover_tensors(target, anchor, chosen))
    assert set(made) == set(target.weights.names)  # norms, embedding and head too
    last = target.weights.depth - 1
    for name, tensor in made.items():
        ours, theirs = target.weights.read(name), anchor.weights.read(name)
        layer = target.weights.labels.layer_of(name)
        if kind == "scale_layers":
            weight = 0.5 * (1 - (layer or 0) / last)
            assert torch.allclose(tensor, torch.lerp(ours, theirs, weight))
        elif kind in ENTRIES:
            assert torch.equal(tensor, blend(kind, 0.5, ours, theirs))
            assert torch.all((tensor == ours) | (tensor == theirs))
        else:
            kept = tensor != theirs
            assert torch.allclose(tensor[kept], (theirs + 2 * (ours - theirs))[kept], atol=1e-6)
    inside = Intervention(kind, weight=0.5, embedding_and_head=False)
    assert all(".layers." in name for name, _ in recover_tensors(target, anchor, inside))
    plan = make_plan(target, anchor, chosen)
    card = model_card(target, anchor, chosen, plan, [], "out", [])
    assert kinds.kind(kind).description in card
    assert f"with a weight of 0.5 {kinds.kind(kind).weight_meaning};" in card
    assert ("Nothing was computed" in card) == (kind in ENTRIES)


def test_draws_depend_on_seed_and_tensor_alone(tmp_path: Path) -> None:
    target = save(llama(0), tmp_path / "target")
    anchor = save(moved(llama(0), 1), tmp_path / "anchor")

    def repaired(seed: int) -> dict[str, torch.Tensor]:
        chosen = Intervention("drop_and_rescale", weight=0.5, seed=seed)
        return dict(recover_tensors(target, anchor, chosen))

    once, again, other = repaired(0), repaired(0), repaired(1)
    q, k = (f"model.layers.0.self_attn.{one}_proj.weight" for one in "qk")
    assert torch.equal(once[q], again[q])
    assert not torch.equal(once[q], other[q])
    masks = [once[name] == anchor.weights.read(name) for name in (q, k)]
    assert masks[0].shape != masks[1].shape or not torch.equal(*masks)
