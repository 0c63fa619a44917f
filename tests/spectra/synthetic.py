"""Small checkpoints for tests, made and saved by transformers itself."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from svdrift.spectra.decomposition import Decomposed, decompose_checkpoint


def llama(seed: int, *, tied: bool = False) -> LlamaForCausalLM:
    """A Llama whose every tensor, norms included, depends on the seed."""
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=29,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2)
    return model


def save(model: LlamaForCausalLM, folder: Path) -> Decomposed:
    model.save_pretrained(folder)
    factors = folder.with_suffix(".factors")
    decompose_checkpoint(folder, factors)
    return Decomposed.open(folder, factors)


def moved(model: LlamaForCausalLM, seed: int, size: float = 0.03) -> LlamaForCausalLM:
    """The same model after a small random update of everything; in place."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * size)
    return model
