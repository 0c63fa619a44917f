"""What is read is what was written, whatever has happened to the file in between."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from svdrift import artefacts
from svdrift.artefacts import BLANK, SUMS, link_tree, require_sealed, require_unchanged, seal
from svdrift.errors import UserError
from svdrift.scripting import read_table, write_table

AGAIN = "and run the same command again"


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a process of its own, as far as files are known."""
    monkeypatch.setattr(artefacts, "_known", {})
    artefacts._told.cache_clear()


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


TABLE = pd.DataFrame(
    {
        "checkpoint": ["base", "sft-4", None, "sft-64.ppo-60"] * 5,
        "cards": [[3, 11, 5, 10], [1, 2, 3, 4], [], [13]] * 5,
        "step": np.arange(20),
        "value": np.linspace(0, 1, 20),
        "solved": [True, False] * 10,
    }
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_table(TABLE, tmp_path / "accuracy.parquet")
    return tmp_path / "accuracy.parquet"


# --------------------------------------------------------------------------------------
# Tables


def test_a_table_comes_back_and_any_reader_reads_it(table: Path) -> None:
    for found in (read_table(table), pd.read_parquet(table)):
        assert found.drop(columns="cards").equals(TABLE.drop(columns="cards"))
        assert [list(cards) for cards in found["cards"]] == list(TABLE["cards"])


@pytest.mark.parametrize(
    "rows", [TABLE.iloc[:0], TABLE[["value"]].astype("float32"), TABLE.tail(3)]
)
def test_a_table_is_read_as_pandas_would_have_stored_it(rows: pd.DataFrame, tmp_path: Path) -> None:
    write_table(rows, tmp_path / "ours.parquet")
    rows.to_parquet(tmp_path / "plain.parquet", index=False)
    plain = pd.read_parquet(tmp_path / "plain.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "ours.parquet"), plain)


def test_the_same_table_gives_the_same_bytes(table: Path, tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == table.read_bytes()


def test_no_flipped_bit_of_a_table_is_read_as_another_value(table: Path) -> None:
    whole = table.read_bytes()
    mark = whole.index(artefacts.MARK)
    places = random.Random(0).sample(range(len(whole) * 8), 400)
    for bit in places:
        flip(table, bit)
        if mark <= bit // 8 < mark + len(artefacts.MARK):  # seems to have none; values are whole
            assert len(read_table(table)) == len(TABLE)
        else:
            with pytest.raises(UserError, match=AGAIN):
                read_table(table)
        table.write_bytes(whole)
        artefacts._known.clear()
    assert read_table(table)["step"].equals(TABLE["step"])


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_truncated_table_is_refused(table: Path, length: int) -> None:
    table.write_bytes(table.read_bytes()[:length])
    with pytest.raises(UserError, match=rf"{table}: .*{AGAIN}"):
        read_table(table)


def test_a_table_without_a_checksum_is_read_and_told_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        TABLE.to_parquet(tmp_path / f"{name}.parquet")
        assert len(read_table(tmp_path / f"{name}.parquet")) == len(TABLE)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{tmp_path / 'one.parquet'}: has no checksum" in told


def test_a_file_is_read_once_and_again_when_it_changes(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_sealed(table)
    monkeypatch.setattr(artefacts, "_sealed", lambda *_: pytest.fail("read again"))
    require_sealed(table)
    monkeypatch.undo()
    flip(table, 8 * 100)
    with pytest.raises(UserError, match="other bytes"):
        require_sealed(table)


# --------------------------------------------------------------------------------------
# Files of tensors


def test_a_sealed_file_of_tensors_is_read_by_safetensors(tmp_path: Path) -> None:
    file = tmp_path / "factors.safetensors"
    tensors = {"a": torch.arange(6.0)}
    save_file(tensors, file, metadata={"checksum": BLANK})
    seal(file)
    require_sealed(file)
    assert torch.equal(load_file(file)["a"], tensors["a"])
    flip(file, 8 * (file.stat().st_size - 2))
    with pytest.raises(UserError, match=rf"{file}: holds other bytes .* delete it {AGAIN}"):
        require_sealed(file)


def test_a_file_without_room_is_not_sealed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no room"):
        seal(tmp_path / "file")


# --------------------------------------------------------------------------------------
# Folders


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model under the three names that a study gives it, and a link to nothing of it."""
    monkeypatch.chdir(tmp_path)
    run = Path("results/smoke/seed-0/training/sft/models")
    kept = run / "4"
    kept.mkdir(parents=True)
    (kept / "model.safetensors").write_bytes(bytes(range(200)))
    (kept / "config.json").write_text("{}")
    (kept / "provenance.json").write_text("{}")
    artefacts.write_checksums(kept)
    link_tree(kept, Path("results/smoke/seed-0/models/sft-4"))
    link_tree(run, Path("results/.store/0abc/0"))
    return kept


def test_checksums_are_those_of_sha256sum(study: Path) -> None:
    lines = (study / SUMS).read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["config.json", "model.safetensors"]
    done = subprocess.run(["sha256sum", "--check", SUMS], cwd=study, check=False)
    assert done.returncode == 0


def test_a_damaged_file_is_found_under_all_its_names(study: Path) -> None:
    require_unchanged(study)
    inode = study / "model.safetensors"
    with inode.open("r+b") as file:
        file.seek(100)
        file.write(b"?")
    model = Path("results/smoke/seed-0/models/sft-4")
    others = {str(study.parent), "results/.store/0abc", str(model)}
    for folder in (model, study):
        with pytest.raises(UserError) as caught:
            require_unchanged(folder)
        message = str(caught.value)
        assert message.startswith(f"{folder}/model.safetensors: holds other bytes than were")
        assert message.endswith(f"(links to the same file) {AGAIN}")
        delete = message.split("; delete ")[1].split(" (links")[0].split(" and ")
        assert set(delete) == others


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json: is missing"),
        (lambda folder: (folder / "config.json").write_text("{ }"), "config.json: holds other"),
        (lambda folder: (folder / SUMS).write_text("?"), f"{SUMS}: is no list of checksums"),
        (lambda folder: (folder / SUMS).write_text(""), f"{SUMS}: is no list of checksums"),
        (lambda folder: (folder / SUMS).write_bytes(b"\xff" * 99), "is no list of checksums"),
        (
            lambda folder: (folder / SUMS).write_text("0" * 8 + (folder / SUMS).read_text()[8:]),
            "config.json: holds other",
        ),
    ],
)
def test_a_damaged_folder_is_refused(study: Path, damage, problem: str) -> None:
    folder = Path("copy")
    for file in study.iterdir():
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())
    require_unchanged(folder)
    artefacts._known.clear()
    damage(folder)
    with pytest.raises(UserError) as caught:
        require_unchanged(folder)
    assert problem in str(caught.value)
    assert f"; delete copy {AGAIN}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_checksums_is_told_of_if_a_study_made_it(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / SUMS).unlink()
    require_unchanged(study)
    require_unchanged(study)
    assert capsys.readouterr().err.count("has no checksum") == 1
    artefacts._told.cache_clear()
    (study / "provenance.json").unlink()  # a model of the user's own
    require_unchanged(study)
    assert capsys.readouterr().err == ""


def test_checksums_of_links_leave_what_they_lead_to(tmp_path: Path) -> None:
    own, study = tmp_path / "own", tmp_path / "study"
    for folder in (own, study):
        folder.mkdir()
    (own / SUMS).write_text("mine")
    (own / "config.json").write_text("{}")
    for file in own.iterdir():
        (study / file.name).symlink_to(file)
    artefacts.write_checksums(study)
    require_unchanged(study)
    assert (own / SUMS).read_text() == "mine"
    (own / "config.json").write_text("{ }")
    with pytest.raises(UserError, match=r"config.json: holds other bytes"):
        require_unchanged(study)


def test_a_tree_is_linked_and_replaces_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("new")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/file").write_text("old")
    link_tree(tmp_path / "a", tmp_path / "b")
    assert os.path.samefile(tmp_path / "a/file", tmp_path / "b/file")


def test_the_mark_is_found_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    for before in range(40):
        monkeypatch.setattr(artefacts, "CHUNK", 16)
        file.write_bytes(b"s" * before + BLANK.encode() + b"end")
        seal(file)
        artefacts._known.clear()
        monkeypatch.setattr(artefacts, "CHUNK", 1000)
        require_sealed(file)
        assert file.read_bytes()[:before] == b"s" * before
