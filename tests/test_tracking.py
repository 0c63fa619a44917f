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
    tracking._direct_imports.cache_clear()
    tracking._parsed.cache_clear()
    return tracking.code_digest("script.py")


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
    (project / "svdrift/settings.py").write_text("from svdrift.rooms import c\n")
    (project / "script.py").write_text("from svdrift import settings\n")
    before = digest()
    (project / "svdrift/rooms/c.py").write_text("x = 2\n")
    assert digest() == before
