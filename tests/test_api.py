"""The names that `import svdrift` offers; the examples of docs/python.md use them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import svdrift


def test_every_name_is_there_and_listed():
    assert set(svdrift.__all__) <= set(dir(svdrift))
    for name in svdrift.__all__:
        assert getattr(svdrift, name).__name__ == name


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'svdrift' has no attribute 'repair'"):
        svdrift.repair  # noqa: B018
    assert not hasattr(svdrift, "__path_hooks__")


@pytest.mark.parametrize(
    ("name", "loads"), [("UserError", []), ("Intervention", []), ("load_table", ["pandas"])]
)
def test_a_name_loads_what_it_needs(name, loads):
    """`import svdrift` loads neither, and what a name loads comes with its first use."""
    code = (
        "import sys, svdrift; known = set(sys.modules); assert 'pandas' not in known; "
        f"svdrift.{name}; print(*sorted({{'pandas', 'torch'}} & (set(sys.modules) - known)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == loads


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("svdrift.api.tables.find_spec", lambda name: None)
    with pytest.raises(svdrift.UserError, match=r"needs pyarrow \(pip install pyarrow"):
        svdrift.load_table(tmp_path / "table.parquet")
