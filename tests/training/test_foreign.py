"""Importing models of others: sound ones of many families, and damage of every kind, in one line.

Each row is a folder or a GGUF file that a user might have, and what is said of it.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from svdrift.errors import UserError
from svdrift.models import apart, chat, gguf
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.tiny import CHAT_TEMPLATE, make_tokenizer
from svdrift.training.import_model import train as room

WORDS = ["10", "11", "J", "Q", "K", "J=", "+", "(", ")", "="]
SHAPE = {
    "vocab_size": 15,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 96,
    "bos_token_id": None,
    "eos_token_id": 4,
    "pad_token_id": 0,
}
GROUPED = {**SHAPE, "num_key_value_heads": 1}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": GROUPED,
    "Mistral": {**GROUPED, "sliding_window": 5},
    "Qwen2": GROUPED,
    "Qwen3": {**GROUPED, "head_dim": 8},
    "Gemma": {**GROUPED, "head_dim": 8},
    "Gemma2": {**GROUPED, "head_dim": 8},
    "Phi": SHAPE,
    "Phi3": {**GROUPED, "original_max_position_embeddings": 96},
    "GPTNeoX": SHAPE,
    "GPT2": {**SHAPE, "n_inner": 24},
    "Olmo2": GROUPED,
    "StableLm": GROUPED,
    "Starcoder2": GROUPED,
    "Granite": GROUPED,
    "Cohere": GROUPED,
    "Mixtral": {**GROUPED, **EXPERTS},
}


def build(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    return AutoModelForCausalLM.from_config(config)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A sound folder of a family; made once."""
    place = tmp_path_factory.mktemp("sound")

    def folder(family: str) -> Path:
        if not (place / family).exists():
            save_checkpoint(build(family), make_tokenizer(WORDS), place / family)
        return place / family

    return folder


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "SECONDS", 1.0)


def imported(source: Path, tmp_path: Path, dtype: torch.dtype = torch.float32) -> Path:
    settings = SimpleNamespace(source=str(source))
    run = SimpleNamespace(work=tmp_path / "work", settings=settings, dtype=dtype)
    return room.train(run).checkpoints[0]


def refusal(source: Path, tmp_path: Path, dtype: torch.dtype = torch.float32) -> str:
    with pytest.raises(UserError) as caught:
        imported(source, tmp_path, dtype)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    assert source.name in message
    assert not list((tmp_path / "work").glob("step-*/*.safetensors"))
    return message


# --------------------------------------------------------------------------------------
# Families


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sound_model_of_any_family_is_imported(family, sound, tmp_path):
    folder = imported(sound(family), tmp_path)
    assert load_model(folder).config.model_type == build(family).config.model_type
    assert load_tokenizer(folder).chat_template == CHAT_TEMPLATE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("family", ["Llama", "GPT2", "Mixtral", "Qwen3"])
def test_a_spoilt_weight_is_refused_in_any_family(family, value, dtype, sound, tmp_path):
    folder = copy(sound(family), tmp_path)
    name = sorted(load_file(folder / "model.safetensors"))[-2]
    tensors(folder, lambda held: held[name].view(-1)[-1].fill_(value))
    assert " holds NaN or infinite entries (" in refusal(folder, tmp_path, dtype)


# --------------------------------------------------------------------------------------
# Damage to a folder


def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "mine"))


def tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    held = load_file(folder / "model.safetensors")
    change(held)
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})


def config(**changed: Any) -> Callable[[Path], None]:
    return edited("config.json", **changed)


def edited(name: str, **changed: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    return edit


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def template(content: str) -> Callable[[Path], None]:
    return text("chat_template.jinja", content)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str, length: int) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:length])

    return edit


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    return lambda folder: tensors(folder, change)


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def huge_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")


