"""Factors on demand are those that a study keeps in files."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from svdrift.errors import UserError
from svdrift.spectra.drift import drift_tables
from svdrift.spectra.on_demand import open_on_demand
from tests.spectra.synthetic import llama, moved, save

SETTINGS = {"shares": [0.25], "windows": 2, "nulls": ["isotropic"], "draws": 2, "seed": 3}


def test_the_same_drift_as_from_files(tmp_path: Path) -> None:
    first, second = save(llama(0), tmp_path / "a"), save(moved(llama(0), 1), tmp_path / "b")
    kept = drift_tables(first, second, **SETTINGS)
    read: list[str] = []
    anchor = open_on_demand(tmp_path / "a", on_first_read=read.append)
    target = open_on_demand(tmp_path / "b")
    for table, again in zip(kept, drift_tables(anchor, target, **SETTINGS), strict=True):
        pd.testing.assert_frame_equal(again, table)
    assert anchor.factors.content_hash == first.factors.content_hash
    assert read == [matrix.name for matrix in anchor.weights.matrices]  # each told once


def test_chosen_modules_alone_are_labelled(tmp_path: Path) -> None:
    save(llama(0), tmp_path / "a")
    some = open_on_demand(tmp_path / "a", modules=["q", "head"])
    assert {matrix.module for matrix in some.weights.matrices} == {"q", "head"}
    values = some.factors.singular_values((2, "q"))
    assert torch.equal(values, some.factors.read((2, "q")).S)
    chosen = some.factors.read((2, "q"), torch.tensor([0, 3]))
    assert torch.equal(chosen.S, values[[0, 3]])
    assert torch.equal(some.factors.singular_values((2, "q")), values)  # all of them as before
    with pytest.raises(UserError, match="modules: 'z' is not known"):
        open_on_demand(tmp_path / "a", modules=["z"])
