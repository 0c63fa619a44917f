"""A GPU that is asked for and not there is one line of every job with a device."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"
COMPUTING = [
    path
    for path in sorted(SCRIPTS.glob("*.py"))
    if any(added in path.read_text() for added in ("device_argument(", "sampling_arguments("))
]


def test_no_script_takes_a_device_unseen():
    assert len(COMPUTING) >= 8
    for path in SCRIPTS.glob("*.py"):
        assert '"--device"' not in path.read_text()


@pytest.mark.parametrize("script", COMPUTING, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("built_for", "line"),
    [
        (None, "--device: 'cuda' cannot be used here: this build of PyTorch is for CPUs alone"),
        ("13.0", "--device: 'cuda' cannot be used here: PyTorch sees 0 GPUs"),
    ],
)
def test_an_absent_gpu_is_refused_before_anything_is_read(
    script, built_for, line, monkeypatch, capsys
):
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(sys, "argv", [str(script), "--device", "cuda"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_a_gpu_that_is_there_is_taken(monkeypatch):
    from svdrift.compute import usable_device

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [usable_device(name) for name in ("cuda", "cuda:1", "cpu")] == ["cuda", "cuda:1", "cpu"]
