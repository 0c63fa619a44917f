"""Loading refuses whatever transformers would silently initialise; saving is exact."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from svdrift.errors import UserError
from svdrift.models.folders import floating_types, weights_hash
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint

HEAD = "lm_head.weight"
Tensors = dict[str, torch.Tensor]


def _edit(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _refusal(folder: Path, load: Callable[[Path], object] = load_model) -> str:
    with pytest.raises(UserError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_round_trip(folder: Path, llama: LlamaForCausalLM) -> None:
    exact = {"rtol": 0.0, "atol": 0.0}
    model = load_model(folder)
    torch.testing.assert_close(model.state_dict(), llama.state_dict(), **exact)
    assert not model.training
    plain = AutoModelForCausalLM.from_pretrained(folder)
    torch.testing.assert_close(plain.state_dict(), llama.state_dict(), **exact)
    assert type(plain) is LlamaForCausalLM


def test_tokenizer_round_trip(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "user", "content": "J= 11 J"}, {"role": "assistant", "content": "11"}]
    wanted = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    for loaded in (load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)):
        assert loaded.apply_chat_template(messages, return_dict=True)["input_ids"] == wanted
        assert (loaded.eos_token, loaded.pad_token) == ("<eos>", "<pad>")
        assert loaded.decode(wanted, skip_special_tokens=True) == "J= 11 J 11"


def test_dtype(folder: Path, llama: LlamaForCausalLM) -> None:
    half = load_model(folder, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    save_checkpoint(half, load_tokenizer(folder), folder)
    again = load_model(folder)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    torch.testing.assert_close(
        again.get_parameter(HEAD), llama.lm_head.weight.bfloat16().float(), rtol=0, atol=0
    )


def test_missing_tensor(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.pop(HEAD))
    assert f"missing: {HEAD}" in _refusal(folder)


def test_unexpected_tensor(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update(extra=torch.zeros(2)))
    assert "unexpected: extra" in _refusal(folder)


def test_wrong_shape(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update({HEAD: torch.zeros(3, 16)}))
    assert f"wrong shape: {HEAD} (3, 16) instead of (15, 16)" in _refusal(folder)


def test_many_missing_tensors_stay_one_line(folder: Path) -> None:
    _edit(folder, lambda tensors: [tensors.pop(name) for name in sorted(tensors)[:8]])
    assert "and 3 more" in _refusal(folder)


def test_refusals_are_not_repeated_in_the_log(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _edit(folder, lambda tensors: tensors.pop(HEAD))
    _refusal(folder)
    assert capfd.readouterr().err == ""


def test_tied_embeddings_are_not_missing(
    tmp_path: Path, llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    llama.config.tie_word_embeddings = True
    tied = LlamaForCausalLM(llama.config)
    save_checkpoint(tied, tokenizer, tmp_path / "tied")
    assert HEAD not in load_file(tmp_path / "tied" / "model.safetensors")
    loaded = load_model(tmp_path / "tied")
    assert loaded.get_parameter(HEAD) is loaded.get_parameter("model.embed_tokens.weight")


def test_pickled_weights_are_refused(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "pickled weights are refused" in _refusal(folder)


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "cannot be loaded" in _refusal(folder)
    assert "cannot be read" in _refusal(folder, weights_hash)


def test_no_folder_no_config_no_tokenizer(folder: Path) -> None:
    assert "no such folder" in _refusal(folder / "nowhere")
    (folder / "tokenizer_config.json").unlink()
    assert "no tokenizer" in _refusal(folder, load_tokenizer)
    (folder / "config.json").unlink()
    assert "no config.json" in _refusal(folder)


@pytest.mark.parametrize(
    "config",
    ["{", "[]", "{}", '{"model_type": "zzz"}', '{"model_type": "llama", "vocab_size": "a"}'],
)
def test_unreadable_config(folder: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    assert "cannot be loaded" in _refusal(folder)


def test_unreadable_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    _refusal(folder, load_tokenizer)


def test_saving_is_deterministic_and_replaces(folder: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = contents()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= first.keys()
    (folder / "stale").touch()
    save_checkpoint(load_model(folder), load_tokenizer(folder), folder)
    assert contents() == first
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_interrupted_saving_leaves_the_old_folder(
    folder: Path,
    llama: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    before = weights_hash(folder)
    monkeypatch.setattr(tokenizer, "save_pretrained", full_disk)
    torch.nn.init.zeros_(llama.lm_head.weight)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(llama, tokenizer, folder)
    assert weights_hash(folder) == before
    monkeypatch.undo()
    save_checkpoint(llama, tokenizer, folder)  # what the interrupted run left is no obstacle
    assert weights_hash(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_weights_hash_ignores_sharding(folder: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    load_model(folder).save_pretrained(sharded, max_shard_size="4KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    assert weights_hash(sharded) == weights_hash(folder)
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    (sharded / index["weight_map"][HEAD]).unlink()
    assert "is missing" in _refusal(sharded, weights_hash)


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.index_put((torch.tensor(3), torch.tensor(4)), torch.tensor(7.0)),
        lambda head: head.reshape(16, 15),
        lambda head: head.view(torch.int32),
    ],
    ids=["value", "shape", "dtype"],
)
def test_weights_hash_sees_changes(
    folder: Path, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    before = weights_hash(folder)
    _edit(folder, lambda tensors: tensors.update({HEAD: change(tensors[HEAD])}))
    assert weights_hash(folder) != before


def test_weights_hash_sees_names_and_bfloat16(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update({HEAD: tensors[HEAD].bfloat16()}))
    before = weights_hash(folder)
    _edit(folder, lambda tensors: tensors.update(renamed=tensors.pop(HEAD)))
    assert weights_hash(folder) != before


def test_weights_hash_ignores_the_rest_of_the_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").unlink()
    assert weights_hash(tmp_path / "copy") == weights_hash(folder)


LLAMA_3 = """\
{%- if not date_string is defined %}
{%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
Today Date: {{ date_string }}
{% for message in messages %}{{ message.content }}{% endfor %}"""


def with_template(folder: Path, template: str) -> Path:
    (folder / "chat_template.jinja").write_text(template)
    return folder


def test_prompts_do_not_hold_todays_date(folder: Path, tmp_path: Path) -> None:
    message = [{"role": "user", "content": "J"}]
    fixed = load_tokenizer(with_template(folder, LLAMA_3))
    assert "Date: 26 Jul 2024" in fixed.apply_chat_template(message, tokenize=False)
    fixed.save_pretrained(folder)  # as checkpoints are
    again = load_tokenizer(folder)
    assert again.chat_template == fixed.chat_template
    plain = AutoTokenizer.from_pretrained(folder)
    assert "Date: 26 Jul 2024" in plain.apply_chat_template(message, tokenize=False)


def test_a_template_that_always_writes_todays_date_is_refused(folder: Path) -> None:
    message = _refusal(with_template(folder, "{{ strftime_now('%d') }}"), load_tokenizer)
    assert "today's date" in message


def test_the_types_of_a_folder(folder: Path) -> None:
    assert floating_types(folder) == {"F32"}
    save_checkpoint(load_model(folder), load_tokenizer(folder), folder, torch.bfloat16)
    assert floating_types(folder) == {"BF16"}
