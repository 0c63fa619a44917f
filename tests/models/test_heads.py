"""A head of its own stays one when a model is rounded and saved, whatever config.json says."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.tiny import make_tokenizer
from tests.spectra.synthetic import llama

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@pytest.mark.parametrize("factor", [1.0, 1.5])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_what_the_file_holds_counts(tmp_path, factor, dtype):
    llama(0, tied=True).save_pretrained(tmp_path / "model")
    make_tokenizer(["a"]).save_pretrained(tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    tensors = load_file(file)
    save_file(tensors | {HEAD: tensors[EMBEDDING] * factor}, file, {"format": "pt"})
    model, tokenizer = load_model(tmp_path / "model"), load_tokenizer(tmp_path / "model")
    save_checkpoint(model, tokenizer, tmp_path / "saved", dtype)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype="auto").state_dict()
    assert saved[HEAD].dtype == (dtype or torch.float32)
    assert torch.equal(saved[HEAD], (tensors[EMBEDDING] * factor).to(saved[HEAD].dtype))
    assert torch.equal(saved[EMBEDDING], tensors[EMBEDDING].to(saved[HEAD].dtype))
