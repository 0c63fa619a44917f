"""A file of one's own that is no method, task or kind is refused in one line."""

import pytest

from svdrift.errors import UserError
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


@pytest.mark.parametrize("name", ["x" * 300 + ".py", "a\0.py"])
def test_a_name_that_no_file_has_is_refused(name):
    with pytest.raises(UserError, match="no such file"):
        load_settings(name)


def test_a_known_name_is_guessed():
    with pytest.raises(UserError, match="'pppo' is unknown, did you mean 'ppo'"):
        load_settings("pppo")
