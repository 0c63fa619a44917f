"""The benchmark of a GPU, rehearsed on the CPU at the smallest size: for breakage, not speed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu import PARTS

ROOT = Path(__file__).parents[1]


def test_every_part_of_the_gpu_benchmark_runs(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--size", "pico"]
    done = subprocess.run(
        [*command, "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert set(PARTS) <= set(found)
    assert found["agreement"]["equal_replies"] == 1
    assert found["large"]["sft"]["layers"] == found["large"]["ppo"]["layers"] == 2
