from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from svdrift.models.tensor_file import TYPES, TensorFile


def test_the_library_reads_every_type_and_shape_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        f"{name}-{i}": (torch.randn(shape) * 10).to(dtype)
        for name, dtype in TYPES.items()
        for i, shape in enumerate([(), (0, 3), (3, 5), (7,)])
    }
    names = {dtype: name for name, dtype in TYPES.items()}
    entries = {n: (names[t.dtype], tuple(t.shape)) for n, t in tensors.items()}
    with TensorFile(tmp_path / "x", entries, {"who": "ä"}) as file:
        for name, tensor in tensors.items():
            file.write(name, tensor)
    back = load_file(tmp_path / "x")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
    with safe_open(tmp_path / "x", framework="pt") as opened:
        assert opened.metadata() == {"format": "pt", "who": "ä"}


def test_writes_tensors_that_are_not_contiguous(tmp_path: Path) -> None:
    matrix = torch.arange(6.0).reshape(2, 3).T
    with TensorFile(tmp_path / "x", {"a": ("F32", (3, 2))}, {}) as file:
        file.write("a", matrix)
    assert torch.equal(load_file(tmp_path / "x")["a"], matrix)


def test_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    entries = {"a": ("F32", (2,)), "b": ("F32", (2,))}
    with (
        pytest.raises(ValueError, match="not every tensor"),
        TensorFile(tmp_path / "x", entries, {}) as file,
    ):
        file.write("a", torch.zeros(2))
    with (
        pytest.raises(ValueError, match="got b"),
        TensorFile(tmp_path / "x", entries, {}) as file,
    ):
        file.write("b", torch.zeros(2))
    assert list(tmp_path.iterdir()) == []
