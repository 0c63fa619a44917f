"""Artefacts of a study, damaged, and what their reader says: the file and what mends it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from svdrift import artefacts
from svdrift.errors import UserError
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.scripting import PROVENANCE, read_table, write_table
from svdrift.spectra.decomposition import (
    Decomposed,
    FactorStore,
    decompose_checkpoint,
    require_same_matrices,
)

MODEL, FACTORS = Path("models/sft-4"), Path("spectra/sft-4/factors.safetensors")
OTHER = Path("spectra/base/factors.safetensors")
TABLE = Path("evaluation/sft-4/accuracy.parquet")
WEIGHTS, CONFIG = "model.safetensors", "config.json"
AGAIN = "and run the same command again"
BYTES = "holds other bytes than were written"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's artefacts: two models, their factors, a table."""
    study = tmp_path_factory.mktemp("whole")
    tokenizer = make_tokenizer(["J", "10"])
    shape = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16}
    for seed, name in enumerate(("sft-4", "base")):
        torch.manual_seed(seed)
        model = make_model(len(tokenizer), ArchitectureSettings(**shape))
        save_checkpoint(model, tokenizer, study / "models" / name)
        artefacts.write_checksums(study / "models" / name)
        (study / "models" / name / PROVENANCE).write_text("{}")
        (study / "spectra" / name).mkdir(parents=True)
        factors = study / "spectra" / name / FACTORS.name
        decompose_checkpoint(study / "models" / name, factors)
    (study / TABLE.parent).mkdir(parents=True)
    write_table(pd.DataFrame({"cards": ["6 2 J Q"] * 50, "solved": [True, False] * 25}),
                study / TABLE)  # fmt: skip
    return study


