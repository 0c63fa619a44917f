"""The benchmarks, rehearsed at the smallest size: for breakage, not speed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scaling, study
from benchmarks.__main__ import ROWS, kept, page
from benchmarks.gpu import PARTS

ROOT = Path(__file__).parents[1]


def rehearsed(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command, "--size", "pico"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("rows", "count"),
    [(["decomposition"], 1), pytest.param(list(ROWS), 9, marks=pytest.mark.long)],
)
def test_every_row_compares_two_ways(rows: list[str], count: int, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    done = rehearsed("benchmarks", "--repeats", "1", "--out", str(out), "--rows", *rows)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert len(found["rows"]) == count
    for what, seconds in found["rows"].items():
        assert len(seconds) > 1, what
        assert all(len(times) == 1 and times[0] > 0 for times in seconds.values()), what
        assert what in done.stdout
    table = page(found)
    assert table.count("\n| ") == 2 + sum(map(len, found["rows"].values()))


@pytest.mark.long
def test_every_law_has_its_exponents(tmp_path: Path) -> None:
    out = tmp_path / "scaling.json"
    done = rehearsed("benchmarks.scaling", "--repeats", "1", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert len(found["rows"]) == len(scaling.LAWS)
    for law, points in found["rows"].items():
        assert points[0]["size"] < points[1]["size"], law
        assert all(point["seconds"] > 0 for point in points), law
    assert scaling.page(found).count("\n| ") == 2 + len(scaling.LAWS)


def test_rows_of_an_earlier_run_stay_where_it_was_measured_alike() -> None:
    measured = {"size": "full", "machine": {"cpu": "a"}, "threads": 1, "repeats": 3}
    earlier = measured | {"rows": {"x": {"ours": [1.0]}}}
    assert kept(earlier, earlier | {"rows": {}}) == earlier["rows"]
    assert kept(earlier, earlier | {"repeats": 2}) == {}
    assert kept(earlier, earlier | {"size": "pico"}) == {}


def test_an_exponent_is_the_slope_of_the_logarithms() -> None:
    assert scaling.exponent([1, 2, 4], [3, 24, 192]) == pytest.approx(3)


@pytest.mark.long
@pytest.mark.workflow
def test_a_study_and_an_edit_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "study.json"
    done = rehearsed("benchmarks.study", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert len(found["rows"]) == 1 + len(study.TOUCHED)
    assert study.page(found).count("\n| ") == 2 + len(found["rows"])


@pytest.mark.long
def test_every_part_of_the_gpu_benchmark_runs(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = rehearsed("benchmarks.gpu", "--device", "cpu", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert set(PARTS) <= set(found)
    assert found["agreement"]["equal_replies"] == 1
    assert found["large"]["sft"]["layers"] == found["large"]["ppo"]["layers"] == 2
