"""The published study's two architectures: their true configurations, and pico models of them."""

from pathlib import Path

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from svdrift.models.loading import auto_class

ROOT = Path(__file__).parents[1]
QWEN = "Qwen/Qwen2.5-7B-Instruct"
LLAMA = "meta-llama/Llama-3.2-11B-Vision-Instruct"

# What shrinks. All else is as published: biases, separate heads, keys and values in groups,
# scaled rotary positions, every fifth layer for the image.
LANGUAGE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 5}
PICO = {
    QWEN: LANGUAGE | {"num_attention_heads": 14, "num_key_value_heads": 2, "hidden_size": 56},
    LLAMA: LANGUAGE
    | {"num_attention_heads": 8, "num_key_value_heads": 2, "cross_attention_layers": [3]},
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "attention_heads": 2,
    "num_hidden_layers": 2,
    "num_global_layers": 1,
    "image_size": 28,
    "intermediate_layers_indices": [1],
    "vision_output_dim": 32,
}


def true_config(name: str) -> PretrainedConfig:
    config: PretrainedConfig = AutoConfig.from_pretrained(ROOT / "experiments" / "models" / name)
    return config


def pico_model(name: str, vocab_size: int, stop: int) -> PreTrainedModel:
    """A model of a few thousand weights, in float32, with a vocabulary of one's own."""
    config = true_config(name)
    text = config.get_text_config()
    ids = {"bos_token_id": stop, "eos_token_id": stop, "pad_token_id": 0}
    for key, value in (PICO[name] | ids | {"vocab_size": vocab_size}).items():
        setattr(text, key, value)
    # Derived from the shape when the configuration was read.
    for derived in ("layer_types", "head_dim"):
        if getattr(text, derived, None) is not None:
            setattr(text, derived, None)
    if text is not config:
        for key, value in VISION.items():
            setattr(config.vision_config, key, value)
        config.image_token_index = vocab_size
    config = type(config).from_dict(config.to_dict())
    torch.manual_seed(0)
    model: PreTrainedModel = auto_class(config).from_config(config, dtype=torch.float32)
    return model.eval()
