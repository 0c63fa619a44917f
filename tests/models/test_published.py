"""Models of the published study's architectures, Qwen2 and Mllama, true and pico."""

import re

import pytest
import torch
from safetensors.torch import load_file
from transformers.core_model_loading import revert_weight_conversion

from svdrift.models.checking import config_faults
from svdrift.models.generation import generate
from svdrift.models.loading import auto_class, load_model, load_tokenizer, save_checkpoint
from svdrift.models.tiny import make_tokenizer
from svdrift.recovery.apply import recovered
from svdrift.recovery.folder import write_folder
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.decomposition import Decomposed, decompose_checkpoint
from svdrift.spectra.matrices import Labels, Weights
from svdrift.spectra.patterns import DEFAULT_PATTERNS
from tests.published import LLAMA, QWEN, pico_model, true_config

WORDS = [str(number) for number in range(20)]
MODULES = ("q", "k", "v", "o", "gate", "up", "down")
IN_LAYERS = re.compile(r"(self|cross)_attn\.|mlp\.")


@pytest.fixture(params=[QWEN, LLAMA], ids=["qwen2", "mllama"])
def name(request):
    return request.param


@pytest.fixture
def folder(tmp_path, name):
    tokenizer = make_tokenizer(WORDS)
    model = pico_model(name, len(tokenizer), tokenizer.eos_token_id)
    save_checkpoint(model, tokenizer, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    # As the hub counts them.
    ("name", "parameters", "layers", "heads", "groups"),
    [(QWEN, 7_615_616_512, 28, 28, 4), (LLAMA, 10_670_220_835, 40, 32, 8)],
)
def test_every_matrix_of_the_true_language_model_is_labelled(
    name, parameters, layers, heads, groups
):
    config = true_config(name)
    with torch.device("meta"):
        model = auto_class(config).from_config(config)
    assert sum(p.numel() for p in model.parameters()) == parameters
    shapes = {  # by their names in the files of the hub
        tensor: tuple(value.shape)
        for tensor, value in revert_weight_conversion(model, model.state_dict()).items()
    }
    labels = Labels(DEFAULT_PATTERNS)
    found = {labels.of_matrix(tensor): tensor for tensor in shapes}
    found.pop(None)
    assert found.keys() == {
        *((layer, module) for layer in range(layers) for module in MODULES),
        (None, "embedding"),
        (None, "head"),
    }
    text = config.get_text_config()
    width, head = text.hidden_size, text.hidden_size // heads
    expected = {"q": (width, width), "k": (head * groups, width), "v": (head * groups, width)}
    expected |= {"o": (width, width), "down": (width, text.intermediate_size)}
    expected |= dict.fromkeys(("gate", "up"), (text.intermediate_size, width))
    for (layer, module), tensor in found.items():
        if layer is not None:
            assert shapes[tensor] == expected[module]
            assert f".layers.{layer}." in tensor
            assert "vision" not in tensor
            crossing = layer in getattr(text, "cross_attention_layers", ())
            if module in ("q", "k", "v", "o"):
                assert ("cross_attn" in tensor) == crossing
    for tensor in shapes:  # norms, biases and gates, too
        place = re.search(r"language_model\.model\.layers\.(\d+)|^model\.layers\.(\d+)", tensor)
        layer = int(place[1] or place[2]) if place else None
        assert labels.layer_of(tensor) == layer


def test_a_folder_is_loaded_strictly_and_saved_whole(folder, name, tmp_path):
    stored = load_file(folder / "model.safetensors")
    assert any("vision_model" in tensor for tensor in stored) == (name == LLAMA)
    assert config_faults(folder) == []
    save_checkpoint(load_model(folder), load_tokenizer(folder), tmp_path / "again")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_bfloat16_is_rounded_once_and_keeps_every_tensor(folder, tmp_path):
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    save_checkpoint(model, tokenizer, tmp_path / "half", torch.bfloat16)
    exact, half = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "half"))
    assert half.keys() == exact.keys()
    for tensor, value in exact.items():
        assert torch.equal(half[tensor], value.to(torch.bfloat16))
    loaded = load_model(tmp_path / "half", dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    # Saved once more, in the same type, nothing changes, the configuration included.
    save_checkpoint(load_model(tmp_path / "half"), tokenizer, tmp_path / "b", torch.bfloat16)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "b" / file).read_bytes() == (tmp_path / "half" / file).read_bytes()
    assert '"dtype": "bfloat16"' in (tmp_path / "half/config.json").read_text()
    assert model.dtype == torch.float32
    assert model.config.dtype != torch.bfloat16


def test_text_is_generated_as_the_whole_forward_would(folder):
    model = load_model(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)  # clear differences between logits
    shared = list(range(5, 22))  # longer than the shortest beginning that is computed once
    prompts = [[*shared, 7], [*shared, 9, 11], [*shared, 3, 4, 5]]
    replies = generate(model, prompts, max_new_tokens=5, stop_ids=[1], pad_id=0)
    assert len({tuple(reply) for reply in replies}) > 1
    for prompt, reply in zip(prompts, replies, strict=True):
        tokens = torch.tensor([[*prompt, *reply]])
        logits = model(input_ids=tokens, use_cache=False).logits[0, len(prompt) - 1 : -1]
        assert logits.argmax(dim=-1).tolist() == reply


def test_weights_are_decomposed_and_recovered(folder, tmp_path, name):
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    # In shards, as large models are.
    model.save_pretrained(tmp_path / "target", max_shard_size="40KB")
    tokenizer.save_pretrained(tmp_path / "target")
    assert len(list((tmp_path / "target").glob("model-*.safetensors"))) > 2
    for which in (folder, tmp_path / "target"):
        decompose_checkpoint(which, tmp_path / f"{which.name}.factors")
    anchor, target = (
        Decomposed.open(which, tmp_path / f"{which.name}.factors")
        for which in (folder, tmp_path / "target")
    )
    assert target.weights.depth == 5
    repair = Intervention("directions", top=1.0, layers=(0.6, 0.8), embedding_and_head=False)
    write_folder(target, anchor, repair, tmp_path / "out")
    exported = load_model(tmp_path / "out")  # strictly, vision tower and all
    with recovered(model, target, anchor, repair):
        for key, value in model.state_dict().items():
            assert torch.equal(exported.state_dict()[key], value), key
    before = load_model(tmp_path / "target").state_dict()
    changed = {k for k, v in exported.state_dict().items() if not torch.equal(v, before[k])}
    assert {re.search(r"layers\.(\d+)", key)[1] for key in changed} == {"3"}
    assert all(IN_LAYERS.search(key) for key in changed)
    assert len(changed) == len(MODULES)
    if name == LLAMA:
        assert any("cross_attn.k_proj" in key for key in changed)
        assert any("vision_model" in unmatched for unmatched in Weights(folder).unmatched)