HEAD, NORM = "lm_head.weight", "model.norm.weight"
SAY = "{% for m in messages %}{{ m.content }}{% endfor %}"
ABOVE_0 = r"\(allowed: a whole number above 0\)"
DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    # Files
    ("no config", without("config.json"), "no config.json"),
    ("no weights", without("model.safetensors"), "pickled weights are refused"),
    ("pickled weights", pickled, "pickled weights are refused"),
    ("truncated weights", cut("model.safetensors", 3000), "model.safetensors"),
    ("empty weights", cut("model.safetensors", 0), "model.safetensors"),
    ("a huge header", huge_header, "model.safetensors"),
    ("no tokenizer", without("tokenizer_config.json"), "no tokenizer_config.json"),
    ("no vocabulary", without("tokenizer.json"), "mine"),
    ("a broken tokenizer", text("tokenizer.json", "{"), "mine"),
    ("another tokenizer", text("tokenizer.json", '{"model": {"type": "X"}}'), "mine"),
    ("a list as tokenizer", text("tokenizer.json", "[]"), "mine"),
    ("a list as its config", text("tokenizer_config.json", "[]"), "mine"),
    # Tensors
    ("a missing tensor", weights(lambda held: held.pop(HEAD)), f"missing: {HEAD}"),
    ("a surplus one", weights(lambda held: held.update(x=torch.ones(2))), "unexpected: x"),
    (
        "another shape",
        weights(lambda held: held.update({HEAD: torch.ones(3, 16)})),
        r"wrong shape: lm_head.weight \(3, 16\)",
    ),
    ("no tensors", weights(lambda held: held.clear()), "mine"),
    ("NaN", weights(lambda held: held[NORM][0].fill_(torch.nan)), r"norm.weight .*\(1 NaN and 0"),
    ("infinity", weights(lambda held: held[HEAD][0].fill_(-torch.inf)), "0 NaN and 16 infinite"),
    # Configuration
    ("no JSON", text("config.json", "{"), "config.json: cannot be loaded"),
    ("a list", text("config.json", "[]"), "mine: "),
    ("nothing in it", text("config.json", "{}"), "mine: "),
    ("an unknown family", config(model_type="zzz"), "mine: "),
    ("a number as family", config(model_type=7), "mine: "),
    ("0 heads", config(num_attention_heads=0), f"num_attention_heads is 0 {ABOVE_0}"),
    ("-2 heads", config(num_attention_heads=-2), f"num_attention_heads is -2 {ABOVE_0}"),
    ("half a head", config(num_attention_heads=0.5), f"num_attention_heads is 0.5 {ABOVE_0}"),
    ("true heads", config(num_attention_heads=True), f"num_attention_heads is true {ABOVE_0}"),
    ("0 key heads", config(num_key_value_heads=0), f"num_key_value_heads is 0 {ABOVE_0}"),
    ("3 key heads", config(num_key_value_heads=3), "heads is 3, .* not divide 2 heads|3 heads"),
    ("7 heads of 16", config(num_attention_heads=7), "mine: "),
    ("0 layers", config(num_hidden_layers=0), f"num_hidden_layers is 0 {ABOVE_0}"),
    (
        "many layers",
        config(num_hidden_layers=10**9),
        "1,000,000,000, but the files hold 21 tensors",
    ),
    ("more layers", config(num_hidden_layers=3), "missing: model.layers.2"),
    ("wide", config(hidden_size=10**12), r"hidden_size is 1,000,000,000,000, but the files hold"),
    ("narrow", config(hidden_size=8), "wrong shape"),
    ("0 wide", config(hidden_size=0), f"hidden_size is 0 {ABOVE_0}"),
    ("no words", config(vocab_size=0), f"vocab_size is 0 {ABOVE_0}"),
    ("many words", config(vocab_size=2**62), "vocab_size is 4,611,"),
    ("words as text", config(vocab_size="a"), "mine: "),
    ("no positions", config(max_position_embeddings=0), f"embeddings is 0 {ABOVE_0}"),
    ("many positions", config(max_position_embeddings=10**18), r"allowed: at most 2,147,483,648"),
    ("NaN in it", config(rms_norm_eps=float("nan")), r"rms_norm_eps is nan \(allowed: finite"),
    ("a negative epsilon", config(rms_norm_eps=-1.0), r"rms_norm_eps is -1.0 \(allowed: 0 or"),
    (
        "no rotation",
        config(rope_parameters={"rope_type": "default", "rope_theta": 0}),
        r"rope_parameters.rope_theta is 0 \(allowed: above 0\)",
    ),
    (
        "dropout of 7",
        config(attention_dropout=7.0),
        r"attention_dropout is 7.0 \(allowed: 0 to 1\)",
    ),
    ("an unknown activation", config(hidden_act="zzz"), "mine: "),
    ("an unknown rotation", config(rope_parameters={"rope_type": "zzz"}), "mine: "),
    ("a pad beyond the words", config(pad_token_id=10**6), "mine: "),
    ("foreign code", config(auto_map={"AutoConfig": "x.Y"}, model_type="zzz"), "mine: "),
    # Chat templates
    ("no template", without("chat_template.jinja"), "no chat template"),
    ("an empty one", template(""), "chat template"),
    ("one that says nothing", template("Hello."), r"leaves out what was said \('Which number\?'\)"),
    ("one without replies", template("{{ messages[0].content }}"), "leaves out what was said"),
    ("a syntax error", template("{% for"), "cannot be rendered: TemplateSyntaxError"),
    ("an undefined name", template("{{ a.b }}"), "cannot be rendered: UndefinedError"),
    ("one that refuses", template("{{ raise_exception('no') }}"), "rendered: TemplateError: no"),
    ("an include", template("{% include 'x' %}"), "cannot be rendered: "),
    ("a way out", template("{{ ''.__class__.__mro__ }}"), "cannot be rendered: SecurityError"),
    ("another", template("{{ cycler.__init__.__globals__.os }}"), "cannot be rendered: "),
    (
        "no end",
        template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        "cannot be rendered: not done within 1 s",
    ),
    (
        "no end in C",
        template("{{ messages | length and 9 ** (9 ** 9) }}"),
        "cannot be rendered: not done within 1 s",
    ),
    ("much memory", template("{{ 'x' * 99999999999 }}"), "cannot be rendered: it takes more than"),
    ("much text", template(SAY + "{{ 'x' * 999999 }}"), r"makes 1,000,0\d\d characters of"),
    ("no text", template("{{ 1 / 0 }}"), "cannot be rendered: ZeroDivisionError"),
]


