import shutil
from pathlib import Path

import pytest

from svdrift import tracking
from svdrift.errors import UserError


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
    forget()
    yield tmp_path
    forget()


def digest():
    forget()
    return tracking.code_digest("script.py")


def forget():
    for function in vars(tracking).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


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
    scripts = (root / "scripts/train.py", root / "svdrift/training/sft/train.py")
    names = {path.name for path in tracking.imported_modules(*scripts)}
    assert "trainer.py" in names
    assert not names & {"style.py", "statistics.py", "angles.py"}


METHODS = ("pretrain", "import_model", "sft", "ppo", "grpo")


def run_code(method):
    """Digest of the code that a run by this method runs."""
    forget()
    return tracking.code_digest("scripts/train.py", f"svdrift/training/{method}/train.py")


@pytest.mark.parametrize(
    ("edited", "changed"),
    [
        ("svdrift/training/ppo/train.py", {"ppo"}),
        ("svdrift/training/ppo/math.py", {"ppo"}),
        ("svdrift/training/sft/train.py", {"sft"}),
        ("svdrift/training/trainer.py", {"sft", "grpo"}),
        ("svdrift/training/rollout.py", {"ppo", "grpo"}),
        ("svdrift/training/snapshots.py", set(METHODS)),  # which the script imports itself
        ("svdrift/training/ppo/settings.py", set()),
        ("svdrift/training/method.py", set()),
        ("svdrift/plugins.py", set()),
        ("svdrift/study/settings.py", set()),
        ("svdrift/story.py", set()),
    ],
)
def test_an_edited_method_trains_again_and_no_other(tmp_path, monkeypatch, edited, changed):
    for folder in ("scripts", "svdrift"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(tracking.ROOT / folder, tmp_path / folder, ignore=ignored)
    monkeypatch.setattr(tracking, "ROOT", tmp_path)
    before = {method: run_code(method) for method in METHODS}
    with (tmp_path / edited).open("a") as file:
        file.write("\nedited = True\n")
    after = {method: run_code(method) for method in METHODS}
    assert {method for method in METHODS if after[method] != before[method]} == changed


def test_a_file_outside_the_repository_is_digested_by_its_name_and_code(project, tmp_path_factory):
    elsewhere = [tmp_path_factory.mktemp("own") / "settings.py" for _ in range(2)]
    for own in elsewhere:
        own.write_text("from svdrift.rooms import b\n")

    def digest_of(own):
        forget()
        return tracking.code_digest("script.py", str(own))

    before = digest_of(elsewhere[0])
    assert before not in (digest(), digest_of(elsewhere[0].rename(elsewhere[0].with_name("x.py"))))
    assert digest_of(elsewhere[1]) == before  # wherever it lies
    (project / "svdrift/rooms/b.py").write_text("def g():\n    return 2\n")
    edited_import = digest_of(elsewhere[1])
    elsewhere[1].write_text("from svdrift.rooms import b\nx = 1\n")
    assert len({before, edited_import, digest_of(elsewhere[1])}) == 3


@pytest.mark.parametrize(
    "module", ["svdrift/rooms/settings", "svdrift/rooms/method", "svdrift/study/stages"]
)
def test_what_plumbing_imports_is_not_followed(project, module):
    (project / f"{module}.py").parent.mkdir(exist_ok=True)
    (project / f"{module}.py").write_text("from svdrift.rooms import c\n")
    (project / "script.py").write_text(f"import {module.replace('/', '.')}\n")
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


def test_the_versions_of_imported_libraries_are_named(project, monkeypatch):
    monkeypatch.setattr(tracking, "version", lambda name: {"torch": "2.1.0+cpu"}.get(name, "1.0"))
    forget()
    assert tracking.software("script.py") == ""
    (project / "svdrift/rooms/b.py").write_text("import json\nfrom torch import nn\nimport yaml\n")
    (project / "svdrift/rooms/c.py").write_text("import matplotlib\n")  # which nothing imports
    forget()
    assert tracking.software("script.py") == "PyYAML 1.0, torch 2.1.0"
    (project / "svdrift/rooms/b.py").write_text("import no_such_library\n")
    forget()
    with pytest.raises(UserError, match=r"no_such_library is imported by script.py, and"):
        tracking.software("script.py")


def test_only_figures_import_matplotlib():
    forget()
    scripts = [f"scripts/{path.name}" for path in (tracking.ROOT / "scripts").glob("*.py")]
    drawing = {name for name in scripts if "matplotlib" in tracking.software(name)}
    # The report takes colours and formats from the figures' style.
    names = ("plot", "compare_studies", "judge_paper", "write_report")
    assert drawing == {f"scripts/{name}.py" for name in names}


def test_what_was_parsed_is_remembered_by_content(project, monkeypatch, tmp_path):
    """By another process, until the source or the parser itself is another."""
    monkeypatch.setattr(tracking, "MEMORY", tmp_path / "deep" / "memory.json")
    parsed = []
    parse = tracking._parse
    monkeypatch.setattr(
        tracking, "_parse", lambda source, path: parsed.append(path.name) or parse(source, path)
    )

    def as_another_process():
        tracking._remember()
        parsed.clear()
        tracking._parsed.clear()
        return digest()

    first = digest()
    assert sorted(parsed) == ["__init__.py", "a.py", "b.py", "script.py"]
    assert as_another_process() == first
    assert parsed == []
    (project / "svdrift/rooms/b.py").write_text("def g():\n    return 2\n")
    assert as_another_process() != first
    assert parsed == ["b.py"]
    tracking.MEMORY.write_text("no JSON")
    tracking._parsed.clear()
    digest()
    assert len(parsed) == 1 + 4


def test_which_libraries_there_are_is_remembered_until_another_is_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(tracking, "MEMORY", tmp_path / "deep" / "memory.json")
    monkeypatch.setattr("sys.path", [str(tmp_path), str(tmp_path / "none")])
    looked = []

    def found():
        looked.append(1)
        return {"yaml": ["PyYAML"]}

    monkeypatch.setattr(tracking, "packages_distributions", found)
    (tmp_path / "pyyaml-6.dist-info").mkdir()
    for installed, times in [("", 1), ("", 1), ("numpy-2.dist-info", 2), ("", 2)]:
        (tmp_path / installed).mkdir(exist_ok=True)
        forget()
        assert tracking._distributions() == {"yaml": ["PyYAML"]}
        assert len(looked) == times
    forget()
