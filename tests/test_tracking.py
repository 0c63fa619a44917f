from pathlib import Path

import pytest

from svdrift import tracking


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small package with a script; each test edits its own copy."""
    files = {
        "script.py": "from svdrift.rooms.a import f\n",
        "svdrift/__init__.py": "",
        "svdrift/rooms/__init__.py": "",
        "svdrift/rooms/a.py": "from svdrift.rooms import b\n\ndef f():\n    return b.g()\n",
        "svdrift/rooms/b.py": "def g():\n    return 1\n",
        "svdrift/rooms/c.py": "x = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(tracking, "ROOT", tmp_path)
    return tmp_path


def digest():
    forget()
    return tracking.code_digest("script.py")


def forget():
    for cached in (tracking._imported_names, tracking._parsed, tracking._distributions):
        cached.cache_clear()


def test_imports_are_followed_through_packages(project):
    names = [
        path.relative_to(project).as_posix()
        for path in tracking.imported_modules(project / "script.py")
    ]
    assert names == [
        "script.py",
        "svdrift/__init__.py",
        "svdrift/rooms/__init__.py",
        "svdrift/rooms/a.py",
        "svdrift/rooms/b.py",
    ]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("svdrift/rooms/b.py", "def g():\n    return 2\n"),
        ("script.py", "from svdrift.rooms.a import f\nf()\n"),
        ("svdrift/rooms/__init__.py", "y = 1\n"),
    ],
)
def test_edited_code_changes_the_digest(project, file, text):
    before = digest()
    (project / file).write_text(text)
    assert digest() != before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("svdrift/rooms/b.py", "# why\ndef g():\n    '''Doc.'''\n    return  1\n'''Of g.'''\n"),
        ("svdrift/rooms/c.py", "x = 2\n"),
    ],
)
def test_comments_docstrings_and_other_modules_do_not(project, file, text):
    before = digest()
    (project / file).write_text(text)
    assert digest() == before


def test_scripts_are_tracked_apart():
    """Editing the figures must not retrain: no training script imports them."""
    root = Path(tracking.__file__).parents[1]
    sft = {path.name for path in tracking.imported_modules(root / "scripts/train_sft.py")}
    assert "sft.py" in sft
    assert not sft & {"style.py", "statistics.py", "angles.py"}


def test_what_plumbing_imports_is_not_followed(project):
    (project / "svdrift/settings").mkdir()
    (project / "svdrift/settings/training.py").write_text("from svdrift.rooms import c\n")
    (project / "script.py").write_text("from svdrift.settings import training\n")
    before = digest()
    (project / "svdrift/rooms/c.py").write_text("x = 2\n")
    assert digest() == before


def test_an_import_within_a_function_counts_and_one_for_types_does_not(project):
    before = digest()
    (project / "svdrift/rooms/b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from svdrift.rooms import c\n"
        "def g():\n    return 1\n"
    )
    for_types = digest()
    (project / "svdrift/rooms/c.py").write_text("x = 2\n")
    assert digest() == for_types != before
    (project / "svdrift/rooms/b.py").write_text("def g():\n    from svdrift.rooms import c\n")
    lazy = digest()
    (project / "svdrift/rooms/c.py").write_text("x = 3\n")
    assert digest() != lazy


def test_the_versions_of_imported_libraries_are_told(project, monkeypatch):
    monkeypatch.setattr(tracking, "version", lambda name: {"torch": "2.1.0+cpu"}.get(name, "1.0"))
    forget()
    assert tracking.software("script.py") == ""
    (project / "svdrift/rooms/b.py").write_text("import json\nfrom torch import nn\nimport yaml\n")
    (project / "svdrift/rooms/c.py").write_text("import matplotlib\n")  # which nothing imports
    forget()
    assert tracking.software("script.py") == "PyYAML 1.0, torch 2.1.0"


def test_only_figures_import_matplotlib():
    forget()
    scripts = [f"scripts/{path.name}" for path in (tracking.ROOT / "scripts").glob("*.py")]
    drawing = {name for name in scripts if "matplotlib" in tracking.software(name)}
    assert drawing == {"scripts/plot.py", "scripts/compare_studies.py"}
