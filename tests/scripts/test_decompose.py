import subprocess
import sys

import pandas as pd
import pytest
import torch

from scripts import decompose
from svdrift.errors import UserError
from svdrift.spectra.decomposition import FactorStore
from svdrift.spectra.patterns import kind_of
from tests.recovery.test_architectures import EXPERTS, MOE, WIDE, make
from tests.spectra.synthetic import llama


def run(monkeypatch, folder, checkpoint="base"):
    arguments = ["--model", str(folder), "--checkpoint", checkpoint]
    for name in ("factors", "spectrum", "matrices"):
        arguments += [f"--{name}", str(folder / name)]
    monkeypatch.setattr(sys, "argv", ["decompose.py", *arguments])
    decompose.main()


def test_a_randomly_initialised_checkpoint_is_reported_loudly(tmp_path, monkeypatch, capsys):
    llama(0).save_pretrained(tmp_path)
    run(monkeypatch, tmp_path, "sft-8")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert "WARNING: sft-8: 30 of 30 matrices look freshly initialised" in warnings[0]
    assert "q of layers 0, 1, 2, 3; " in warnings[0]
    assert warnings[0].endswith("embedding; head")
    assert pd.read_parquet(tmp_path / "matrices")["looks_random"].all()


def test_a_trained_checkpoint_is_not(tmp_path, monkeypatch, capsys):
    """A strong direction in each matrix, as training leaves it."""
    model = llama(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.add_(torch.ones(len(parameter), 1) @ parameter[:1] * 2)
    model.save_pretrained(tmp_path)
    run(monkeypatch, tmp_path)
    assert "WARNING" not in capsys.readouterr().err
    store = FactorStore(tmp_path / "factors")
    assert len(pd.read_parquet(tmp_path / "matrices")) == len(store.matrices) == 30
    spectrum = pd.read_parquet(tmp_path / "spectrum")
    assert len(spectrum) == sum(matrix.rank for matrix in store.matrices.values())


@pytest.mark.parametrize(
    ("architecture", "settings", "kinds"),
    [
        ("GPT2", {}, {"q", "k", "v", "o", "up", "down"}),
        ("Mixtral", {"num_local_experts": 2}, MOE),
        ("Qwen3Moe", {**EXPERTS, **WIDE}, MOE),
    ],
)
def test_by_default_a_model_is_decomposed_by_its_own_layout(
    architecture, settings, kinds, tmp_path, monkeypatch, capsys
):
    make(tmp_path, architecture, settings, 0)
    run(monkeypatch, tmp_path)
    assert "not decomposed" not in capsys.readouterr().err
    table = pd.read_parquet(tmp_path / "matrices")
    inside = table[table["layer"].notna()]
    assert {kind_of(module) for module in inside["module"]} == kinds
    assert len(inside) == 3 * (len(kinds) + sum(kind.startswith("experts.") for kind in kinds))
    spectrum = pd.read_parquet(tmp_path / "spectrum")
    assert len(spectrum) == table["rank"].sum()


def test_pickled_weights_are_refused(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="pickled weights are refused"):
        run(monkeypatch, tmp_path)


def test_stages_of_weights_alone_start_without_transformers():
    code = (
        "import sys; import scripts.decompose, scripts.measure_drift, scripts.measure_updates; "
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
