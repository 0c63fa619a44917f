import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import MllamaConfig, MllamaForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM

from svdrift.errors import UserError
from svdrift.spectra.matrices import Labels, Weights
from svdrift.spectra.patterns import DEFAULT_PATTERNS
from tests.spectra.synthetic import llama


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    llama(0).save_pretrained(tmp_path)
    return tmp_path


def test_labels_every_matrix_of_a_llama(folder: Path) -> None:
    weights = Weights(folder)
    assert weights.depth == 4
    assert len(weights.matrices) == 4 * 7 + 2
    assert weights.unmatched == ()
    assert {m.key: m.shape for m in weights.matrices}[3, "k"] == (8, 16)
    assert [m.layer for m in weights.matrices][-2:] == [None, None]
    for matrix, tensor in weights:
        assert tuple(tensor.shape) == matrix.shape


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model.layers.12.self_attn.q_proj.weight", (12, "q")),
        ("model.language_model.layers.3.mlp.down_proj.weight", (3, "down")),
        ("language_model.model.layers.3.self_attn.v_proj.weight", (3, "v")),
        ("language_model.lm_head.weight", (None, "head")),
        ("model.language_model.embed_tokens.weight", (None, "embedding")),
        ("model.layers.1.self_attn.q_proj.bias", None),
        ("vision_model.transformer.layers.0.self_attn.q_proj.weight", None),
        ("model.vision_model.transformer.layers.0.self_attn.q_proj.weight", None),
    ],
)
def test_default_patterns(name: str, key: tuple[int | None, str] | None) -> None:
    assert Labels(DEFAULT_PATTERNS).of_matrix(name) == key


def test_layer_of_norms_and_biases() -> None:
    labels = Labels(DEFAULT_PATTERNS)
    assert labels.layer_of("model.layers.10.input_layernorm.weight") == 10
    assert labels.layer_of("model.norm.weight") is None
    assert labels.layer_of("vision_model.transformer.layers.0.norm.weight") is None


def test_qwen2_and_its_biases(tmp_path: Path) -> None:
    config = Qwen2Config(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=20,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    weights = Weights(tmp_path)
    assert len(weights.matrices) == 15  # the head is the embedding
    assert weights.unmatched == ()


def test_mllama_language_model_only(tmp_path: Path) -> None:
    small = {"hidden_size": 16, "intermediate_size": 24}
    config = MllamaConfig(
        vision_config={
            **small,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 8,
            "patch_size": 4,
            "vision_output_dim": 32,
            "intermediate_layers_indices": [0],
            "supported_aspect_ratios": [[1, 1]],
            "max_num_tiles": 1,
        },
        text_config={
            **small,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": 20,
            "cross_attention_layers": [1],
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    )
    MllamaForConditionalGeneration(config).save_pretrained(tmp_path)
    weights = Weights(tmp_path)
    names = {m.layer: m.name for m in weights.matrices if m.module == "q"}
    assert names.keys() == {0, 1, 2}
    assert ["cross_attn" in names[layer] for layer in range(3)] == [False, True, False]
    assert weights.unmatched
    assert all("vision" in name or "multi_modal" in name for name in weights.unmatched)


def test_lists_what_no_pattern_matches(folder: Path) -> None:
    patterns = {"q": DEFAULT_PATTERNS["q"]}
    weights = Weights(folder, patterns)
    assert len(weights.matrices) == 4
    assert len(weights.unmatched) == 4 * 6 + 2


def test_tied_head_is_listed_once_even_if_the_file_repeats_it(tmp_path: Path) -> None:
    llama(0, tied=True).save_pretrained(tmp_path)
    assert "lm_head.weight" not in Weights(tmp_path).names
    tensors = {name: Weights(tmp_path).read(name).clone() for name in Weights(tmp_path).names}
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    weights = Weights(tmp_path)
    assert weights.repeated == {"lm_head.weight": "model.embed_tokens.weight"}
    assert (None, "head") not in {m.key for m in weights.matrices}


def test_shards_hold_the_same_tensors(tmp_path: Path) -> None:
    llama(0).save_pretrained(tmp_path / "one")
    llama(0).save_pretrained(tmp_path / "many", max_shard_size="4KB")
    one, many = Weights(tmp_path / "one"), Weights(tmp_path / "many")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    assert one.matrices == many.matrices
    for name in one.names:
        assert torch.equal(one.read(name), many.read(name))


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ({"q": r"transformer\.h\.{layer}\.q\.weight"}, "patterns.q .* matches no tensor"),
        ({"norm": r"model\.norm\.weight"}, "model.norm.weight of shape .* no matrix"),
        ({"qk": r"model\.layers\.{layer}\.self_attn\.[qk]_proj\.weight"}, "the same label"),
        ({"q": "layers.{layer}.("}, r"patterns.q: 'layers.{layer}.\('"),
        ({"q": "layers.{layer}.{layer}"}, "patterns.q: .* holds {layer} twice"),
        ({"experts.up": r"layers\.{layer}\.up"}, "patterns.experts.up: .* have {expert} in their"),
        ({"up": r"layers\.{layer}\.{expert}\.up"}, "patterns.up: .* have {expert} in their"),
    ],
)
def test_refuses_patterns(folder: Path, patterns: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Weights(folder, patterns)


def test_refuses_what_is_no_checkpoint(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text("[]")
    with pytest.raises(UserError, match="not a model's configuration"):
        Weights(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="not a safetensors file"):
        Weights(folder)