@pytest.fixture
def study(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(whole, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    monkeypatch.setattr(artefacts, "_known", {})  # as in a process of its own
    artefacts._told.cache_clear()
    return tmp_path / "study"


def flipped(file: Path, share: float) -> Callable[[], None]:
    def damage() -> None:
        data = bytearray(file.read_bytes())
        data[int(share * (len(data) - 1))] ^= 4
        file.write_bytes(data)

    return damage


def cut(file: Path, share: float) -> Callable[[], None]:
    return lambda: os.truncate(file, int(share * file.stat().st_size))


def gone(file: Path) -> Callable[[], None]:
    return lambda: file.unlink()


def zeros(file: Path) -> Callable[[], None]:
    def damage() -> None:
        with file.open("r+b") as opened:
            opened.seek(file.stat().st_size // 2)
            opened.write(bytes(200))

    return damage


def nan(file: Path, **metadata: str) -> Callable[[], None]:
    """One NaN in an older version's file of factors, which has no checksum."""

    def damage() -> None:
        from safetensors import safe_open

        with safe_open(file, framework="pt") as opened:
            kept = {name: text for name, text in opened.metadata().items() if name != "checksum"}
        factors = load_file(file)
        factors["lm_head.weight.S"][0] = torch.nan
        save_file(factors, file, metadata=kept)

    return damage


def swapped(file: Path, other: Path) -> Callable[[], None]:
    return lambda: shutil.copyfile(other, file) and None


def drift() -> None:
    """What a job does that compares two checkpoints."""
    pair = [Decomposed.open(Path("models") / p.parent.name, p) for p in (OTHER, FACTORS)]
    require_same_matrices(*pair)
    for key in pair[0].factors.matrices:
        pair[1].factors.read(key)


def evaluate() -> None:
    load_model(MODEL)
    load_tokenizer(MODEL)


def decompose() -> None:
    decompose_checkpoint(MODEL, Path("out.safetensors"))


def factors() -> None:
    FactorStore(FACTORS)


def table() -> None:
    read_table(TABLE)


FOLDER, IT = f"delete {MODEL} {AGAIN}", f"delete it {AGAIN}"
ROWS = [
    (flipped(MODEL / WEIGHTS, 0.001), evaluate, MODEL / WEIGHTS, BYTES, FOLDER),
    (flipped(MODEL / WEIGHTS, 0.9), evaluate, MODEL / WEIGHTS, BYTES, FOLDER),
    (flipped(MODEL / WEIGHTS, 0.5), decompose, MODEL / WEIGHTS, BYTES, FOLDER),
    (flipped(MODEL / WEIGHTS, 0.6), drift, MODEL / WEIGHTS, BYTES, FOLDER),
    (flipped(MODEL / WEIGHTS, 1.0), drift, MODEL / WEIGHTS, BYTES, FOLDER),
    (zeros(MODEL / WEIGHTS), evaluate, MODEL / WEIGHTS, BYTES, FOLDER),
    (cut(MODEL / WEIGHTS, 0.5), evaluate, MODEL / WEIGHTS, BYTES, FOLDER),
    (cut(MODEL / WEIGHTS, 0), evaluate, MODEL / WEIGHTS, BYTES, FOLDER),
    (cut(MODEL / WEIGHTS, 0.9), decompose, MODEL / WEIGHTS, BYTES, FOLDER),
    (gone(MODEL / WEIGHTS), evaluate, MODEL / WEIGHTS, "is missing", FOLDER),
    (gone(MODEL / WEIGHTS), decompose, MODEL / WEIGHTS, "is missing", FOLDER),
    (swapped(MODEL / WEIGHTS, Path("models/base", WEIGHTS)), evaluate, MODEL, BYTES, FOLDER),
    (flipped(MODEL / CONFIG, 0.5), evaluate, MODEL / CONFIG, BYTES, FOLDER),
    (flipped(MODEL / CONFIG, 0.3), decompose, MODEL / CONFIG, BYTES, FOLDER),
    (flipped(MODEL / "tokenizer.json", 0.5), evaluate, MODEL / "tokenizer.json", BYTES, FOLDER),
    (gone(MODEL / "tokenizer.json"), evaluate, MODEL / "tokenizer.json", "is missing", FOLDER),
    (flipped(MODEL / "chat_template.jinja", 0.4), evaluate, MODEL, BYTES, FOLDER),
    (flipped(MODEL / artefacts.SUMS, 0.1), evaluate, MODEL, "chat_template", FOLDER),
    (cut(MODEL / artefacts.SUMS, 0), evaluate, MODEL / artefacts.SUMS, "is no list", FOLDER),
    (flipped(FACTORS, 0.5), drift, FACTORS, BYTES, IT),
    (flipped(FACTORS, 0.03), factors, FACTORS, BYTES, IT),
    (flipped(FACTORS, 1.0), drift, FACTORS, BYTES, IT),
    (zeros(FACTORS), factors, FACTORS, BYTES, IT),
    (cut(FACTORS, 0.5), factors, FACTORS, BYTES, IT),
    (cut(FACTORS, 0), factors, FACTORS, "not a file of factors", IT),
    (nan(FACTORS), drift, FACTORS, "lm_head.weight.S holds NaN", IT),
    (swapped(FACTORS, OTHER), drift, FACTORS, f"made from other weights than those of {MODEL}", IT),
    (gone(FACTORS), factors, FACTORS, "no such file", ""),
    (flipped(TABLE, 0.1), table, TABLE, BYTES, IT),
    (flipped(TABLE, 0.7), table, TABLE, BYTES, IT),
    (flipped(TABLE, 1.0), table, TABLE, BYTES, IT),
    (cut(TABLE, 0.5), table, TABLE, BYTES, IT),
    (cut(TABLE, 0), table, TABLE, "cannot be read as a table", IT),
    (gone(TABLE), table, TABLE, "no such file", ""),
]


def test_whole_artefacts_are_read(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for read in (evaluate, decompose, drift, factors, table):
        read()
    assert capsys.readouterr().err == ""
    assert len(ROWS) >= 25


@pytest.mark.parametrize(("damage", "read", "file", "problem", "remedy"), ROWS)
def test_damage_is_named_with_what_mends_it(study, damage, read, file, problem, remedy):
    damage()
    with pytest.raises(UserError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(file))
    assert problem in message
    assert message.endswith(remedy)
    assert not Path("out.safetensors").exists()
