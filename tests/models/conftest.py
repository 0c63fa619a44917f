"""Pico models: small enough to build in milliseconds, sharp enough to have no ties."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from svdrift.models.loading import save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer

WORDS = ["10", "11", "J", "Q", "K", "J=", "+", "(", ")", "="]
PICO = ArchitectureSettings(hidden_size=16, layers=2, heads=2, intermediate_size=24, positions=96)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(WORDS)


@pytest.fixture
def llama(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return make_model(len(tokenizer), PICO)


@pytest.fixture
def folder(tmp_path: Path, llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A saved pico checkpoint."""
    save_checkpoint(llama, tokenizer, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(params=["llama", "qwen2", "gpt_neox", "sliding"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """Random weights of several families, large enough that logits differ clearly."""
    torch.manual_seed(1)
    shape = {
        "vocab_size": 15,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 96,
        "initializer_range": 0.6,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    built: PreTrainedModel
    match request.param:
        case "llama":
            built = make_model(15, PICO)
            with torch.no_grad():
                for parameter in built.parameters():
                    if parameter.ndim == 2:
                        parameter.mul_(30)
        case "qwen2":
            built = Qwen2ForCausalLM(Qwen2Config(num_key_value_heads=1, **shape))
        case "gpt_neox":
            built = GPTNeoXForCausalLM(GPTNeoXConfig(**shape))
        case _:
            config = MistralConfig(num_key_value_heads=1, sliding_window=5, **shape)
            built = MistralForCausalLM(config)
    return built.eval()
