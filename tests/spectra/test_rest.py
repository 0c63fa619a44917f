"""What a comparison leaves out, on checkpoints of which each tensor's fate is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svdrift.spectra.matrices import Weights
from svdrift.spectra.rest import left_out, not_finite, sentences, unlabelled
from tests.spectra.synthetic import llama

EXPERT = "model.layers.1.mlp.experts.0.up_proj.weight"
UP, NORM = "model.layers.2.mlp.up_proj.weight", "model.norm.weight"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Weights, Weights]:
    """Two checkpoints; an expert and three other tensors differ, each in another way."""
    for name in ("before", "after"):
        llama(0).save_pretrained(tmp_path / name)
        tensors = load_file(tmp_path / name / "model.safetensors")
        tensors[EXPERT] = torch.full((50, 4), 0.0 if name == "before" else 1.0)
        if name == "after":
            tensors["model.layers.0.input_layernorm.weight"] = torch.ones(8)
            tensors[NORM] = torch.full((16,), torch.nan, dtype=torch.bfloat16)
            tensors["surplus"] = torch.ones(3)
            tensors[UP] = tensors[UP].double()  # the same values
        else:
            tensors["lost"] = torch.ones(2)
        save_file(tensors, tmp_path / name / "model.safetensors", {"format": "pt"})
    return Weights(tmp_path / "before"), Weights(tmp_path / "after")


def test_everything_is_either_done_or_told(two):
    before, after = two
    done = {matrix.name for matrix in after.matrices} - {UP}
    rest = {one.name: one for one in left_out(before, after, done)}
    assert rest.keys() | done == set(before.names) | set(after.names)
    assert {name: one.differs for name, one in rest.items() if one.differs} == {
        EXPERT: "values",
        NORM: "values",
        "model.layers.0.input_layernorm.weight": "shape",
        "surplus": "only in the target",
        "lost": "only in the anchor",
    }
    whole = sum(after.size(name) for name in after.names)
    assert rest[EXPERT].share == pytest.approx(200 / whole)
    assert not_finite(rest.values()) == not_finite(rest.values(), ["target"]) == [NORM]
    assert not_finite(rest.values(), ["anchor"]) == []
    share = f"{100 * 200 / whole:.3g} % of the weights"
    assert sentences(list(rest.values()))[:3] == [
        f"- matrices in the layers, of kinds that are not known: 1, {share}; 1 differs: {EXPERT}",
        r"  they are taken with: --patterns 'experts.up_proj=model\.layers\.{layer}\.mlp\.experts"
        r"\.{expert}\.up_proj\.weight'",
        f"- matrices in the layers, of known kinds: 1, {100 * 384 / whole:.3g} % of the weights; "
        "none differs",
    ]
    assert sentences(list(rest.values()))[-1] == "- in the anchor alone: 1: lost"


def test_matrices_that_no_pattern_matches_are_named(two):
    before, after = two
    share = 100 * 200 / sum(after.size(name) for name in after.names)
    kind = f"1 matrices in the layers ({share:.3g} % of the weights) match no pattern"
    assert unlabelled(after) == f"{kind}: {EXPERT}"
    assert unlabelled(after, before) == f"{kind}, 1 of them changed: {EXPERT}"
    assert unlabelled(after, after) == f"{kind}, none of them changed: {EXPERT}"


def test_a_llama_has_none(tmp_path):
    llama(0).save_pretrained(tmp_path)
    assert unlabelled(Weights(tmp_path)) == ""
