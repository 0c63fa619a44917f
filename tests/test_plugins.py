"""A file of one's own that is no method, task or kind is refused in one line."""

import sys
from importlib.metadata import EntryPoint

import pytest

from svdrift import plugins, tasks, tracking
from svdrift.errors import UserError
from svdrift.findings.paper import load as load_paper
from svdrift.recovery import kind
from svdrift.tasks import load_settings as load_task
from svdrift.training.method import load_settings


@pytest.mark.parametrize("load", [load_settings, load_task, kind.load])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nx = = 2\n", "own.py: line 2: not Python: invalid syntax"),
        ("", r"own.py: defines no \w+ \(docs/extending.md"),
        (None, "own.py: no such file"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, load, text, message):
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    with pytest.raises(UserError, match=message):
        load(str(tmp_path / "own.py"))


RECORD = "from svdrift.training.method import Method, MethodSettings\nMETHOD = Method('x', ())\n"
TOTAL = "class Settings(MethodSettings):\n    total = property(lambda self: 1)\n"
PAPER = "from svdrift.findings.paper import Paper\ndef findings(tables, story): ...\n"
MADE = "title='', claims={}, control='', limits=''"
DRAWS = PAPER + f"PAPER = Paper({MADE}, reads=('a',), figures=%s)\n"


@pytest.mark.parametrize(
    ("load", "text", "message"),
    [
        (load_settings, "x = 1\ny = 1 + 'a'\n", "own.py: line 2: TypeError: unsupported operand"),
        (load_settings, "import no_such\n", "own.py: line 1: ModuleNotFoundError: No module named"),
        (load_settings, RECORD.replace("()", "(), play=1"), "own.py: line 2: TypeError: .*'play'"),
        (load_settings, RECORD + "class Settings: ...\n", "own.py: Settings is no svdrift.train"),
        (load_settings, RECORD + "class Settings(MethodSettings): ...\n", "no property `total`"),
        (load_settings, RECORD + TOTAL, "own.py: defines no train"),
        (load_settings, RECORD.replace("Method('x', ())", "1") + TOTAL, "own.py: METHOD is no"),
        (load_paper, PAPER + f"PAPER = Paper({MADE})\n", "own.py: line 3: TypeError: .*'reads'"),
        (load_paper, PAPER + f"PAPER = Paper({MADE}, reads='a')\n", "reads is a text, not a tuple"),
        (load_paper, PAPER + "PAPER = 1\n", "own.py: PAPER is no svdrift.findings.paper.Paper"),
        (load_paper, DRAWS % {"stages": "ab"}, "what stages draws is a text, not a tuple of names"),
        (load_paper, DRAWS % {"stages": ("a", "b")}, "stages draws 'b', which PAPER does not read"),
        (load_paper, DRAWS % {"stagse": ("a",)}, "there is no figure 'stagse', did you mean 'stag"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(tmp_path, load, text, message):
    (tmp_path / "own.py").write_text(text)
    sys.modules.pop("svdrift_own_own", None)
    with pytest.raises(UserError, match=message):
        load(str(tmp_path / "own.py"))


def test_what_is_wrong_in_an_imported_file_is_told_with_that_files_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helper.py").write_text("a = 1\nb = = 2\n")
    (tmp_path / "imports.py").write_text("import helper\n")
    with pytest.raises(UserError, match=r"helper.py: line 2: not Python: invalid syntax"):
        plugins.load("svdrift.findings.papers", str(tmp_path / "imports.py"))
    (tmp_path / "nulls.py").write_bytes(b"a = 1\0")
    with pytest.raises(UserError, match=r"nulls.py: not Python: source code string cannot contain"):
        plugins.load("svdrift.findings.papers", str(tmp_path / "nulls.py"))


def test_a_paper_is_called_as_a_page_can_be(tmp_path):
    file = tmp_path / "my paper.py"
    file.write_text(PAPER + f"PAPER = Paper({MADE}, reads=())\n")
    with pytest.raises(UserError, match="the file's name is that of its page"):
        load_paper(str(file))


def test_two_packages_that_offer_one_name_are_refused(monkeypatch):
    points = [EntryPoint("mine", module, "svdrift.tasks") for module in ("one.task", "two.task")]
    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", lambda group: points)
    plugins.offered.cache_clear()
    with pytest.raises(UserError, match=r"two installed packages offer 'mine': one.task and two"):
        plugins.offered("svdrift.tasks")
    plugins.offered.cache_clear()


@pytest.mark.parametrize("name", ["x" * 300 + ".py", "a\0.py"])
def test_a_name_that_no_file_has_is_refused(name):
    with pytest.raises(UserError, match="no such file"):
        load_settings(name)


def test_a_known_name_is_guessed():
    with pytest.raises(UserError, match="'pppo' is unknown, did you mean 'ppo'"):
        load_settings("pppo")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that offers a task and two modules that are none, installed as pip lays it out."""
    (tmp_path / "spellers.py").write_text(
        "class Settings: pass\nclass PlaySettings: pass\nclass Task: pass\n"
    )
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    folder = tmp_path / "spellers-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: spellers\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[{tasks.ROOM}]\nspelling = spellers\nbroken = broken\ngeneral_points = broken\n"
        f"[{kind.ROOM}]\nspelling = spellers\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spellers", raising=False)
    plugins.offered.cache_clear()
    yield tmp_path
    plugins.offered.cache_clear()


def test_an_installed_package_offers_a_task(package):
    assert load_task("spelling").Settings.__module__ == "spellers"
    assert tasks.task_class("spelling").__module__ == "spellers"
    assert plugins.files(tasks.ROOM, "spelling", "task") == (str(package / "spellers.py"),)
    assert tracking.code_digest(*plugins.files(tasks.ROOM, "spelling", "task"))
    # The library's own comes first.
    assert load_task("general_points").__name__ == "svdrift.tasks.general_points.settings"
    assert plugins.files(tasks.ROOM, "general_points", "task") == (
        "svdrift/tasks/general_points/task.py",
    )


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (
            load_task,
            "speling",
            r"'speling' is unknown, did you mean 'spelling'.* broken, spelling, or the path",
        ),
        (
            load_task,
            "broken",
            "broken: broken cannot be imported: ModuleNotFoundError: No module named 'no_such_libr",
        ),
        (kind.load, "spelling", r"spelling: defines no KIND \(docs/extending.md"),
        (load_settings, "spelling", "'spelling' is unknown"),
    ],
)
def test_what_a_package_offers_is_checked(package, load, name, message):
    with pytest.raises(UserError, match=message):
        load(name)
