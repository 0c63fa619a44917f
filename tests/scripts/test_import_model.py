import subprocess
import sys


def test_what_is_there_is_not_overwritten(tmp_path):
    kept = tmp_path / "out/thesis.txt"
    kept.parent.mkdir()
    kept.write_text("years of work")
    command = [sys.executable, "scripts/import_model.py", "--model", str(tmp_path)]
    done = subprocess.run(
        [*command, "--out", str(kept.parent)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"error: --out: {kept.parent} is there already; nothing is overwritten\n"
    assert kept.read_text() == "years of work"
