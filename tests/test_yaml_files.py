"""Every fault of a YAML file is one line with the file, and the line where there is one."""

import pytest

from svdrift.errors import UserError
from svdrift.yaml_files import read

FAULTS = [  # what the file holds -> what follows its name
    (b"a: 1\na: 2", "line 2: key 'a' is given twice, first on line 1"),
    (b"a: {b: 1, c: 2, b: 3}", "line 1: key 'b' is given twice, first on line 1"),
    (b"a:\n  b: 1\n  c: {}\n  'b': 3", "line 4: key 'b' is given twice, first on line 2"),
    (b"- a: 1\n  a: 1", "line 2: key 'a' is given twice, first on line 1"),
    (b"a:\n\t- 2", r"line 2: not YAML: found character '\t' that cannot start any token; indent w"),
    (b"a: 1\n\tb: 2", "line 2: not YAML: found character '\\t' that"),
    (b"a: {", "line 1: not YAML: expected the node content, but found '<stream end>'"),
    (b"a: 1\n\nb: c: d", "line 3: not YAML: mapping values are not allowed here"),
    (b"a: 1\nb\nc: 2", "line 3: not YAML: could not find expected ':'"),
    (b"a: 'x", "line 1: not YAML: found unexpected end of stream"),
    (b"a: *b", "line 1: not YAML: found undefined alias 'b'"),
    (b"a: &b {c: *b}", "line 1: &b holds itself"),
    (b"a: 1\nb: &b\n  - *b", "line 3: &b holds itself"),
    (b"a: &x 1\nb: &x 2", "line 2: not YAML: found duplicate anchor 'x'; first occurrence"),
    (b"a: 1\n---\nb: 2", "line 2: not YAML: expected a single document in the stream, but found"),
    (b"a: !!python/object/apply:os.system [x]", "line 1: not YAML: could not determine a constr"),
    (b"a: !x 1", "line 1: not YAML: could not determine a constructor for the tag '!x'"),
    (b"? [1]\n: 2", "line 1: not YAML: found unhashable key"),
    (b"a: 1\nd: 2024-13-45", "line 2: month must be in 1..12"),
    (b"a: " + b"9" * 5000, "line 1: Exceeds the limit (4300 digits) for integer string conversion"),
    (b"a: 1\nb: \xff", "line 2: not UTF-8 text"),
    ("a: é".encode("utf-16"), "line 1: not UTF-8 text"),
    (b"a: 1\nb: \x00", "line 2: not YAML: special characters are not allowed"),
    (b"[" * 5000, "nested too deeply"),
]


@pytest.mark.parametrize(("data", "message"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_one_line(tmp_path, data, message):
    (tmp_path / "x.yaml").write_bytes(data)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "x.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'x.yaml'}: {message}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none.yaml: cannot be read \(No such file or directory\)"):
        read(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"cannot be read \(File name too long\)"):
        read(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", None),
        (b"# nothing\n", None),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        (b"x: &x {a: 1}\ny: {<<: *x, a: 2}", {"x": {"a": 1}, "y": {"a": 2}}),
        (b"x: &x [1]\ny: *x\nz: *x", {"x": [1], "y": [1], "z": [1]}),
        (b"a: {b: 1}\nc: {b: 1}", {"a": {"b": 1}, "c": {"b": 1}}),
        (b'{"a": [1, 2.5e-1, null, true]}', {"a": [1, 0.25, None, True]}),
    ],
)
def test_what_is_yaml_is_read(tmp_path, data, value):
    (tmp_path / "x.yaml").write_bytes(data)
    assert read(tmp_path / "x.yaml") == value
