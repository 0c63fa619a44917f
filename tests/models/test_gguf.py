"""GGUF files, written here with llama.cpp's own library, come back as the model that they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import dequantize, quantize
from transformers import LlamaConfig, LlamaForCausalLM

from svdrift.errors import UserError
from svdrift.models.gguf import load_gguf

HEADS, KEY_HEADS = 4, 2
WORDS = ["<unk>", "<s>", "</s>", "▁J", "▁10", "▁"]
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
Q4_1 = GGMLQuantizationType.Q4_1


@pytest.fixture
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            num_key_value_heads=KEY_HEADS,
            max_position_embeddings=64,
        )
    ).eval()


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp orders them: the two halves of a head's rotary pairs, interleaved."""
    halves = weight.reshape(heads, 2, -1, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def as_gguf(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """The model's tensors by llama.cpp's names and in its order of rows."""
    found = {}
    for name, tensor in model.state_dict().items():
        value = tensor.numpy()
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            part = NAMES[rest.removesuffix(".weight")]
            if part in ("attn_q", "attn_k"):
                value = permuted(value, HEADS if part == "attn_q" else KEY_HEADS)
            found[f"blk.{layer}.{part}.weight"] = value
        else:
            short = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
            found[f"{short[name.split('.')[-2]]}.weight"] = value
    return found


def write(file: Path, tensors: dict[str, np.ndarray], quantised: tuple[str, ...] = ()) -> Path:
    writer = GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.0] * len(WORDS))
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    writer.add_token_types([*kinds, *[TokenType.NORMAL] * (len(WORDS) - 3)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, value in tensors.items():
        if name in quantised:
            writer.add_tensor(name, quantize(value, Q4_1), raw_dtype=Q4_1)
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_the_model_comes_back(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    model, tokenizer = load_gguf(write(tmp_path / "model.gguf", as_gguf(llama)))
    torch.testing.assert_close(model.state_dict(), llama.state_dict(), rtol=0, atol=0)
    tokens = torch.tensor([[1, 3, 4, 3]])
    torch.testing.assert_close(model(tokens).logits, llama(tokens).logits, rtol=1e-6, atol=1e-6)
    assert tokenizer.convert_ids_to_tokens([2, 3]) == ["</s>", "▁J"]


def test_quantised_weights_are_dequantised_exactly(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    name, tensors = "blk.1.ffn_down.weight", as_gguf(llama)
    model, _ = load_gguf(write(tmp_path / "model.gguf", tensors, quantised=(name,)))
    down = model.get_parameter("model.layers.1.mlp.down_proj.weight")
    wanted = torch.from_numpy(dequantize(quantize(tensors[name], Q4_1), Q4_1))
    torch.testing.assert_close(down.data, wanted, rtol=0, atol=0)
    assert down.dtype == torch.float32
    assert not torch.equal(down, llama.get_parameter("model.layers.1.mlp.down_proj.weight"))


def test_a_missing_tensor_is_refused(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    tensors = as_gguf(llama)
    del tensors["blk.1.ffn_up.weight"]
    file = write(tmp_path / "model.gguf", tensors)
    with pytest.raises(UserError, match=r"model.gguf: .* missing: model.layers.1.mlp.up_proj"):
        load_gguf(file)


def test_a_tensor_that_the_model_lacks_is_refused(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    tensors = as_gguf(llama) | {"rope_freqs.weight": np.ones(4, np.float32)}
    file = write(tmp_path / "model.gguf", tensors)
    with pytest.raises(UserError, match=r"model.gguf: .* unexpected: rope_freqs.weight"):
        load_gguf(file)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all" * 100])
def test_what_is_no_gguf_file_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"model.gguf: not a GGUF file"):
        load_gguf(file)
