from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from svdrift.errors import UserError
from svdrift.recovery.apply import recover_tensors, recovered
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.plan import make_plan
from svdrift.spectra.decomposition import Decomposed
from tests.spectra.synthetic import llama, moved, save

TOKENS = torch.arange(12).reshape(2, 6)


class Two(NamedTuple):
    target: Decomposed
    anchor: Decomposed


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder = tmp_path_factory.mktemp("recovery")
    target = llama(0, tied=request.param)
    target.generation_config.max_new_tokens = 7
    return Two(
        save(target, folder / "target"),
        save(moved(llama(0, tied=request.param), 1), folder / "anchor"),
    )


def load(folder: Path, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model


def logits(model: LlamaForCausalLM) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


def names(two: Two, intervention: Intervention) -> set[str]:
    return {name for name, _ in recover_tensors(*two, intervention)}


def test_reset_of_everything_is_the_anchor(two: Two) -> None:
    model = load(two.target.weights.folder)
    with recovered(model, *two, Intervention("reset")):
        assert torch.equal(logits(model), logits(load(two.anchor.weights.folder)))


@pytest.mark.parametrize(("weight", "which"), [(0.0, "target"), (1.0, "anchor")])
def test_ends_of_interpolation(two: Two, weight: float, which: str) -> None:
    model, expected = load(two.target.weights.folder), getattr(two, which).weights.folder
    with recovered(model, *two, Intervention("interpolate", weight=weight)):
        assert torch.equal(logits(model), logits(load(expected)))


def test_the_model_is_the_target_again_afterwards(two: Two) -> None:
    model = load(two.target.weights.folder)
    before = logits(model)
    for intervention in (
        Intervention("directions", top=0.5),
        Intervention("values", top=1),
        Intervention("reset"),
    ):
        with recovered(model, *two, intervention):
            assert not torch.equal(logits(model), before)
        assert torch.equal(logits(model), before)
    with pytest.raises(ZeroDivisionError), recovered(model, *two, Intervention("reset")):
        raise ZeroDivisionError
    assert torch.equal(logits(model), before)


def test_tensor_by_tensor_and_in_place_agree(two: Two) -> None:
    intervention = Intervention("triplets", top=0.3, bottom=0.1)
    model = load(two.target.weights.folder)
    with recovered(model, *two, intervention):
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made = dict(recover_tensors(*two, intervention))
    for name in two.target.weights.names:
        expected = made.get(name, two.target.weights.read(name))
        assert torch.equal(state[name], expected)


def test_what_an_intervention_touches(two: Two) -> None:
    first = {m.name for m in two.target.weights.matrices if m.layer == 0}
    outside = {m.name for m in two.target.weights.matrices if m.layer is None}
    norms = {f"model.layers.0.{n}_layernorm.weight" for n in ("input", "post_attention")}
    block = {"top": 0.5, "layers": (0.0, 0.25)}
    assert names(two, Intervention("directions", **block)) == first | outside  # type: ignore[arg-type]
    inside = Intervention("directions", **block, embedding_and_head=False)  # type: ignore[arg-type]
    assert names(two, inside) == first
    reset = Intervention("reset", layers=(0, 0.25), embedding_and_head=False)
    assert names(two, reset) == first | norms
    assert names(two, Intervention("reset")) == set(two.target.weights.names)
    some = Intervention("reset", modules=("q", "down"), embedding_and_head=False)
    assert names(two, some) == {
        f"model.layers.{i}.{m}_proj.weight" for i in range(4) for m in ("self_attn.q", "mlp.down")
    }


def test_full_rank_shortcut_returns_the_anchor_s_matrices(two: Two) -> None:
    for name, tensor in recover_tensors(
        *two, Intervention("directions", top=1, full_rank_reset=True)
    ):
        assert torch.equal(tensor, two.anchor.weights.read(name))
    for name, tensor in recover_tensors(*two, Intervention("directions", top=1)):
        anchors = torch.linalg.svdvals(two.anchor.weights.read(name).double())
        targets = torch.linalg.svdvals(two.target.weights.read(name).double())
        kept = torch.linalg.svdvals(tensor.double())
        assert (kept - targets).norm() < 1e-3 * (anchors - targets).norm()


def test_half_precision_is_kept(tmp_path: Path) -> None:
    target = save(llama(0).bfloat16(), tmp_path / "target")
    anchor = save(moved(llama(0), 1).bfloat16(), tmp_path / "anchor")
    for _, tensor in recover_tensors(target, anchor, Intervention("directions", top=0.4)):
        assert tensor.dtype == torch.bfloat16
    model = load(tmp_path / "target", torch.float32)  # evaluated in another type than the file's
    with recovered(model, target, anchor, Intervention("reset")):
        assert torch.equal(logits(model), logits(load(tmp_path / "anchor", torch.float32)))


def test_finds_tensors_under_another_prefix(two: Two) -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.language_model = load(two.target.weights.folder)

    model = Wrapped()
    with recovered(model, *two, Intervention("reset")):
        expected = logits(load(two.anchor.weights.folder))
        assert torch.equal(logits(model.language_model), expected)


def test_random_directions_depend_on_seed_alone(two: Two) -> None:
    def first(seed: int) -> torch.Tensor:
        chosen = Intervention("random_directions", top=0.3, seed=seed)
        return next(recover_tensors(*two, chosen))[1]

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_refuses(two: Two) -> None:
    with pytest.raises(UserError, match="'head' is in no layer"):
        names(two, Intervention("reset", modules=("head",)))
    with pytest.raises(UserError, match="none of 4 layers"):
        make_plan(*two, Intervention("reset", layers=(0, 0.05)))
    lacking = torch.nn.Linear(2, 2)
    with (
        pytest.raises(UserError, match="the model has no tensor"),
        recovered(lacking, *two, Intervention("reset")),
    ):
        pass
