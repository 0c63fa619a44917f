import subprocess
import sys
from pathlib import Path

import pytest

from svdrift.errors import UserError
from svdrift.tasks.general_points.files import read_hands_file, read_own_hands

TENS = (10, 10, 10)


def write(folder: Path, text: str) -> Path:
    path = folder / "hands.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_hands_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, 'name,cards\na,3 J 5 A\nb,"8,10,8,8"\n')
    assert read_hands_file(path, TENS, 24, 4) == [("3", "J", "5", "A"), ("8", "10", "8", "8")]


def test_hands_have_the_number_of_cards_that_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "cards\n3 J 5 A 2\n")
    assert read_hands_file(path, TENS, 24, 5) == [("3", "J", "5", "A", "2")]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("hand\n3 J 5 A\n", ["no column 'cards'"]),
        ("", ["no column 'cards'"]),
        ("cards\n", ["no hands"]),
        ("cards\n3 J 5 A\n3 Z 5 A\n", ["line 3, '3 Z 5 A'", "unknown rank 'Z'"]),
        ("cards\n3 J 5\n", ["line 2, '3 J 5'", "3 cards instead of 4"]),
        ("cards\n3 J 5 A 2\n", ["line 2, '3 J 5 A 2'", "5 cards instead of 4"]),
        ("cards\nA A A A\n3 J\n", ["line 2", "(1, 1, 1, 1) cannot make 24", "line 3, '3 J'"]),
    ],
)
def test_every_bad_row_is_named_in_one_line(tmp_path: Path, text: str, messages: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read_hands_file(write(tmp_path, text), TENS, 24, 4)
    assert "\n" not in str(caught.value)
    for message in ["hands.csv", *messages]:
        assert message in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_hands_file(tmp_path / "nothing.csv", TENS, 24, 4)
    (tmp_path / "binary.csv").write_bytes(b"cards\n\xff\xfe\n")
    with pytest.raises(UserError, match="cannot be read"):
        read_hands_file(tmp_path / "binary.csv", TENS, 24, 4)


def test_ood_hands_need_a_face_card(tmp_path: Path) -> None:
    path = write(tmp_path, "cards\n3 J 5 A\n8 10 8 8\n")
    assert len(read_own_hands(path, TENS, 24, 4, with_face=False)) == 2
    with pytest.raises(UserError, match="need a J, Q or K: 8 10 8 8"):
        read_own_hands(path, TENS, 24, 4, with_face=True)


def test_checking_files_loads_no_heavy_library() -> None:
    code = (
        "import sys, svdrift.tasks.general_points.files, svdrift.tasks.general_points.verifier\n"
        "print(sorted({'numpy', 'pandas', 'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