def test_there_are_enough_rows() -> None:
    assert len(DAMAGE) >= 60
    assert len({name for name, _, _ in DAMAGE}) == len(DAMAGE)
    assert len(FAMILIES) >= 12


@pytest.mark.parametrize(
    ("damage", "said"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE]
)
def test_a_damaged_folder_is_refused_in_one_line(damage, said, sound, tmp_path):
    folder = copy(sound("Llama"), tmp_path)
    damage(folder)
    assert re.search(said, refusal(folder, tmp_path))


def test_tokens_that_the_model_does_not_know_are_refused(tmp_path):
    save_checkpoint(build("Llama"), make_tokenizer([*WORDS, "Which"]), tmp_path / "mine")
    message = refusal(tmp_path / "mine", tmp_path)
    assert "its tokenizer writes token 15, but the model knows 15 only" in message


def test_a_model_that_does_not_fit_into_memory_is_refused(sound, tmp_path, monkeypatch):
    folder = imported(sound("Llama"), tmp_path)
    little = SimpleNamespace(available=10_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with pytest.raises(UserError, match=r"its weights take 0.0 GB of memory in float32, but only"):
        load_model(folder)


def test_what_a_process_apart_does_is_limited(tmp_path):
    def fill() -> None:
        bytearray(2**34)

    with pytest.raises(UserError, match=r"mine: this fails: it takes more than 1 GB of memory"):
        apart.try_apart(Path("mine"), "this fails", fill, seconds=30, room=2**30)
    apart.try_apart(Path("mine"), "this fails", lambda: None, seconds=30)


# --------------------------------------------------------------------------------------
# GGUF


def header(tensors: int = 0, **metadata: str | int | float) -> bytes:
    """A GGUF file's beginning: its metadata, and a number of tensors that do not follow."""

    def string(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    data = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(metadata))
    for name, value in metadata.items():
        data += string(name.replace("__", "."))
        if isinstance(value, str):
            data += struct.pack("<I", 8) + string(value)
        elif isinstance(value, float):
            data += struct.pack("<If", 6, value)
        else:
            data += struct.pack("<II", 4, value)
    return data


LLAMA = {"general__architecture": "llama"}
FILES = [
    ("empty", b"", "not a GGUF file"),
    ("another magic", b"GGML" + bytes(100), "not a GGUF file"),
    ("another version", b"GGUF" + struct.pack("<IQQ", 99, 0, 0), "not a GGUF file"),
    ("only a magic", b"GGUF", "not a GGUF file"),
    ("no tensors", header(**LLAMA), "holds no tensors, so it is no model"),
    ("many tensors", header(2**60, **LLAMA), "mine.gguf: "),
    ("tensors that are not there", header(3, **LLAMA), "mine.gguf: "),
    ("many keys", b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "mine.gguf: "),
    ("a long name", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "mine.gguf: "),
    ("no architecture", header(general__name="x"), "holds no tensors"),
]


@pytest.mark.parametrize(("data", "said"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_a_damaged_gguf_file_is_refused_in_one_line(data, said, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "SECONDS", 20.0)
    file = tmp_path / "mine.gguf"
    file.write_bytes(data)
    assert said in refusal(file, tmp_path)
