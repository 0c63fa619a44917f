"""How tests start several processes."""

import os
import subprocess
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def precision():
    """Accelerate holds a process to the precision that it was first told."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def accelerate():
    """Run a program in two processes, which talk through gloo, as the workflow runs its jobs."""

    def launch(config, program, *arguments):
        command = ["accelerate", "launch", "--config_file"]
        command += [ROOT / "workflow" / "accelerate" / f"{config}.yaml", "--num_processes=2"]
        return subprocess.run(
            [*map(str, [*command, program, *arguments])],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return launch
